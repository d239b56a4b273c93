//! What the connections through an endpoint say together. Pure.

use quorate_proto::v1::{Problem, ServingMember};

/// What came of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No connection at all.
    Unreachable(String),
    /// Somebody takes connections; more cannot be seen without credentials.
    Answers,
    /// A connection, but no TLS handshake on it.
    NoTls(String),
    Untrusted(Certificate),
    /// TLS was fine, and the answer never came.
    Broken(String),
    /// Our client certificate did not arrive.
    Anonymous(u16),
    /// Signed by this cluster's authority, and yet another cluster.
    OtherCluster,
    /// A member that says of itself that it does not serve.
    Unready(u16),
    /// A healthy member of this cluster, by its certificate's fingerprint.
    Member(String),
}

/// A certificate that was not good enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    pub ours: bool,
    pub covered: bool,
    pub ended: bool,
    pub of_a_cluster: bool,
    pub subject: String,
    pub issuer: String,
    pub names: Vec<String>,
    pub error: String,
}

/// Whether more connections would change nothing.
pub fn is_clear(seen: &[Seen], servers: &[ServingMember], enough: usize) -> bool {
    let good = seen.iter().filter(|it| is_good(it)).count();
    let wrong = seen.iter().any(|it| wrong(it).is_some());
    let dead = !seen.is_empty() && good == 0;
    wrong || dead || (good >= enough && missing(seen, servers).is_empty())
}

/// The members that were seen, or the one thing that is wrong most.
pub fn judge(
    seen: &[Seen],
    servers: &[ServingMember],
    sees_servers: bool,
) -> Result<Vec<String>, Problem> {
    if let Some(problem) = seen.iter().find_map(wrong) {
        return Err(problem);
    }
    let failures: Vec<String> = seen.iter().filter_map(failure).collect();
    let Some(first) = failures.first() else {
        let missing = missing(seen, servers);
        if sees_servers && !missing.is_empty() {
            return Err(member_missing(&missing, seen.len()));
        }
        return Ok(found(seen, servers));
    };
    match failures.len() == seen.len() {
        true => Err(unreachable(first)),
        false => Err(sometimes(failures.len(), seen.len(), first)),
    }
}

fn is_good(seen: &Seen) -> bool {
    wrong(seen).is_none() && failure(seen).is_none()
}

/// What is wrong however often it happens.
fn wrong(seen: &Seen) -> Option<Problem> {
    match seen {
        Seen::Untrusted(certificate) => Some(untrusted(certificate)),
        Seen::Anonymous(status) => Some(terminates(format!(
            "the answer was {status}: this node's client certificate did not arrive"
        ))),
        Seen::OtherCluster => Some(other_cluster("its kube-system namespace has another uid")),
        Seen::Unreachable(_)
        | Seen::Answers
        | Seen::NoTls(_)
        | Seen::Broken(_)
        | Seen::Unready(_)
        | Seen::Member(_) => None,
    }
}

/// What may happen to one connection and not to the next.
fn failure(seen: &Seen) -> Option<String> {
    match seen {
        Seen::Unreachable(cause) | Seen::Broken(cause) => Some(cause.clone()),
        Seen::NoTls(cause) => Some(format!("it answers, but not by TLS: {cause}")),
        Seen::Unready(status) => Some(format!("a member answers {status}: it is not ready")),
        Seen::Answers
        | Seen::Untrusted(_)
        | Seen::Anonymous(_)
        | Seen::OtherCluster
        | Seen::Member(_) => None,
    }
}

fn has(seen: &[Seen], server: &ServingMember) -> bool {
    seen.iter().any(|it| match it {
        Seen::Member(fingerprint) => fingerprint.eq_ignore_ascii_case(&server.fingerprint),
        Seen::Unreachable(_)
        | Seen::Answers
        | Seen::NoTls(_)
        | Seen::Untrusted(_)
        | Seen::Broken(_)
        | Seen::Anonymous(_)
        | Seen::OtherCluster
        | Seen::Unready(_) => false,
    })
}

fn found(seen: &[Seen], servers: &[ServingMember]) -> Vec<String> {
    let there = servers.iter().filter(|server| has(seen, server));
    there.map(|server| server.name.clone()).collect()
}

fn missing(seen: &[Seen], servers: &[ServingMember]) -> Vec<String> {
    let absent = servers.iter().filter(|server| !has(seen, server));
    absent.map(|server| server.name.clone()).collect()
}

fn untrusted(certificate: &Certificate) -> Problem {
    let presented = format!(
        "it presents {:?}, issued by {:?}",
        certificate.subject, certificate.issuer
    );
    match certificate {
        Certificate { ours: true, covered: false, names, .. } => Problem::new(
            "endpoint-name-not-covered",
            "the certificate behind the endpoint is this cluster's, but not for the endpoint's name",
        )
        .because(format!("it is for {}", names.join(", ")))
        .next("give the members' serving certificates the endpoint's name first"),
        Certificate { ours: true, ended: true, .. } => Problem::new(
            "endpoint-certificate-ended",
            "a certificate behind the endpoint is this cluster's, but not valid now",
        )
        .because(format!("{presented}; it was not renewed, or this node's clock is wrong"))
        .next("renew the members' certificates"),
        Certificate { ours: false, of_a_cluster: true, .. } => other_cluster(&presented),
        Certificate { ours: false, .. } => terminates(presented),
        Certificate { ours: true, error, .. } => terminates(format!("{presented}: {error}")),
    }
}

pub fn other_cluster(cause: &str) -> Problem {
    Problem::new(
        "endpoint-other-cluster",
        "the endpoint leads to another cluster",
    )
    .because(cause)
    .next("correct the load balancer's members, or the name's address, and order again")
}

fn terminates(cause: String) -> Problem {
    Problem::new(
        "endpoint-terminates-tls",
        "the endpoint does not pass TLS through to the members",
    )
    .because(cause)
    .next("have the load balancer forward TCP (layer 4) without TLS of its own")
}

fn unreachable(cause: &str) -> Problem {
    Problem::new(
        "endpoint-unreachable",
        "no connection through the endpoint succeeds",
    )
    .because(cause)
    .next("start the load balancer, let it listen on this port, and let this node through to it")
}

fn sometimes(failed: usize, of: usize, cause: &str) -> Problem {
    Problem::new(
        "endpoint-fails-sometimes",
        format!("{failed} of {of} connections through the endpoint failed"),
    )
    .because(format!("a member that does not serve is let in: {cause}"))
    .next("have the load balancer check its members by HTTPS GET /readyz (etcd: /health), and wait until it has found out")
}

fn member_missing(names: &[String], of: usize) -> Problem {
    Problem::new(
        "endpoint-member-missing",
        format!("the endpoint never leads to {}", names.join(", ")),
    )
    .because(format!(
        "not one of {of} connections reached them: they are not among the load balancer's members, or its check fails for them"
    ))
    .next("add them to the load balancer; one that balances by the client's address is to do so by connections")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(names: &[&str]) -> Vec<ServingMember> {
        let server = |name: &&str| ServingMember {
            name: (*name).to_owned(),
            fingerprint: format!("ab{name}"),
        };
        names.iter().map(server).collect()
    }

    fn member(name: &str) -> Seen {
        Seen::Member(format!("AB{name}"))
    }

    fn certificate(ours: bool, covered: bool, ended: bool, of_a_cluster: bool) -> Seen {
        Seen::Untrusted(Certificate {
            ours,
            covered,
            ended,
            of_a_cluster,
            ..Certificate::default()
        })
    }

    #[test]
    fn every_way_an_endpoint_can_be_wrong() {
        let refused = || Seen::Unreachable("refused".into());
        let broken = || Seen::Broken("reset".into());
        for (seen, expected) in [
            (vec![refused(), refused()], "endpoint-unreachable"),
            (vec![Seen::NoTls("not TLS".into())], "endpoint-unreachable"),
            (vec![broken()], "endpoint-unreachable"),
            (vec![member("1"), refused()], "endpoint-fails-sometimes"),
            (
                vec![member("1"), member("2"), broken()],
                "endpoint-fails-sometimes",
            ),
            (
                vec![member("1"), Seen::Unready(500)],
                "endpoint-fails-sometimes",
            ),
            (vec![Seen::Answers, refused()], "endpoint-fails-sometimes"),
            (
                vec![certificate(false, true, false, true)],
                "endpoint-other-cluster",
            ),
            (
                vec![member("1"), certificate(false, false, false, true)],
                "endpoint-other-cluster",
            ),
            (
                vec![refused(), Seen::OtherCluster],
                "endpoint-other-cluster",
            ),
            (
                vec![certificate(false, true, false, false)],
                "endpoint-terminates-tls",
            ),
            (
                vec![certificate(false, false, true, false)],
                "endpoint-terminates-tls",
            ),
            (
                vec![member("1"), Seen::Anonymous(401)],
                "endpoint-terminates-tls",
            ),
            (vec![Seen::Anonymous(403)], "endpoint-terminates-tls"),
            (
                vec![certificate(true, false, false, true)],
                "endpoint-name-not-covered",
            ),
            (
                vec![certificate(true, true, true, true)],
                "endpoint-certificate-ended",
            ),
            (vec![member("1"), member("1")], "endpoint-member-missing"),
            (vec![member("1"), member("3")], "endpoint-member-missing"),
        ] {
            let problem = judge(&seen, &servers(&["1", "2"]), true).unwrap_err();
            assert_eq!(problem.code, expected, "{seen:?}");
            assert!(
                !problem.cause.is_empty() && !problem.next.is_empty(),
                "{problem}"
            );
        }
    }

    #[test]
    fn who_was_seen() {
        let all = [member("2"), member("1"), member("9")];
        assert_eq!(
            judge(&all, &servers(&["1", "2"]), true).unwrap(),
            ["1", "2"]
        );
        assert!(judge(&all, &[], true).unwrap().is_empty());
        // Without credentials nobody is seen, and nobody is missed.
        let blind = [Seen::Answers, Seen::Answers];
        assert!(judge(&blind, &servers(&["1"]), false).unwrap().is_empty());
        let problem = judge(&all[..1], &servers(&["1", "2", "3"]), true).unwrap_err();
        assert!(problem.what.ends_with("leads to 1, 3"), "{problem}");
    }

    #[test]
    fn goes_on_until_the_answer_is_clear() {
        let (one, two) = (servers(&["1"]), servers(&["1", "2"]));
        let good = vec![member("1"); 4];
        for (seen, servers, clear) in [
            (vec![], &one, false),
            (good.clone(), &one, true),
            (good[..3].to_vec(), &one, false),
            (good.clone(), &two, false),
            (vec![Seen::Unreachable(String::new())], &two, true),
            (
                vec![member("1"), Seen::Unreachable(String::new())],
                &two,
                false,
            ),
            (vec![member("1"), Seen::OtherCluster], &two, true),
        ] {
            assert_eq!(is_clear(&seen, servers, 4), clear, "{seen:?}");
        }
    }
}
