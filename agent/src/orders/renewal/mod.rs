//! New certificates of this node, under the same authorities, for the same names and uses.
//!
//! - [`kubeadm`], [`etcd`]: which ones, and what reads them only at its start; here: one pair.

mod etcd;
mod kubeadm;

use super::serving::unissued;
use crate::context::{Context, Done};
use crate::host::pair::Pair;
use crate::orders::distribution;
use quorate_pki::{Authority, CertificateInfo, IssuedWithKey, SKEW, inspect_pem};
use quorate_proto::v1::{Distribution, Problem, RenewCertificates};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub async fn run(context: &Context, order: &RenewCertificates) -> Done {
    let since = u64::try_from(order.not_before_unix).unwrap_or_default();
    let since = UNIX_EPOCH + Duration::from_secs(since);
    match distribution(context)? {
        Distribution::Kubeadm => kubeadm::run(context, since).await,
        Distribution::Etcd => etcd::run(context, since).await,
        Distribution::Unspecified => Err(Problem::new(
            "distribution-unknown",
            "the order names no distribution",
        )),
    }
}

/// Whether it was issued before that time. Both quorate and kubeadm date certificates back by the same few minutes.
fn is_older(info: &CertificateInfo, since: SystemTime) -> bool {
    info.not_before + SKEW < since
}

fn first(pem: &str) -> Option<CertificateInfo> {
    inspect_pem(pem).ok()?.into_iter().next()
}

/// The pair's certificate, if the pair is there and older than that.
fn old(pair: &Pair, since: SystemTime) -> Result<Option<CertificateInfo>, Problem> {
    let (certificate, _) = pair.read()?;
    if certificate.is_empty() {
        return Ok(None);
    }
    let info = first(&certificate).ok_or_else(|| unreadable(&pair.certificate()))?;
    Ok(Some(info).filter(|info| is_older(info, since)))
}

/// As long as the present one was to last, unless said otherwise.
fn reissue(
    authority: &Authority,
    certificate: &str,
    key: &str,
    validity: Option<Duration>,
) -> Result<IssuedWithKey, Problem> {
    let info = first(certificate).ok_or_else(|| unreadable(Path::new("certificate")))?;
    let life = info.not_after.duration_since(info.not_before);
    let life = life.unwrap_or_default().saturating_sub(SKEW).max(SKEW);
    let now = SystemTime::now();
    authority
        .reissue(certificate, key, &info.names, validity.unwrap_or(life), now)
        .map_err(|error| unissued(&error))
}

fn renew_pair(
    context: &Context,
    authority: &Authority,
    pair: &Pair,
    validity: Option<Duration>,
    own: fn(&Path) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let place = pair.certificate().display().to_string();
    context.say(format!("renewing {place}"));
    let (certificate, key) = pair.read()?;
    let new =
        reissue(authority, &certificate, &key, validity).map_err(|problem| problem.at(&place))?;
    pair.install(&context.paths, &new.issued.cert_pem, &new.key_pem, own)
}

fn unreadable(place: &Path) -> Problem {
    Problem::new("certificate", "a certificate cannot be read")
        .at(place.display().to_string())
        .because("it was edited by hand, or the disk is damaged")
        .next("reset the node and join it again")
}
