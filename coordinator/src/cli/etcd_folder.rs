//! Access to an etcd cluster: three PEM files and the variables that etcdctl reads.

use super::files::{PRIVATE_FOLDER, write_private};
use super::kubeconfig::Access;
use crate::files::{make_folder, problem};
use quorate_proto::v1::Problem;
use std::path::{Path, PathBuf};

const CA: &str = "ca.crt";
const CERTIFICATE: &str = "client.crt";
const KEY: &str = "client.key";
const ENVIRONMENT: &str = "etcdctl.env";

/// The first of our files that is there already.
pub fn taken(folder: &Path) -> Option<PathBuf> {
    [CA, CERTIFICATE, KEY, ENVIRONMENT]
        .map(|name| folder.join(name))
        .into_iter()
        .find(|path| path.exists())
}

/// Writes all four; returns the path of the variables.
pub fn write(folder: &Path, access: &Access, force: bool) -> Result<PathBuf, Problem> {
    make_folder(folder, PRIVATE_FOLDER)?;
    // The variables must hold wherever they are read from.
    let folder = folder
        .canonicalize()
        .map_err(|error| problem("read", folder, &error))?;
    write_private(&folder.join(CA), access.authority_pem.as_bytes(), force)?;
    write_private(
        &folder.join(CERTIFICATE),
        access.certificate_pem.as_bytes(),
        force,
    )?;
    write_private(&folder.join(KEY), access.key_pem.as_bytes(), force)?;
    let path = folder.join(ENVIRONMENT);
    write_private(
        &path,
        environment(&folder, &access.server).as_bytes(),
        force,
    )?;
    Ok(path)
}

fn environment(folder: &Path, server: &str) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    [
        ("ETCDCTL_API", "3".to_owned()),
        ("ETCDCTL_ENDPOINTS", server.to_owned()),
        ("ETCDCTL_CACERT", path(CA)),
        ("ETCDCTL_CERT", path(CERTIFICATE)),
        ("ETCDCTL_KEY", path(KEY)),
    ]
    .map(|(name, value)| format!("export {name}={}\n", quoted(&value)))
    .concat()
}

/// A word that a shell takes as it is, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn a_shell_reads_the_variables() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("it's $(odd) `here`");
        let access = Access {
            server: "https://10.0.0.1:2379".into(),
            authority_pem: "CA".into(),
            certificate_pem: "CERT".into(),
            key_pem: "KEY".to_owned().into(),
            ..Access::default()
        };
        assert_eq!(taken(&folder), None);
        let env = write(&folder, &access, false).unwrap();
        let output = Command::new("sh")
            .arg("-c")
            .arg(". \"$1\" && cat \"$ETCDCTL_CACERT\" \"$ETCDCTL_CERT\" \"$ETCDCTL_KEY\" && echo $ETCDCTL_ENDPOINTS")
            .arg("sh")
            .arg(&env)
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "CACERTKEYhttps://10.0.0.1:2379\n"
        );
        let mode = folder.join(KEY).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(taken(&folder), Some(folder.join(CA)));
        assert_eq!(
            write(&folder, &access, false).unwrap_err().code,
            "file-exists"
        );
        write(&folder, &access, true).unwrap();
    }
}
