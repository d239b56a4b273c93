//! Kubeconfig files as kubeadm and the kubelet write them: who one is, and where the server is.

use crate::host::files;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quorate_proto::v1::Problem;
use serde::Deserialize;
use std::path::Path;
use zeroize::Zeroizing;

/// The current context's cluster and user.
pub struct Kubeconfig {
    pub server: String,
    pub authority_pem: String,
    pub certificate_pem: String,
    pub key_pem: Zeroizing<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    users: Vec<NamedUser>,
    current_context: String,
}

/// What of a file says where its servers are: no key is read.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Places {
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    current_context: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: Option<String>,
    certificate_authority: Option<String>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: ContextOf,
}

#[derive(Deserialize)]
struct ContextOf {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate_data: Option<String>,
    client_certificate: Option<String>,
    client_key_data: Option<String>,
    client_key: Option<String>,
}

impl Kubeconfig {
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let text = Zeroizing::new(files::read_text(path)?);
        parse(&text).map_err(|reason| {
            Problem::new("kubeconfig", format!("cannot use a kubeconfig: {reason}"))
                .at(path.display().to_string())
                .because("not written by kubeadm, or cut short")
        })
    }

    /// Host and port of the server.
    pub fn endpoint(&self) -> Option<(String, u16)> {
        split_url(&self.server)
    }
}

/// The server of the file's current context, without reading keys.
pub fn server_of(path: &Path) -> Result<Option<(String, u16)>, Problem> {
    if !path.exists() {
        return Ok(None);
    }
    Ok(Kubeconfig::read(path)?.endpoint())
}

fn parse(text: &str) -> Result<Kubeconfig, String> {
    // The parser's own message may quote a line, and lines hold keys.
    let file: File = serde_saphyr::from_str(text).map_err(|_| "not a kubeconfig".to_owned())?;
    let context = find(
        &file.contexts,
        |it| it.name == file.current_context,
        "context",
    )?;
    let cluster = find(
        &file.clusters,
        |it| it.name == context.context.cluster,
        "cluster",
    )?;
    let user = find(&file.users, |it| it.name == context.context.user, "user")?;
    let (cluster, user) = (&cluster.cluster, &user.user);
    let key = pem(&user.client_key_data, &user.client_key, "client key")?;
    Ok(Kubeconfig {
        server: cluster.server.clone(),
        authority_pem: pem(
            &cluster.certificate_authority_data,
            &cluster.certificate_authority,
            "certificate authority",
        )?,
        certificate_pem: pem(
            &user.client_certificate_data,
            &user.client_certificate,
            "client certificate",
        )?,
        key_pem: Zeroizing::new(key),
    })
}

fn find<'a, T>(all: &'a [T], wanted: impl Fn(&T) -> bool, what: &str) -> Result<&'a T, String> {
    all.iter()
        .find(|it| wanted(it))
        .ok_or_else(|| format!("its current {what} is not in it"))
}

fn pem(data: &Option<String>, file: &Option<String>, what: &str) -> Result<String, String> {
    if let Some(data) = data {
        let bytes = STANDARD
            .decode(data.trim())
            .map_err(|_| format!("its {what} is not base64"))?;
        return String::from_utf8(bytes).map_err(|_| format!("its {what} is not PEM"));
    }
    let file = file.as_ref().ok_or_else(|| format!("it has no {what}"))?;
    files::read_text(Path::new(file)).map_err(|problem| problem.to_string())
}

/// `https://host:port`, IPv6 in brackets; nothing else is ever written there.
pub fn split_url(url: &str) -> Option<(String, u16)> {
    split_authority(url.strip_prefix("https://")?.trim_end_matches('/'))
}

/// `host:port`, IPv6 in brackets.
pub fn split_authority(authority: &str) -> Option<(String, u16)> {
    let (host, port) = authority.rsplit_once(':')?;
    let bare = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((bare.to_owned(), port.parse().ok()?))
}

/// The same file with another server for the current context's cluster; the rest of the text stays as it is. `None`: it already
/// has it. The result is read again, as a line that only looks like the right one must not be the one that was changed.
pub fn with_endpoint(text: &str, server: &str) -> Result<Option<String>, String> {
    let present = current_server(text)?;
    if present == server {
        return Ok(None);
    }
    let lines: Vec<usize> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| server_in(line) == Some(present.as_str()))
        .map(|(number, _)| number)
        .collect();
    // Several clusters may have the same server: the one whose line changes the current context's is it.
    for number in lines {
        let changed = replace_line(text, number, server);
        if current_server(&changed).is_ok_and(|now| now == server)
            && others(text)? == others(&changed)?
        {
            return Ok(Some(changed));
        }
    }
    Err("its server stands in no line of its own".to_owned())
}

/// The server of the current context.
pub fn current_server(text: &str) -> Result<String, String> {
    let file = read_places(text)?;
    let context = find(
        &file.contexts,
        |it| it.name == file.current_context,
        "context",
    )?;
    let cluster = find(
        &file.clusters,
        |it| it.name == context.context.cluster,
        "cluster",
    )?;
    Ok(cluster.cluster.server.clone())
}

/// The servers of all clusters but the current context's, with their names.
fn others(text: &str) -> Result<Vec<(String, String)>, String> {
    let file = read_places(text)?;
    let current = file
        .contexts
        .iter()
        .find(|it| it.name == file.current_context);
    let current = current.map(|it| it.context.cluster.clone());
    let others = file
        .clusters
        .into_iter()
        .filter(|it| Some(&it.name) != current.as_ref());
    Ok(others.map(|it| (it.name, it.cluster.server)).collect())
}

fn read_places(text: &str) -> Result<Places, String> {
    // The parser's own message may quote a line, and lines hold keys.
    serde_saphyr::from_str(text).map_err(|_| "not a kubeconfig".to_owned())
}

fn server_in(line: &str) -> Option<&str> {
    let bare = line.trim_start().trim_start_matches("- ").trim_start();
    let value = bare.strip_prefix("server:")?.trim();
    let value = value.split(" #").next().unwrap_or(value).trim();
    Some(value.trim_matches(['"', '\'']))
}

fn replace_line(text: &str, number: usize, server: &str) -> String {
    let ends = text.ends_with('\n');
    let lines: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(at, line)| match line.find("server:") {
            Some(column) if at == number => format!("{}server: {server}", &line[..column]),
            Some(_) | None => line.to_owned(),
        })
        .collect();
    lines.join("\n") + if ends { "\n" } else { "" }
}

/// The same file with every `server:` replaced: kubeadm writes one cluster a file.
pub fn with_server(text: &str, server: &str) -> String {
    map_lines(text, |key, indent| {
        (key == "server").then(|| format!("{indent}server: {server}"))
    })
}

/// The same file with the embedded client pair replaced by a path, as kubeadm's kubelet-finalize leaves it.
pub fn with_pair_file(text: &str, path: &str) -> String {
    map_lines(text, |key, indent| match key {
        "client-certificate-data" => Some(format!("{indent}client-certificate: {path}")),
        "client-key-data" => Some(format!("{indent}client-key: {path}")),
        _ => None,
    })
}

/// The same file with another embedded client pair. Read again, as one that is broken locks everybody out.
pub fn with_pair(
    text: &str,
    certificate_pem: &str,
    key_pem: &str,
) -> Result<Zeroizing<String>, String> {
    let key = Zeroizing::new(STANDARD.encode(key_pem));
    let changed = Zeroizing::new(map_lines(text, |name, indent| match name {
        "client-certificate-data" => {
            let certificate = STANDARD.encode(certificate_pem);
            Some(format!("{indent}client-certificate-data: {certificate}"))
        }
        "client-key-data" => Some(format!("{indent}client-key-data: {}", key.as_str())),
        _ => None,
    }));
    let back = parse(&changed)?;
    match back.certificate_pem == certificate_pem && *back.key_pem == key_pem {
        true => Ok(changed),
        false => Err("its client certificate stands in no lines of its own".to_owned()),
    }
}

fn map_lines(text: &str, change: impl Fn(&str, &str) -> Option<String>) -> String {
    text.lines()
        .map(|line| {
            let bare = line.trim_start();
            let indent = &line[..line.len() - bare.len()];
            let key = bare.split(':').next().unwrap_or_default();
            change(key, indent).unwrap_or_else(|| line.to_owned()) + "\n"
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Y2E=
    server: https://10.0.0.1:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
kind: Config
preferences: {}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: Y3J0
    client-key-data: a2V5
";

    #[test]
    fn reads_the_current_context() {
        let config = parse(FILE).unwrap();
        assert_eq!(config.endpoint(), Some(("10.0.0.1".to_owned(), 6443)));
        assert_eq!(config.authority_pem, "ca");
        assert_eq!(config.certificate_pem, "crt");
        assert_eq!(config.key_pem.as_str(), "key");
    }

    #[test]
    fn never_quotes_what_it_cannot_read() {
        for broken in [
            "client-key-data: c2VjcmV0",
            "users: {client-key-data: c2VjcmV0",
            &FILE.replace("a2V5", "c2VjcmV0!"),
            &FILE.replace("user: kubernetes-admin", "user: other"),
        ] {
            let reason = parse(broken).err().unwrap();
            assert!(!reason.contains("c2VjcmV0"), "{reason}");
        }
    }

    #[test]
    fn splits_servers() {
        for (url, expected) in [
            ("https://10.0.0.1:6443", Some(("10.0.0.1", 6443))),
            ("https://[fd00::1]:6443/", Some(("fd00::1", 6443))),
            ("https://api.example:443", Some(("api.example", 443))),
            ("http://10.0.0.1:6443", None),
            ("https://api.example", None),
        ] {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(split_url(url), expected, "{url}");
        }
    }

    #[test]
    fn changes_the_current_contexts_server_only() {
        let two = FILE.replace(
            "contexts:",
            "- name: other\n  cluster:\n    server: https://10.0.0.1:6443\ncontexts:",
        );
        for text in [
            FILE,
            &two,
            FILE.trim_end(),
            &FILE.replace(
                "server: https://10.0.0.1:6443",
                "server: \"https://10.0.0.1:6443\" # first",
            ),
        ] {
            let changed = with_endpoint(text, "https://[fd00::1]:6443")
                .unwrap()
                .unwrap();
            assert_eq!(current_server(&changed).unwrap(), "https://[fd00::1]:6443");
            assert_eq!(others(&changed), others(text));
            assert_eq!(changed.lines().count(), text.lines().count());
            let same = changed
                .lines()
                .zip(text.lines())
                .filter(|(a, b)| a == b)
                .count();
            assert_eq!(same + 1, text.lines().count());
            assert_eq!(with_endpoint(&changed, "https://[fd00::1]:6443"), Ok(None));
        }
        let flow = FILE
            .replace("    server: https://10.0.0.1:6443\n", "")
            .replace(
                "- cluster:\n    certificate-authority-data: Y2E=",
                "- cluster: {server: \"https://10.0.0.1:6443\"}",
            );
        assert!(current_server(&flow).is_ok());
        assert!(with_endpoint(&flow, "https://lb:6443").is_err());
        assert!(with_endpoint("users: []", "https://lb:6443").is_err());
    }

    fn filed_away() -> String {
        with_pair_file(FILE, "/nonexistent/p.pem")
    }

    #[test]
    fn replaces_server_and_pair() {
        let moved = with_server(FILE, "https://lb:6443");
        assert!(moved.contains("    server: https://lb:6443\n"));
        assert!(!moved.contains("10.0.0.1"));
        let renewed = with_pair(FILE, "new crt", "new key").unwrap();
        let config = parse(&renewed).unwrap();
        assert_eq!(
            (config.certificate_pem.as_str(), config.key_pem.as_str()),
            ("new crt", "new key")
        );
        assert_eq!(config.server, "https://10.0.0.1:6443");
        assert!(with_pair(&filed_away(), "a", "b").is_err());
        let filed = with_pair_file(FILE, "/p.pem");
        assert!(filed.ends_with("    client-certificate: /p.pem\n    client-key: /p.pem\n"));
        assert_eq!(filed.lines().count(), FILE.lines().count());
    }
}
