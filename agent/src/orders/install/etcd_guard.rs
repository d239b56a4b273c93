//! Debian's etcd-server starts a cluster of its own when it is installed. A condition on its unit keeps it down until this node
//! has been given a member's configuration.

use crate::host::{files, service};
use crate::paths::Paths;
use quorate_proto::v1::Problem;

const UNIT_DROPIN: &str = "/etc/systemd/system/etcd.service.d/quorate.conf";
const CONDITION: &str = "[Unit]\nConditionPathExists=/etc/quorate/etcd/etcd.env\n";

pub fn needed(packages: &[String]) -> bool {
    packages
        .iter()
        .any(|package| matches!(package.as_str(), "etcd" | "etcd-server"))
}

/// An existing drop-in is left alone: it belongs to the member's configuration, which has the condition too.
pub async fn place(paths: &Paths) -> Result<(), Problem> {
    let file = paths.at(UNIT_DROPIN);
    if files::read_optional(&file)?.is_some() {
        return Ok(());
    }
    files::write_atomic(&file, CONDITION.as_bytes(), 0o644)?;
    service::daemon_reload().await
}
