//! Hands out the certificate authority for a joining member, in the sealed part only.

use super::certificates;
use crate::context::{Context, Done, Outcome};
use quorate_proto::v1::{ExportJoinMaterial, JoinMaterial, Problem};

pub const CA_CERTIFICATE: &str = "ca.crt";
pub const CA_KEY: &str = "ca.key";

pub async fn run(context: &Context, order: &ExportJoinMaterial) -> Done {
    if !order.member {
        return Err(Problem::new(
            "order-misdirected",
            "a cluster of etcd alone has no other nodes than members",
        )
        .at(&order.for_node));
    }
    let authority = certificates::required(&context.paths, context.cluster()?)?;
    let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    let material = JoinMaterial {
        files: [
            file(CA_CERTIFICATE, authority.cert_pem()),
            file(CA_KEY, authority.key_pem()),
        ]
        .into(),
        ..JoinMaterial::default()
    };
    Ok(Outcome {
        sealed: Some(material),
        ..Outcome::done()
    })
}
