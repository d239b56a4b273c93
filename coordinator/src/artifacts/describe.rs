//! What a file is, found out on the machine that adds it.

use super::images;
use quorate_proto::v1::{ArtifactKind, ArtifactRef, Problem};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;

/// Bytes that are hashed at a time.
const BLOCK: usize = 1024 * 1024;
const ELF: [u8; 4] = *b"\x7fELF";

/// Reads the whole file once, for its digest. Blocks.
pub fn describe(path: &Path) -> Result<ArtifactRef, Problem> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| {
            Problem::new("invalid-artifact", "the file has no usable name").at(show(path))
        })?;
    let (digest, size, start) = digest(path)?;
    let base = ArtifactRef {
        digest,
        size,
        name: name.to_owned(),
        ..ArtifactRef::default()
    };
    let lower = name.to_ascii_lowercase();
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| lower.ends_with(suffix));
    if ends(&[".deb"]) {
        package(path, base)
    } else if ends(&[".tar", ".tar.gz", ".tgz"]) {
        let images = images::tags(path)?;
        Ok(ArtifactRef {
            images,
            ..with_kind(base, ArtifactKind::Image)
        })
    } else if ends(&[".yaml", ".yml"]) {
        Ok(with_kind(base, ArtifactKind::Manifest))
    } else if start == ELF {
        Ok(with_kind(base, ArtifactKind::Binary))
    } else {
        Err(Problem::new(
            "invalid-artifact",
            "this file is of no kind that nodes can use",
        )
        .at(show(path))
        .next(
            "add .deb packages, image archives (.tar, .tar.gz), programs (ELF) or .yaml manifests",
        ))
    }
}

fn with_kind(artifact: ArtifactRef, kind: ArtifactKind) -> ArtifactRef {
    ArtifactRef {
        kind: kind as i32,
        ..artifact
    }
}

fn digest(path: &Path) -> Result<(String, u64, [u8; 4]), Problem> {
    let fail = |error: std::io::Error| {
        Problem::new("file", format!("cannot read a file: {error}")).at(show(path))
    };
    let mut file = File::open(path).map_err(fail)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut start = Vec::with_capacity(ELF.len());
    let mut size = 0_u64;
    loop {
        let read = file.read(&mut block).map_err(fail)?;
        if read == 0 {
            break;
        }
        let wanted = ELF.len() - start.len();
        start.extend_from_slice(&block[..read.min(wanted)]);
        hash.update(&block[..read]);
        size += read as u64;
    }
    start.resize(ELF.len(), 0);
    let start = [start[0], start[1], start[2], start[3]];
    let digest = format!("sha256:{}", hex::encode(hash.finalize()));
    Ok((digest, size, start))
}

fn package(path: &Path, base: ArtifactRef) -> Result<ArtifactRef, Problem> {
    let fail = |cause: String| {
        Problem::new("invalid-artifact", "dpkg-deb cannot read this package")
            .at(show(path))
            .because(cause)
    };
    // Absolute, so that no file name can pass for an option.
    let absolute = path
        .canonicalize()
        .map_err(|error| fail(error.to_string()))?;
    let output = Command::new("dpkg-deb")
        .arg("--field")
        .arg(&absolute)
        .args([
            "Package",
            "Version",
            "Pre-Depends",
            "Depends",
            "Provides",
            "Architecture",
        ])
        .output()
        .map_err(|error| fail(format!("cannot start dpkg-deb: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(fail(said.trim().to_owned()));
    }
    let fields = control_fields(&String::from_utf8_lossy(&output.stdout));
    let get = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let (name, version) = (get("Package"), get("Version"));
    if name.is_empty() || version.is_empty() {
        return Err(fail(
            "its control file names no package or version".to_owned(),
        ));
    }
    let depends: Vec<String> = [get("Pre-Depends"), get("Depends")]
        .into_iter()
        .filter(|field| !field.is_empty())
        .collect();
    Ok(ArtifactRef {
        package: name,
        version,
        depends: depends.join(", "),
        provides: get("Provides"),
        architecture: get("Architecture"),
        ..with_kind(base, ArtifactKind::Deb)
    })
}

/// "Field: value" lines; a line that starts with a blank goes on with the field before it.
fn control_fields(text: &str) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = current.as_ref().and_then(|name| fields.get_mut(name)) {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.insert(name.to_owned(), value.trim().to_owned());
            current = Some(name.to_owned());
        }
    }
    fields
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    fn file(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn kinds_by_suffix_and_content() {
        let folder = tempfile::tempdir().unwrap();
        let elf = describe(&file(folder.path(), "etcd", b"\x7fELF rest")).unwrap();
        assert_eq!(
            (elf.kind(), elf.size, elf.name.as_str()),
            (ArtifactKind::Binary, 9, "etcd")
        );
        let yaml = describe(&file(folder.path(), "CNI.YAML", b"a: 1\n")).unwrap();
        assert_eq!(yaml.kind(), ArtifactKind::Manifest);
        let sum = hex::encode(Sha256::digest(b"a: 1\n"));
        assert_eq!(yaml.digest, format!("sha256:{sum}"));
        for (name, content) in [
            ("x", &b"#!/bin/sh"[..]),
            ("x.deb", b"no package"),
            ("x.tar", b"no archive"),
            ("e", b""),
        ] {
            let problem = describe(&file(folder.path(), name, content)).unwrap_err();
            assert_eq!(problem.code, "invalid-artifact", "{name}");
        }
    }

    #[test]
    fn a_real_package() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let control = "Package: demo\nVersion: 1:2.0-1\nArchitecture: all\nMaintainer: A <a@b.c>\nPre-Depends: dpkg (>= 1.15)\n\
                       Depends: libc6 (>= 2.34),\n iptables | nftables\nProvides: example\nDescription: x\n";
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        let deb = folder.path().join("-x.deb");
        let built = Command::new("dpkg-deb")
            .arg("--build")
            .arg(&tree)
            .arg(&deb)
            .output();
        let Ok(built) = built else { return };
        assert!(built.status.success());
        let read = describe(&deb).unwrap();
        assert_eq!(
            (read.package.as_str(), read.version.as_str()),
            ("demo", "1:2.0-1")
        );
        assert_eq!(
            read.depends,
            "dpkg (>= 1.15), libc6 (>= 2.34), iptables | nftables"
        );
        assert_eq!(
            (read.provides.as_str(), read.architecture.as_str()),
            ("example", "all")
        );
    }

    proptest::proptest! {
        #![proptest_config(crate::fuzz::config())]

        /// Of packages that somebody else has built. A field is one line, whatever it was made of.
        #[test]
        fn fuzz_control_fields(text in crate::fuzz::damaged_text(&[
            "Package: demo\nVersion: 1:2.0-1\nDepends: libc6 (>= 2.34),\n iptables | nftables\nProvides: example\n",
        ])) {
            for (name, value) in control_fields(&text) {
                proptest::prop_assert!(!name.contains(['\n', ':']) && !value.contains('\n'), "{} {}", name, value);
                let _ = (super::super::relation::dependencies(&value), super::super::relation::provided(&value));
            }
        }
    }
}
