//! A signed apt repository on the lab's network, as a site without Debian's mirrors has one.

use crate::lab::Lab;
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub const SUITE: &str = "lab";
const LISTS: &str = "main/binary-amd64/Packages";

pub struct AptSource {
    pub uri: String,
    /// The public key that it is signed with, armoured.
    pub key: String,
    _folder: TempDir,
}

impl AptSource {
    /// Serves these packages until the process ends.
    pub fn serve(lab: &Lab, debs: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("root");
        lay_out(&root, debs)?;
        let key = sign(&folder.path().join("gpg"), &root)?;
        let listener = lab.beside_hosts(|| TcpListener::bind((Lab::GATEWAY, 0)))??;
        let uri = format!("http://{}", listener.local_addr()?);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let root = root.clone();
                // A client that goes away asks again.
                std::thread::spawn(move || answer(stream, &root));
            }
        });
        Ok(AptSource {
            uri,
            key,
            _folder: folder,
        })
    }
}

/// A key that signs nothing here.
pub fn another_key() -> Result<String> {
    let folder = tempfile::tempdir()?;
    make_key(&folder.path().join("gpg"))
}

fn lay_out(root: &Path, debs: &Path) -> Result<()> {
    let pool = root.join("pool");
    fs::create_dir_all(&pool)?;
    for (number, entry) in fs::read_dir(debs)?.enumerate() {
        // Versions hold signs that mean something in a URI.
        fs::copy(entry?.path(), pool.join(format!("{number}.deb")))?;
    }
    let mut scan = Command::new("dpkg-scanpackages");
    scan.args(["--multiversion", "pool"]).current_dir(root);
    let lists = output(&mut scan)?;
    let suite = root.join("dists").join(SUITE);
    let file = suite.join(LISTS);
    fs::create_dir_all(file.parent().context("no folder")?)?;
    fs::write(&file, &lists)?;
    let (hash, size) = (hex::encode(Sha256::digest(&lists)), lists.len());
    let date = output(Command::new("date").args(["--utc", "--rfc-email"]))?;
    let release = format!(
        "Suite: {SUITE}\nCodename: {SUITE}\nComponents: main\nArchitectures: amd64\nDate: {}\nSHA256:\n {hash} {size} {LISTS}\n",
        String::from_utf8_lossy(&date).trim()
    );
    Ok(fs::write(suite.join("Release"), release)?)
}

/// Returns the key.
fn sign(home: &Path, root: &Path) -> Result<String> {
    let key = make_key(home)?;
    let suite = root.join("dists").join(SUITE);
    let signed = suite.join("InRelease");
    let mut sign = gpg(home);
    sign.arg("--output").arg(&signed).arg("--clearsign");
    output(sign.arg(suite.join("Release")))?;
    // Its agent would outlive the folder.
    output(
        Command::new("gpgconf")
            .arg("--homedir")
            .arg(home)
            .args(["--kill", "all"]),
    )?;
    Ok(key)
}

fn make_key(home: &Path) -> Result<String> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(home)?;
    let name = "quorate lab <lab@localhost>";
    output(gpg(home).args(["--quick-generate-key", name, "rsa3072", "sign", "never"]))?;
    let key = output(gpg(home).args(["--armor", "--export"]))?;
    Ok(String::from_utf8(key)?)
}

fn gpg(home: &Path) -> Command {
    let mut command = Command::new("gpg");
    command.arg("--homedir").arg(home);
    command.args(["--batch", "--quiet", "--passphrase", ""]);
    command
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

fn answer(mut stream: TcpStream, root: &Path) -> Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().context("nothing was asked")??;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).context("no path")?;
    let content = below(root, path).and_then(|file| fs::read(file).ok());
    let (status, content) = match content {
        Some(content) => ("200 OK", content),
        None => ("404 Not Found", Vec::new()),
    };
    let size = content.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    )?;
    Ok(stream.write_all(&content)?)
}

fn below(root: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path.trim_start_matches('/'));
    let plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| root.join(path))
}
