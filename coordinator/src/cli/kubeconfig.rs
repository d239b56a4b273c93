//! Kubeconfig files: a new one, or entries merged into one that people already use.

use super::files::{self, PRIVATE_FOLDER};
use super::text::yaml::to_yaml;
use crate::files::{make_folder, problem};
use data_encoding::BASE64;
use quorate_proto::v1::Problem;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Hundreds of clusters with their certificates fit.
const MAX_KUBECONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// What it takes to reach a cluster as somebody.
#[derive(Clone, Default)]
pub struct Access {
    pub cluster: String,
    pub user: String,
    pub server: String,
    pub authority_pem: String,
    pub certificate_pem: String,
    pub key_pem: Zeroizing<String>,
}

impl Access {
    /// Several people's access to one cluster may lie in one file.
    fn user_entry(&self) -> String {
        format!("{}@{}", self.user, self.cluster)
    }

    fn entries(&self) -> [(&'static str, Value); 3] {
        [
            (
                "clusters",
                json!({"name": self.cluster, "cluster": {
                    "certificate-authority-data": BASE64.encode(self.authority_pem.as_bytes()),
                    "server": self.server,
                }}),
            ),
            (
                "users",
                json!({"name": self.user_entry(), "user": {
                    "client-certificate-data": BASE64.encode(self.certificate_pem.as_bytes()),
                    "client-key-data": BASE64.encode(self.key_pem.as_bytes()),
                }}),
            ),
            (
                "contexts",
                json!({"name": self.cluster, "context": {
                    "cluster": self.cluster,
                    "user": self.user_entry(),
                }}),
            ),
        ]
    }
}

/// A file of its own.
pub fn text(access: &Access) -> String {
    to_yaml(&fresh(access))
}

fn fresh(access: &Access) -> Value {
    let mut config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": access.cluster,
    });
    if let Value::Object(map) = &mut config {
        for (list, entry) in access.entries() {
            map.insert(list.to_owned(), json!([entry]));
        }
    }
    config
}

/// Merges into the file, which is made if it is missing. Returns where the former one was kept.
pub fn merge_file(path: &Path, access: &Access, force: bool) -> Result<Option<PathBuf>, Problem> {
    if !path.exists() {
        if let Some(folder) = path.parent() {
            make_folder(folder, PRIVATE_FOLDER)?;
        }
        files::write_private(path, Zeroizing::new(text(access)).as_bytes(), false)?;
        return Ok(None);
    }
    // A link stays one; its target changes.
    let path = path
        .canonicalize()
        .map_err(|error| problem("read", path, &error))?;
    let place = path.display().to_string();
    let before = Zeroizing::new(files::read_text(&path, MAX_KUBECONFIG_BYTES)?);
    let old = parse(&before).map_err(|problem| problem.at(place.clone()))?;
    let merged = merge(old, access, force).map_err(|problem| problem.at(place))?;
    let kept = backup_of(&path);
    files::write_private(&kept, before.as_bytes(), true)?;
    files::write_private(&path, Zeroizing::new(to_yaml(&merged)).as_bytes(), true)?;
    Ok(Some(kept))
}

fn backup_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".before-quorate");
    path.with_file_name(name)
}

fn parse(text: &str) -> Result<Value, Problem> {
    if text.trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    // The parser's message could quote keys.
    serde_saphyr::from_str(text).map_err(|_| foreign("this is not YAML"))
}

fn foreign(what: &str) -> Problem {
    Problem::new("kubeconfig-unreadable", what).next("write a file of its own: -f OUT")
}

/// Puts the three entries in, and makes the cluster the current context. An entry of the same name that leads
/// elsewhere stays unless `force`; one that leads to the same cluster is renewed.
fn merge(old: Value, access: &Access, force: bool) -> Result<Value, Problem> {
    let Value::Object(mut config) = old else {
        return Err(foreign("this is not a kubeconfig"));
    };
    if config.get("kind").is_some_and(|kind| kind != "Config") {
        return Err(foreign("this is not a kubeconfig"));
    }
    for (key, value) in [("apiVersion", "v1"), ("kind", "Config")] {
        config.entry(key).or_insert_with(|| value.into());
    }
    let entries = access.entries();
    if !force {
        for (list, entry) in &entries {
            check_same(&config, list, entry)?;
        }
    }
    for (list, entry) in entries {
        put(&mut config, list, entry)?;
    }
    config.insert("current-context".to_owned(), access.cluster.as_str().into());
    Ok(Value::Object(config))
}

fn check_same(config: &Map<String, Value>, list: &str, entry: &Value) -> Result<(), Problem> {
    let there = config
        .get(list)
        .and_then(Value::as_array)
        .and_then(|list| list.iter().find(|one| one["name"] == entry["name"]));
    // Users hold credentials, which are to be renewed.
    let same = match (there, list) {
        (None, _) | (Some(_), "users") => true,
        (Some(there), "contexts") => there["context"]["cluster"] == entry["context"]["cluster"],
        (Some(there), _) => there["cluster"] == entry["cluster"],
    };
    if same {
        return Ok(());
    }
    let name = entry["name"].as_str().unwrap_or_default();
    Err(Problem::new(
        "kubeconfig-taken",
        format!("the file has another entry {name:?} under {list}; it was left as it is"),
    )
    .because("it belongs to another cluster of that name, or to this one before it was formed anew")
    .next("replace it with --force, or write a file of its own: -f OUT"))
}

fn put(config: &mut Map<String, Value>, list: &str, entry: Value) -> Result<(), Problem> {
    let slot = config.entry(list).or_insert(Value::Null);
    if slot.is_null() {
        *slot = json!([]);
    }
    let Value::Array(entries) = slot else {
        return Err(foreign("this is not a kubeconfig"));
    };
    match entries.iter_mut().find(|one| one["name"] == entry["name"]) {
        Some(there) => *there = entry,
        None => entries.push(entry),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn access(server: &str, key: &str) -> Access {
        Access {
            cluster: "prod".into(),
            user: "root".into(),
            server: server.into(),
            authority_pem: "CA".into(),
            certificate_pem: "CERT".into(),
            key_pem: key.to_owned().into(),
        }
    }

    #[test]
    fn a_file_of_its_own() {
        assert_eq!(
            text(&access("https://10.0.0.1:6443", "KEY")),
            "apiVersion: v1\n\
             clusters:\n\
             - cluster:\n\
             \x20   certificate-authority-data: \"Q0E=\"\n\
             \x20   server: \"https://10.0.0.1:6443\"\n\
             \x20 name: prod\n\
             contexts:\n\
             - context:\n\
             \x20   cluster: prod\n\
             \x20   user: \"root@prod\"\n\
             \x20 name: prod\n\
             current-context: prod\n\
             kind: Config\n\
             preferences: {}\n\
             users:\n\
             - name: \"root@prod\"\n\
             \x20 user:\n\
             \x20   client-certificate-data: \"Q0VSVA==\"\n\
             \x20   client-key-data: S0VZ\n"
        );
    }

    const OTHERS: &str = "
apiVersion: v1
kind: Config
current-context: lab
clusters:
- {name: lab, cluster: {server: 'https://lab:6443', insecure-skip-tls-verify: false}}
users:
- name: lab
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: login, args: ['no', '0123'], env: null}}
contexts:
- {name: lab, context: {cluster: lab, user: lab}}
";

    #[test]
    fn merging_keeps_what_others_put_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, OTHERS).unwrap();
        let kept = merge_file(&path, &access("https://a:6443", "ONE"), false)
            .unwrap()
            .unwrap();
        assert_eq!(fs::read_to_string(&kept).unwrap(), OTHERS);
        let merged = parse(&fs::read_to_string(&path).unwrap()).unwrap();
        let before = parse(OTHERS).unwrap();
        for list in ["clusters", "users", "contexts"] {
            assert_eq!(merged[list][0], before[list][0], "{list}");
            assert_eq!(merged[list].as_array().unwrap().len(), 2);
        }
        assert_eq!(merged["current-context"], "prod");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn renews_its_own_but_not_another_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/config");
        assert_eq!(
            merge_file(&path, &access("https://a:6443", "ONE"), false).unwrap(),
            None
        );
        merge_file(&path, &access("https://a:6443", "TWO"), false).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(&BASE64.encode(b"TWO")) && !text.contains(&BASE64.encode(b"ONE")));
        let other = access("https://b:6443", "THREE");
        let problem = merge_file(&path, &other, false).unwrap_err();
        assert_eq!(problem.code, "kubeconfig-taken");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        merge_file(&path, &other, true).unwrap();
        let merged = parse(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(merged["clusters"].as_array().unwrap().len(), 1);
        assert_eq!(merged["clusters"][0]["cluster"]["server"], "https://b:6443");
    }

    #[test]
    fn what_is_no_kubeconfig_stays() {
        for text in ["[]", "kind: Pod", "clusters: {}", "a: [", "x"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config");
            fs::write(&path, text).unwrap();
            let problem = merge_file(&path, &access("https://a:1", "K"), false).unwrap_err();
            assert_eq!(problem.code, "kubeconfig-unreadable", "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn an_empty_file_is_filled() {
        for text in ["", "apiVersion: v1\nkind: Config\nclusters: null\n"] {
            let merged = merge(parse(text).unwrap(), &access("https://a:1", "K"), false).unwrap();
            assert_eq!(merged["users"][0]["name"], "root@prod");
        }
    }

    proptest::proptest! {
        #![proptest_config(crate::fuzz::config())]

        /// What people have in their file, and names from a coordinator that is not ours to trust.
        #[test]
        fn fuzz_files(
            old in crate::fuzz::damaged_text(&[&text(&access("https://a:6443", "old"))]),
            name in crate::fuzz::text(),
        ) {
            let mut new = access("https://b:6443", "new");
            new.cluster = name.clone();
            new.user = name.clone();
            new.server = name;
            let own: Value = serde_saphyr::from_str(&text(&new)).expect("YAML");
            proptest::prop_assert_eq!(&own["clusters"][0]["cluster"]["server"], &json!(new.server));
            proptest::prop_assert_eq!(own["clusters"].as_array().map(Vec::len), Some(1));
            if let Ok(merged) = parse(&old).and_then(|old| merge(old, &new, true)) {
                let read: Value = serde_saphyr::from_str(&to_yaml(&merged)).expect("YAML");
                proptest::prop_assert_eq!(read, merged);
            }
        }
    }
}
