//! Makes a member's serving certificate cover other names, and proves that it is served.
//!
//! - [`names`]: which names it is to cover (pure); [`subject`]: pairs, authority and address of each distribution's member;
//! - [`prove`]: handshakes until what is on disk is what is served.

mod names;
pub mod prove;
pub mod subject;
#[cfg(test)]
mod tests;

use crate::context::{Context, Done, Outcome};
use crate::orders::distribution;
use quorate_pki::{Name, PkiError, inspect_pem, pair_matches, signed_by};
use quorate_proto::v1::{Problem, SetServingNames};
use std::time::SystemTime;
use subject::{Serving, Subject};

pub async fn run(context: &Context, order: &SetServingNames) -> Done {
    let subject = Subject::of(context, distribution(context)?)?;
    let (add, drop) = (parse(&order.names)?, parse(&order.drop)?);
    for serving in &subject.serving {
        settle(context, &subject, serving, &add, &drop)?;
    }
    for serving in &subject.serving {
        prove::served(context, serving).await?;
    }
    Ok(Outcome::done())
}

/// Brings one pair to the wanted names; one that has them stays.
fn settle(
    context: &Context,
    subject: &Subject,
    serving: &Serving,
    add: &[Name],
    drop: &[Name],
) -> Result<(), Problem> {
    let (certificate, key) = serving.pair.read()?;
    let place = serving.pair.certificate().display().to_string();
    let present = inspect_pem(&certificate)
        .ok()
        .and_then(|all| all.into_iter().next())
        .ok_or_else(|| missing(&place))?;
    let wanted = names::wanted(&present.names, add, drop, &subject.own);
    let sound = pair_matches(&certificate, &key)
        && signed_by(&certificate, subject.authority.cert_pem()).unwrap_or(false);
    if sound && names::same(&present.names, &wanted) {
        return Ok(());
    }
    context.say(format!("{place}: now for {}", listed(&wanted)));
    let validity = subject.validity(&present);
    let issued = subject
        .authority
        .reissue(&certificate, &key, &wanted, validity, SystemTime::now())
        .map_err(|error| unissued(&error).at(&place))?;
    serving.pair.install(
        &context.paths,
        &issued.issued.cert_pem,
        &issued.key_pem,
        subject.own_key,
    )
}

fn parse(names: &[String]) -> Result<Vec<Name>, Problem> {
    let parse = |name: &String| {
        Name::parse(name).map_err(|error| {
            Problem::new("name-invalid", error.to_string())
                .next("use host names and addresses in the cluster file")
        })
    };
    names.iter().map(parse).collect()
}

fn listed(names: &[Name]) -> String {
    let texts: Vec<String> = names.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

pub fn unissued(error: &PkiError) -> Problem {
    Problem::new(
        "certificates",
        format!("cannot make a certificate: {error}"),
    )
}

fn missing(place: &str) -> Problem {
    Problem::new("not-prepared", "this member has no serving certificate")
        .at(place)
        .because("an earlier step is missing, or the node was reset meanwhile")
        .next("plan again: the missing step is then ordered")
}
