//! Certificates on this node's disk that end soon.

use crate::host::files;
use crate::orders::preflight::finding::{fatal, ok, warning};
use crate::paths::Paths;
use quorate_pki::inspect_pem;
use quorate_proto::v1::{Finding, Problem};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Time enough to renew by hand what does not renew itself.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Folders below the first: pki/etcd.
const DEPTH: usize = 3;
/// Certificates lie bare in these.
const FOLDERS: [&str; 2] = ["/etc/kubernetes/pki", "/etc/quorate/etcd/pki"];
const KUBELET: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
/// And inside these kubeconfigs.
const KUBECONFIGS: [&str; 4] = ["admin", "super-admin", "controller-manager", "scheduler"];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Certificate {
    place: String,
    /// The first end of the file's chain, or why it cannot be read.
    end: Result<SystemTime, String>,
}

pub fn check(paths: &Paths, now: SystemTime) -> Vec<Finding> {
    let mut certificates = Vec::new();
    for folder in FOLDERS {
        for file in below(&paths.at(folder), DEPTH) {
            certificates.push(of_file(&file));
        }
    }
    let kubelet = paths.at(KUBELET);
    if kubelet.exists() {
        certificates.push(of_file(&kubelet));
    }
    for name in KUBECONFIGS {
        let file = paths.kubernetes().join(format!("{name}.conf"));
        if file.exists() {
            certificates.push(of_kubeconfig(&file));
        }
    }
    judge(&certificates, now)
}

/// Files named as certificates, in order.
fn below(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && depth > 1 {
            files.extend(below(&path, depth - 1));
        } else if path.extension().is_some_and(|ending| ending == "crt") && !is_hidden(&path) {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// One that waits to take its place is not in use.
fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn of_file(path: &Path) -> Certificate {
    let end = files::read_text(path)
        .map_err(|problem| problem.what)
        .and_then(|text| first_end(&text));
    let place = path.display().to_string();
    Certificate { place, end }
}

fn of_kubeconfig(path: &Path) -> Certificate {
    let end = crate::kube::kubeconfig::Kubeconfig::read(path)
        .map_err(|problem| problem.what)
        .and_then(|kubeconfig| first_end(&kubeconfig.certificate_pem));
    let place = path.display().to_string();
    Certificate { place, end }
}

fn first_end(pem: &str) -> Result<SystemTime, String> {
    let chain = inspect_pem(pem).map_err(|error| error.to_string())?;
    let ends = chain.iter().map(|certificate| certificate.not_after);
    ends.min().ok_or_else(|| "no certificate in it".to_owned())
}

/// One line for all that are good, one for each that is not.
fn judge(certificates: &[Certificate], now: SystemTime) -> Vec<Finding> {
    let mut findings: Vec<Finding> = certificates
        .iter()
        .filter_map(|certificate| judge_one(certificate, now))
        .collect();
    let good = certificates.len() - findings.len();
    let first = certificates
        .iter()
        .filter_map(|one| one.end.as_ref().ok())
        .min();
    if let (true, Some(first)) = (good > 0, first) {
        let left = first
            .duration_since(now)
            .map_or(0, |left| left.as_secs() / DAY.as_secs());
        findings.insert(
            0,
            ok(
                "Certificates",
                format!("{good} are good; the first of all ends in {left} days"),
            ),
        );
    }
    findings
}

fn judge_one(certificate: &Certificate, now: SystemTime) -> Option<Finding> {
    let file = certificate.place.rsplit('/').next().unwrap_or_default();
    let name = format!("Certificate-{file}");
    let problem = |what: String| {
        Problem::new("certificate", what)
            .at(certificate.place.clone())
            .next("the coordinator has members' certificates renewed; look at its last operations, or `kubeadm certs renew all`")
    };
    let end = match &certificate.end {
        Ok(end) => end,
        Err(reason) => {
            return Some(warning(
                name,
                problem(format!("{file} cannot be read: {reason}")),
            ));
        }
    };
    match end.duration_since(now) {
        Ok(left) if left >= SOON => None,
        Ok(left) => {
            let days = left.as_secs() / DAY.as_secs();
            Some(warning(
                name,
                problem(format!("{file} ends in {days} days")).because("nothing has renewed it"),
            ))
        }
        Err(_) => Some(fatal(
            name,
            problem(format!("{file} has ended"))
                .because("nothing has renewed it, or this clock is wrong"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_pki::Authority;
    use quorate_proto::v1::Severity::{Fatal, Ok as Good, Warning};

    #[test]
    fn thirty_days_ahead_is_soon() {
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let of = |end| Certificate {
            place: "/pki/apiserver.crt".into(),
            end,
        };
        for (end, expected) in [
            (Ok(now + 365 * DAY), vec![Good]),
            (Ok(now + 30 * DAY), vec![Good]),
            (Ok(now + 29 * DAY), vec![Warning]),
            (Ok(now - DAY), vec![Fatal]),
            (Err("not PEM".to_owned()), vec![Warning]),
        ] {
            let findings = judge(&[of(end.clone())], now);
            let severities: Vec<_> = findings.iter().map(Finding::severity).collect();
            assert_eq!(severities, expected, "{end:?}");
        }
        assert!(judge(&[], now).is_empty());
        let mixed = judge(&[of(Ok(now + 90 * DAY)), of(Ok(now + DAY))], now);
        assert_eq!(mixed.len(), 2);
        let what = mixed[0].problem.clone().expect("problem").what;
        assert_eq!(what, "1 are good; the first of all ends in 1 days");
    }

    #[test]
    fn real_certificates_are_found_in_their_folders() {
        let root = tempfile::tempdir().expect("folder");
        let paths = Paths::under(root.path());
        let now = SystemTime::now();
        let write = |path: &str, days: u32| {
            let authority = Authority::create("x", days * DAY, now).expect("authority");
            files::write_atomic(&paths.at(path), authority.cert_pem().as_bytes(), 0o644)
                .expect("written");
        };
        write("/etc/kubernetes/pki/ca.crt", 3650);
        write("/etc/kubernetes/pki/etcd/server.crt", 10);
        write("/etc/quorate/etcd/pki/peer.crt", 365);
        write("/etc/quorate/etcd/pki/.quorate-next.peer.crt", 1);
        files::write_atomic(&paths.at("/etc/kubernetes/pki/sa.key"), b"key", 0o600)
            .expect("written");
        let findings = check(&paths, now);
        let seen: Vec<_> = findings
            .iter()
            .map(|one| (one.name.as_str(), one.severity()))
            .collect();
        assert_eq!(
            seen,
            [("Certificates", Good), ("Certificate-server.crt", Warning)]
        );
    }
}
