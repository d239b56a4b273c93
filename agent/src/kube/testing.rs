//! An API server for tests: objects in memory, merge patches with resource versions, over TLS with a client certificate.

use crate::host::files;
use crate::paths::Paths;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use quorate_pki::{Authority, Leaf, Name, TlsMaterial, Usage};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Sees each request that changes something, before it is carried out.
pub type Before = Box<dyn FnMut(&Method, &str, &mut BTreeMap<String, Value>) + Send>;

pub struct FakeApi {
    pub paths: Paths,
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
    before: Arc<Mutex<Option<Before>>>,
    _root: tempfile::TempDir,
}

impl FakeApi {
    /// Listens on loopback; a control plane's files below `paths` lead to it.
    pub async fn start() -> Self {
        let root = tempfile::tempdir().expect("folder");
        let paths = Paths::under(root.path());
        let authority = Authority::create("kubernetes", DAY, SystemTime::now()).expect("authority");
        let issue = |usage, names: &[&str]| {
            let leaf = Leaf {
                common_name: "test".into(),
                organization: vec![],
                names: names
                    .iter()
                    .map(|it| Name::parse(it).expect("name"))
                    .collect(),
                uri: None,
                usage,
                validity: DAY,
            };
            authority.issue(&leaf, SystemTime::now()).expect("issued")
        };
        let (server, client) = (
            issue(Usage::Server, &["127.0.0.1"]),
            issue(Usage::Client, &[]),
        );
        let material = TlsMaterial {
            cert_chain_pem: server.issued.cert_pem,
            key_pem: server.key_pem,
            ca_bundle_pem: authority.cert_pem().to_owned(),
        };
        let mut config = quorate_pki::mutual_server_config(&material, None).expect("tls");
        config.alpn_protocols.clear();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("address").port();
        let encode = |text: &str| STANDARD.encode(text);
        let config_file = format!(
            "clusters:\n- cluster:\n    certificate-authority-data: {}\n    server: https://127.0.0.1:{port}\n  name: kubernetes\ncontexts:\n- context: {{cluster: kubernetes, user: u}}\n  name: c\ncurrent-context: c\nusers:\n- name: u\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
            encode(authority.cert_pem()),
            encode(&client.issued.cert_pem),
            encode(&client.key_pem),
        );
        for name in ["admin.conf", "controller-manager.conf"] {
            let file = paths.kubernetes().join(name);
            files::write_atomic(&file, config_file.as_bytes(), 0o600).expect("written");
        }
        let api = FakeApi {
            paths,
            objects: Arc::default(),
            before: Arc::default(),
            _root: root,
        };
        let (objects, before) = (api.objects.clone(), api.before.clone());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(tls) = acceptor.accept(tcp).await else {
                    continue;
                };
                let (objects, before) = (objects.clone(), before.clone());
                let service =
                    service_fn(move |request| answer(request, objects.clone(), before.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(tls), service));
            }
        });
        api
    }

    pub fn put(&self, path: &str, mut object: Value) {
        if object["metadata"].is_object() && object["metadata"]["resourceVersion"].is_null() {
            object["metadata"]["resourceVersion"] = json!("1");
        }
        self.objects
            .lock()
            .expect("lock")
            .insert(path.to_owned(), object);
    }

    pub fn get(&self, path: &str) -> Value {
        let objects = self.objects.lock().expect("lock");
        objects.get(path).cloned().unwrap_or_default()
    }

    pub fn before(&self, before: Before) {
        *self.before.lock().expect("lock") = Some(before);
    }
}

async fn answer(
    request: Request<Incoming>,
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
    before: Arc<Mutex<Option<Before>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (method, path) = (request.method().clone(), request.uri().to_string());
    let body = request.into_body().collect().await?.to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut objects = objects.lock().expect("lock");
    if method != Method::GET
        && let Some(before) = before.lock().expect("lock").as_mut()
    {
        before(&method, &path, &mut objects);
    }
    let whole = path.strip_suffix("/status").unwrap_or(&path);
    let (status, value) = match (method, objects.get_mut(whole)) {
        (_, None) => (404, json!({"message": "not found"})),
        (Method::PATCH | Method::DELETE, Some(object)) if differs(object, &body) => {
            (409, json!({"message": "another uid"}))
        }
        (Method::PATCH | Method::PUT, Some(object)) => change(object, &body),
        (Method::DELETE, Some(_)) => {
            objects.remove(whole);
            (200, json!({}))
        }
        (_, Some(object)) => (200, object.clone()),
    };
    let mut response = Response::new(Full::new(value.to_string().into()));
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("status");
    Ok(response)
}

/// A deletion's options and a patch may say which object they are for.
fn differs(object: &Value, body: &Value) -> bool {
    let wanted = [&body["preconditions"]["uid"], &body["metadata"]["uid"]];
    let mut wanted = wanted.into_iter().filter(|it| !it.is_null());
    wanted.any(|it| *it != object["metadata"]["uid"])
}

fn change(object: &mut Value, patch: &Value) -> (u16, Value) {
    let version = object["metadata"]["resourceVersion"].clone();
    let asked = &patch["metadata"]["resourceVersion"];
    if !asked.is_null() && *asked != version {
        return (409, json!({"message": "changed meanwhile"}));
    }
    merge(object, patch);
    let next = version
        .as_str()
        .and_then(|it| it.parse::<u64>().ok())
        .unwrap_or(1)
        + 1;
    object["metadata"]["resourceVersion"] = json!(next.to_string());
    (200, object.clone())
}

/// RFC 7396.
fn merge(object: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in changes {
        if !value.is_null() {
            merge(&mut object[key.as_str()], value);
        } else if let Some(map) = object.as_object_mut() {
            map.remove(key);
        }
    }
}
