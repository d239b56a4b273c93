//! kubectl with the administrator's file, against the API server of this host and not through the endpoint.

use super::api::local_endpoint;
use super::http::authority;
use crate::host::tool::Tool;
use crate::paths::Paths;
use quorate_proto::v1::Problem;

pub fn kubectl<'a>(paths: &Paths) -> Result<Tool<'a>, Problem> {
    let (host, port) = local_endpoint(paths)?;
    let admin = paths.kubernetes().join("admin.conf");
    Ok(Tool::new("kubectl").args([
        "--kubeconfig".to_owned(),
        admin.display().to_string(),
        "--server".to_owned(),
        format!("https://{}", authority(&host, port)),
    ]))
}
