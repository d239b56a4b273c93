//! Authorities, certificates and a TLS handshake in memory.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "helpers of tests; each test file uses some of them"
)]

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quorate_pki::{Authority, Identity, IssuedWithKey, Leaf, Name, Role, TlsMaterial, Usage};
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};
use rustls_pki_types::ServerName;

pub const DAY: Duration = Duration::from_secs(86_400);
pub const SECRET: &[u8] = b"join token";

pub fn now() -> SystemTime {
    SystemTime::now()
}

pub fn authority(name: &str) -> Authority {
    Authority::create(name, DAY * 365, now() - DAY * 30).unwrap()
}

pub fn server_leaf() -> Leaf {
    Leaf {
        common_name: "coordinator".to_owned(),
        organization: Vec::new(),
        names: vec![
            Name::parse("coordinator.example").unwrap(),
            Name::parse("10.0.0.1").unwrap(),
        ],
        uri: Some(Identity::new(Role::Coordinator, "main").unwrap().to_uri()),
        usage: Usage::Server,
        validity: DAY,
    }
}

pub fn agent_leaf() -> Leaf {
    Leaf {
        common_name: "node-1".to_owned(),
        organization: Vec::new(),
        names: Vec::new(),
        uri: Some(Identity::new(Role::Agent, "node-1").unwrap().to_uri()),
        usage: Usage::Client,
        validity: DAY,
    }
}

pub fn material(pair: &IssuedWithKey, cas: &[&Authority]) -> TlsMaterial {
    TlsMaterial {
        cert_chain_pem: pair.issued.cert_pem.clone(),
        key_pem: pair.key_pem.clone(),
        ca_bundle_pem: cas.iter().map(|ca| ca.cert_pem()).collect(),
    }
}

pub fn issued(ca: &Authority, leaf: &Leaf) -> TlsMaterial {
    material(&ca.issue(leaf, now()).unwrap(), &[ca])
}

/// What both sides of a connection saw.
#[derive(Debug)]
pub struct Outcome {
    pub client: Result<(), Error>,
    pub server: Result<(), Error>,
    /// Application data that reached the server.
    pub received: Vec<u8>,
    pub alpn: Option<Vec<u8>>,
    pub peer: Option<Vec<u8>>,
}

impl Outcome {
    pub fn is_ok(&self) -> bool {
        self.client.is_ok() && self.server.is_ok() && self.received == SECRET
    }

    /// The client's error in words; panics if there is none or if any data got through.
    pub fn client_refusal(&self) -> String {
        assert!(self.received.is_empty(), "data was sent: {self:?}");
        format!("{:?}", self.client.as_ref().unwrap_err())
    }

    pub fn server_refusal(&self) -> String {
        assert!(self.received.is_empty(), "data was accepted: {self:?}");
        format!("{:?}", self.server.as_ref().unwrap_err())
    }
}

/// Connects both ends in memory; the client sends [`SECRET`] as soon as its side is done.
pub fn connect(client: ClientConfig, server: ServerConfig, name: &str) -> Outcome {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let mut outcome = Outcome {
        client: Ok(()),
        server: Ok(()),
        received: Vec::new(),
        alpn: None,
        peer: None,
    };
    let mut sent = false;
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |part| server.read_tls(part));
        if outcome.server.is_ok() {
            outcome.server = server.process_new_packets().map(drop);
        }
        let mut chunk = [0; 64];
        while let Ok(length @ 1..) = server.reader().read(&mut chunk) {
            outcome.received.extend_from_slice(&chunk[..length]);
        }

        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |part| client.read_tls(part));
        if outcome.client.is_ok() {
            outcome.client = client.process_new_packets().map(drop);
        }
        if outcome.client.is_ok() && !client.is_handshaking() && !sent {
            client.writer().write_all(SECRET).unwrap();
            sent = true;
        }
    }
    outcome.alpn = server.alpn_protocol().map(<[u8]>::to_vec);
    outcome.peer = server
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(|cert| cert.to_vec());
    outcome
}

fn feed(mut wire: &[u8], mut read: impl FnMut(&mut dyn Read) -> std::io::Result<usize>) {
    while !wire.is_empty() {
        // A side that has failed takes no more; that is not the error under test.
        match read(&mut wire) {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
    }
}

/// Runs the openssl binary in `dir` and returns its output, which must be a success.
pub fn openssl(dir: &Path, arguments: &str) -> String {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {text}");
    text
}
