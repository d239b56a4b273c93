//! A cluster file and every file that it names, as one request. The coordinator judges the contents;
//! here the YAML is only searched for paths.

use super::files;
use quorate_proto::limits::MAX_MESSAGE_BYTES;
use quorate_proto::v1::{PlanRequest, Problem};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// No file may be larger than the request that carries it.
pub const MAX_FILE_BYTES: u64 = MAX_MESSAGE_BYTES as u64;

/// A field that holds a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub field: String,
    pub path: String,
}

/// The paths in a cluster file. A text that is no YAML names none: the coordinator says what is wrong with it.
pub fn named_files(text: &str) -> Vec<Named> {
    let value: Value = serde_saphyr::from_str(text).unwrap_or_default();
    let mut found = Vec::new();
    for (pointer, field) in [
        ("/kubernetes/addons", "kubernetes.addons"),
        ("/kubernetes/configFiles", "kubernetes.configFiles"),
    ] {
        let list = value.pointer(pointer).and_then(Value::as_array);
        for (at, path) in list.into_iter().flatten().enumerate() {
            found.extend(named(format!("{field}[{at}]"), path));
        }
    }
    let drop_ins = value
        .pointer("/kubernetes/containerd/dropIns")
        .and_then(Value::as_object);
    for (name, path) in drop_ins.into_iter().flatten() {
        found.extend(named(format!("kubernetes.containerd.dropIns.{name}"), path));
    }
    if let Some(path) = value.pointer("/install/apt/key") {
        found.extend(named("install.apt.key".to_owned(), path));
    }
    found
}

fn named(field: String, path: &Value) -> Option<Named> {
    let path = path.as_str()?.to_owned();
    Some(Named { field, path })
}

/// Reads what `text` names, relative to `folder`. All that is missing is reported, not just the first.
pub fn collect(text: String, folder: &Path, label: &str) -> Result<PlanRequest, Vec<Problem>> {
    let mut attachments = BTreeMap::new();
    let mut problems = Vec::new();
    for Named { field, path } in named_files(&text) {
        if attachments.contains_key(&path) {
            continue;
        }
        let full = folder.join(&path);
        match files::read_text(&full, MAX_FILE_BYTES) {
            Ok(content) => {
                attachments.insert(path, content);
            }
            Err(problem) => problems.push(Problem {
                what: format!("cannot read {}: {}", full.display(), problem.what),
                next: format!("paths are relative to {}", folder.display()),
                ..problem.at(format!("{label}, {field}"))
            }),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let request = PlanRequest {
        file: text,
        attachments,
    };
    check_size(&request, label).map_err(|problem| vec![problem])?;
    Ok(request)
}

fn check_size(request: &PlanRequest, label: &str) -> Result<(), Problem> {
    // An Apply wraps the request in a few more bytes.
    const WRAPPING: usize = 64;
    let size = prost::Message::encoded_len(request);
    if size + WRAPPING <= MAX_MESSAGE_BYTES {
        return Ok(());
    }
    let largest = request
        .attachments
        .iter()
        .max_by_key(|(_, content)| content.len());
    let units = super::text::units::bytes;
    let what = format!(
        "the cluster file and the files that it names are {}; at most {} can be sent",
        units(size as u64),
        units(MAX_MESSAGE_BYTES as u64)
    );
    let cause = largest.map(|(path, content)| {
        format!("the largest is {path} with {}", units(content.len() as u64))
    });
    Err(Problem::new("file-too-large", what)
        .at(label)
        .because(cause.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
name: prod
kubernetes:
  addons: [cni.yaml, sub/metrics.yaml]
  configFiles:
    - kubelet.yaml
  containerd:
    dropIns:
      mirror: mirror.toml
install:
  apt: {uri: 'https://pkgs.k8s.io', suite: /, key: k8s.asc}
nodes:
  - {name: cp1, roles: [control-plane]}
";

    #[test]
    fn every_field_that_holds_a_path() {
        let found: Vec<(String, String)> = named_files(FILE)
            .into_iter()
            .map(|n| (n.field, n.path))
            .collect();
        let want = [
            ("kubernetes.addons[0]", "cni.yaml"),
            ("kubernetes.addons[1]", "sub/metrics.yaml"),
            ("kubernetes.configFiles[0]", "kubelet.yaml"),
            ("kubernetes.containerd.dropIns.mirror", "mirror.toml"),
            ("install.apt.key", "k8s.asc"),
        ];
        assert_eq!(found, want.map(|(f, p)| (f.to_owned(), p.to_owned())));
    }

    #[test]
    fn odd_files_name_nothing() {
        for text in [
            "",
            "a: [",
            "kubernetes: 1",
            "kubernetes: {addons: x}",
            "kubernetes: {addons: [1, {}]}",
            "[]",
        ] {
            assert_eq!(named_files(text), [], "{text}");
        }
    }

    #[test]
    fn reads_relative_to_the_file_and_keys_as_written() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for name in [
            "cni.yaml",
            "sub/metrics.yaml",
            "kubelet.yaml",
            "mirror.toml",
            "k8s.asc",
        ] {
            std::fs::write(folder.path().join(name), format!("content of {name}")).unwrap();
        }
        let request = collect(FILE.into(), folder.path(), "prod.yaml").unwrap();
        assert_eq!(request.file, FILE);
        assert_eq!(
            request.attachments["sub/metrics.yaml"],
            "content of sub/metrics.yaml"
        );
        assert_eq!(request.attachments.len(), 5);
    }

    #[test]
    fn all_missing_files_are_named_with_their_fields() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cni.yaml"), "x").unwrap();
        let problems = collect(FILE.into(), folder.path(), "prod.yaml").unwrap_err();
        let places: Vec<&str> = problems.iter().map(|p| p.r#where.as_str()).collect();
        assert_eq!(
            places,
            [
                "prod.yaml, kubernetes.addons[1]",
                "prod.yaml, kubernetes.configFiles[0]",
                "prod.yaml, kubernetes.containerd.dropIns.mirror",
                "prod.yaml, install.apt.key"
            ]
        );
        assert!(
            problems[0].what.contains("sub/metrics.yaml"),
            "{}",
            problems[0].what
        );
    }

    #[test]
    fn too_much_names_the_largest() {
        let folder = tempfile::tempdir().unwrap();
        let text = "kubernetes: {addons: [a, b]}";
        std::fs::write(folder.path().join("a"), "x".repeat(1024 * 1024)).unwrap();
        std::fs::write(folder.path().join("b"), "x".repeat(3 * 1024 * 1024)).unwrap();
        let problems = collect(text.into(), folder.path(), "f").unwrap_err();
        assert_eq!(problems[0].code, "file-too-large");
        assert!(
            problems[0].cause.contains("b with 3 MiB"),
            "{}",
            problems[0]
        );
    }
}
