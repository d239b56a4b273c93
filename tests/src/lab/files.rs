//! Files of a running host, always by its own eyes: its mounts and links are what counts.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use super::exec::{Input, words};
use super::host::Host;
use super::machine;

/// Stores standard input as file $1 with mode $2, in one step as seen by readers. A fixed script: what
/// varies comes as arguments.
const STORE: &str = r#"set -eu
mkdir -p "$(dirname "$1")"
new=$(mktemp "$1.XXXXXX")
trap 'rm -f "$new"' EXIT
cat > "$new"
chmod "$2" "$new"
mv -f "$new" "$1""#;

const DEBS: &str = "/var/cache/lab-debs";

impl Host {
    /// Writes a file (0o644, say), replacing what is there and making folders as needed.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        self.store(path, Input::Bytes(content.as_ref()), mode)
    }

    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut command = self.command(["cat", "--", path])?;
        let output = machine::output_from(&mut command, Stdio::null())?;
        if !output.status.success() {
            let heard = String::from_utf8_lossy(&output.stderr);
            bail!("{self}: cannot read {path}: {}", heard.trim());
        }
        Ok(output.stdout)
    }

    pub fn read_text(&self, path: &str) -> Result<String> {
        String::from_utf8(self.read(path)?).with_context(|| format!("{self}: {path} is not UTF-8"))
    }

    /// Copies a file of the machine into the host.
    pub fn push(&self, local: &Path, remote: &str, mode: u32) -> Result<()> {
        let file = File::open(local).with_context(|| format!("cannot open {}", local.display()))?;
        self.store(remote, Input::File(file), mode)
    }

    /// Copies a folder of the machine, with all in it, to the folder `remote` of the host.
    pub fn push_dir(&self, local: &Path, remote: &str) -> Result<()> {
        self.ok(["mkdir", "-p", "--", remote])?;
        let mut pack = std::process::Command::new("tar");
        pack.arg("-C")
            .arg(local)
            .args(["-cf", "-", "."])
            .stdout(Stdio::piped());
        let mut pack = pack.spawn().context("cannot start tar on the machine")?;
        let mut unpack = self.command(["tar", "-C", remote, "--no-same-owner", "-xf", "-"])?;
        let stdin = pack.stdout.take().map_or(Stdio::null(), Stdio::from);
        let unpacked = machine::output_from(&mut unpack, stdin)?;
        let packed = pack.wait()?;
        ensure!(
            packed.success() && unpacked.status.success(),
            "{self}: cannot copy {} to {remote}: {}",
            local.display(),
            String::from_utf8_lossy(&unpacked.stderr).trim()
        );
        Ok(())
    }

    /// Copies a file of the host to the machine.
    pub fn pull(&self, remote: &str, local: &Path) -> Result<()> {
        std::fs::write(local, self.read(remote)?)
            .with_context(|| format!("cannot write {}", local.display()))
    }

    /// Installs Debian packages from files of the machine, all in one go.
    pub fn install_debs<P: AsRef<Path>>(&self, debs: &[P]) -> Result<()> {
        self.ok(["mkdir", "-p", DEBS])?;
        let mut install = vec!["dpkg".to_owned(), "--install".to_owned()];
        for deb in debs {
            let name = deb
                .as_ref()
                .file_name()
                .context("a package without a file name")?;
            let remote = format!("{DEBS}/{}", name.to_string_lossy());
            self.push(deb.as_ref(), &remote, 0o644)?;
            install.push(remote);
        }
        let installed = self.ok(&install);
        self.ok(["rm", "-rf", DEBS])?;
        installed.map(drop)
    }

    /// The oldest process of that name, by the host's own numbers.
    pub fn pid_of(&self, name: &str) -> Result<Option<i32>> {
        let found = self.run(["pgrep", "--oldest", "--exact", name])?;
        match found.status {
            0 => Ok(Some(found.stdout.trim().parse()?)),
            1 => Ok(None),
            _ => bail!("{self}: pgrep {name}: {}", found.stderr.trim()),
        }
    }

    fn store(&self, path: &str, input: Input<'_>, mode: u32) -> Result<()> {
        let mode = format!("{mode:o}");
        self.must(&words(["sh", "-c", STORE, "store", path, &mode]), input)
            .with_context(|| format!("{self}: cannot write {path}"))
            .map(drop)
    }
}
