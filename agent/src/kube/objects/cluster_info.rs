//! kube-public/cluster-info: what a joining worker reads and checks by a signature that the controller manager makes of its text.

use super::{patch, text, unusable};
use crate::kube::kubeconfig::{split_url, with_server};
use quorate_proto::v1::Problem;
use serde_json::{Map, Value};

pub const PATH: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
const KEY: &str = "kubeconfig";
const SIGNATURE: &str = "jws-kubeconfig-";

/// The server, as `https://host:port`.
pub fn server(object: &Value) -> Result<String, Problem> {
    let text = text(object, KEY).ok_or_else(|| unusable(PATH, "it has no kubeconfig"))?;
    match servers(text).as_slice() {
        [one] => Ok(one.clone()),
        several => Err(unusable(
            PATH,
            format!("its kubeconfig has {} clusters", several.len()),
        )),
    }
}

pub fn endpoint(object: &Value) -> Option<(String, u16)> {
    split_url(&server(object).ok()?)
}

/// The patch to another server, without any signature: one of the earlier text would make joins fail for good, while a missing one
/// only makes them wait.
pub fn change(object: &Value, wanted: &str) -> Result<Option<Value>, Problem> {
    if server(object)? == wanted {
        return Ok(None);
    }
    let changed = with_server(text(object, KEY).unwrap_or_default(), wanted);
    if servers(&changed) != [wanted] {
        return Err(unusable(PATH, "its server stands in no line of its own"));
    }
    let mut data = Map::new();
    data.insert(KEY.to_owned(), changed.into());
    for id in signed(object) {
        data.insert(format!("{SIGNATURE}{id}"), Value::Null);
    }
    Ok(Some(patch(object, Value::Object(data))))
}

/// Ids of the tokens whose signature is there.
pub fn signed(object: &Value) -> Vec<String> {
    let keys = object["data"].as_object().into_iter().flatten();
    keys.filter_map(|(key, _)| key.strip_prefix(SIGNATURE))
        .map(str::to_owned)
        .collect()
}

fn servers(text: &str) -> Vec<String> {
    let value: Value = serde_saphyr::from_str(text).unwrap_or_default();
    let clusters = value["clusters"].as_array().into_iter().flatten();
    clusters
        .filter_map(|it| it["cluster"]["server"].as_str())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TEXT: &str = "apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Y2E=
    server: https://10.77.0.50:6443
  name: \"\"
contexts: null
current-context: \"\"
kind: Config
users: null
";

    #[test]
    fn signatures_go_with_the_text_that_they_are_of() {
        let object = json!({"metadata": {"resourceVersion": "9"}, "data": {
            KEY: TEXT, "jws-kubeconfig-aaaaaa": "x", "jws-kubeconfig-bbbbbb": "y", "other": "z",
        }});
        assert_eq!(endpoint(&object), Some(("10.77.0.50".to_owned(), 6443)));
        assert_eq!(signed(&object), ["aaaaaa", "bbbbbb"]);
        assert_eq!(change(&object, "https://10.77.0.50:6443").unwrap(), None);
        let patch = change(&object, "https://lb:6443").unwrap().unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "9");
        let data = patch["data"].as_object().unwrap();
        assert_eq!(data["jws-kubeconfig-aaaaaa"], Value::Null);
        assert_eq!(data["jws-kubeconfig-bbbbbb"], Value::Null);
        assert_eq!(data.len(), 3);
        let moved = TEXT.replace("10.77.0.50", "lb");
        assert_eq!(data[KEY], moved.as_str());
    }

    #[test]
    fn what_is_not_kubeadms_is_refused() {
        let two = TEXT.replace(
            "contexts: null",
            "- cluster: {server: \"https://b:1\"}\n  name: b\ncontexts: null",
        );
        for text in ["clusters: []", "a: [", &two] {
            let object = json!({"data": {KEY: text}});
            assert_eq!(server(&object).unwrap_err().code, "cluster-object");
        }
        assert!(server(&json!({})).is_err());
    }
}
