//! The tags in an image archive: Docker's manifest.json or an OCI index.json. Nothing is unpacked.

use flate2::read::GzDecoder;
use quorate_proto::v1::Problem;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

/// Far above the index of any image archive.
const MAX_INDEX: u64 = 4 * 1024 * 1024;
/// Far above the number of files in one; layers are single files.
const MAX_ENTRIES: usize = 100_000;

pub fn tags(path: &Path) -> Result<Vec<String>, Problem> {
    let fail = |cause: String| {
        Problem::new("invalid-artifact", "this is no image archive")
            .at(path.display().to_string())
            .because(cause)
            .next("make one with `ctr images export` or `docker save`")
    };
    let mut file = File::open(path).map_err(|error| fail(error.to_string()))?;
    let mut magic = [0; 2];
    let zipped = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    file.rewind().map_err(|error| fail(error.to_string()))?;
    let file = BufReader::new(file);
    let found = if zipped {
        read(GzDecoder::new(file))
    } else {
        read(file)
    };
    let tags = found.map_err(fail)?;
    if tags.is_empty() {
        return Err(fail("it names no image".to_owned()));
    }
    Ok(tags.into_iter().collect())
}

fn read(archive: impl Read) -> Result<BTreeSet<String>, String> {
    let mut tags = BTreeSet::new();
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().map_err(|error| error.to_string())?;
    for (count, entry) in entries.enumerate() {
        if count == MAX_ENTRIES {
            return Err("it has too many entries".to_owned());
        }
        let entry = entry.map_err(|error| error.to_string())?;
        let name = entry.path_bytes().into_owned();
        let docker = name.ends_with(b"manifest.json") && bare(&name, b"manifest.json");
        let oci = name.ends_with(b"index.json") && bare(&name, b"index.json");
        if !docker && !oci {
            continue;
        }
        let mut text = Vec::new();
        entry
            .take(MAX_INDEX)
            .read_to_end(&mut text)
            .map_err(|error| error.to_string())?;
        tags.extend(if docker {
            docker_tags(&text)?
        } else {
            oci_tags(&text)?
        });
    }
    Ok(tags)
}

/// At the top of the archive.
fn bare(name: &[u8], expected: &[u8]) -> bool {
    name == expected || name.strip_prefix(b"./") == Some(expected)
}

#[derive(Deserialize)]
struct DockerImage {
    #[serde(rename = "RepoTags", default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct OciIndex {
    #[serde(default)]
    manifests: Vec<OciManifest>,
}

#[derive(Deserialize)]
struct OciManifest {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn docker_tags(text: &[u8]) -> Result<Vec<String>, String> {
    let images: Vec<DockerImage> =
        serde_json::from_slice(text).map_err(|error| format!("manifest.json: {error}"))?;
    Ok(images
        .into_iter()
        .filter_map(|image| image.tags)
        .flatten()
        .collect())
}

fn oci_tags(text: &[u8]) -> Result<Vec<String>, String> {
    let index: OciIndex =
        serde_json::from_slice(text).map_err(|error| format!("index.json: {error}"))?;
    let tag = |mut manifest: OciManifest| {
        manifest
            .annotations
            .remove("io.containerd.image.name")
            .or_else(|| {
                // The reference is often the tag alone, which names no image.
                let name = manifest
                    .annotations
                    .remove("org.opencontainers.image.ref.name")?;
                name.contains(['/', ':']).then_some(name)
            })
    };
    Ok(index.manifests.into_iter().filter_map(tag).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder
                .append_data(&mut header, name, content.as_bytes())
                .unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn read_bytes(bytes: &[u8]) -> Result<Vec<String>, Problem> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        tags(file.path())
    }

    const DOCKER: &str = r#"[{"RepoTags":["registry.k8s.io/pause:3.10"]},{"RepoTags":null}]"#;
    const OCI: &str = r#"{"manifests":[{"annotations":{"io.containerd.image.name":"registry.k8s.io/etcd:3.5.21-0",
        "org.opencontainers.image.ref.name":"3.5.21-0"}},{"annotations":{"org.opencontainers.image.ref.name":"latest"}}]}"#;

    #[test]
    fn both_forms_plain_and_zipped() {
        let plain = archive(&[
            ("blobs/x", "layer"),
            ("./manifest.json", DOCKER),
            ("index.json", OCI),
            ("sub/index.json", "no"),
        ]);
        let expected = [
            "registry.k8s.io/etcd:3.5.21-0",
            "registry.k8s.io/pause:3.10",
        ];
        assert_eq!(read_bytes(&plain).unwrap(), expected);
        let mut zip = GzEncoder::new(Vec::new(), Compression::fast());
        zip.write_all(&plain).unwrap();
        assert_eq!(read_bytes(&zip.finish().unwrap()).unwrap(), expected);
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for wrong in [
            archive(&[("readme", "x")]),
            archive(&[("manifest.json", "{")]),
            archive(&[("index.json", "{}")]),
            b"\x1f\x8b broken".to_vec(),
            vec![7; 600],
            Vec::new(),
        ] {
            assert_eq!(read_bytes(&wrong).unwrap_err().code, "invalid-artifact");
        }
    }

    proptest::proptest! {
        #![proptest_config(crate::fuzz::config())]

        /// Nothing is unpacked, so that entries with any name are only read past.
        #[test]
        fn fuzz_archives(bytes in crate::fuzz::damaged(vec![
            archive(&[("manifest.json", DOCKER), ("index.json", OCI)]),
            archive(&[("blobs/sha256/x", "layer"), ("./index.json", OCI)]),
        ])) {
            let _ = read(bytes.as_slice());
            let _ = read(GzDecoder::new(bytes.as_slice()));
        }

        #[test]
        fn fuzz_indexes(text in crate::fuzz::damaged_text(&[DOCKER, OCI])) {
            let _ = (docker_tags(text.as_bytes()), oci_tags(text.as_bytes()));
        }
    }
}
