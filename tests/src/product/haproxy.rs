//! A HAProxy that an administrator set up by hand, on a machine that quorate knows nothing of.

use crate::lab::{Host, Lab};
use anyhow::{Context, Result};
use std::path::PathBuf;

const CONFIG: &str = "/etc/haproxy/haproxy.cfg";
const CERTIFICATE: &str = "/etc/haproxy/own.pem";
/// A member that is off answers nothing at all: a client is to hear of it before it gives up by itself.
const DEFAULTS: &str = "\
global
    maxconn 2000
defaults
    mode tcp
    retries 1
    timeout connect 1s
    timeout client 10m
    timeout server 10m
";

pub struct Listener<'a> {
    pub port: u16,
    pub member_port: u16,
    pub members: Vec<&'a Host>,
    /// Leaves out members that do not answer.
    pub checks: bool,
    /// Has a certificate of its own, and so is what clients talk to.
    pub terminates: bool,
}

impl<'a> Listener<'a> {
    /// As it should be.
    pub fn right(port: u16, members: &[&'a Host]) -> Self {
        Listener {
            port,
            member_port: 2379,
            members: members.to_vec(),
            checks: true,
            terminates: false,
        }
    }

    fn text(&self) -> String {
        let tls = match self.terminates {
            true => format!(" ssl crt {CERTIFICATE} alpn h2,http/1.1"),
            false => String::new(),
        };
        let mut text = format!("listen port-{0}\n    bind :{0}{tls}\n", self.port);
        text.push_str("    balance roundrobin\n");
        let check = match self.checks {
            true => " check inter 500ms fall 2 rise 1",
            false => "",
        };
        let again = match self.terminates {
            true => " ssl verify none",
            false => "",
        };
        for member in &self.members {
            let (name, ip, port) = (member.name(), member.ip(), self.member_port);
            text.push_str(&format!("    server {name} {ip}:{port}{check}{again}\n"));
        }
        text
    }
}

/// With a certificate that it made itself.
pub fn install(lab: &Lab, host: &Host) -> Result<()> {
    let debs: Vec<PathBuf> = std::fs::read_dir(lab.debs(&["haproxy"])?)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    host.install_debs(&debs)?;
    let (key, certificate) = ("/root/own.key", "/root/own.crt");
    let subject = format!("/CN={}", host.name());
    #[rustfmt::skip]
    host.ok(["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", &subject,
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out", certificate])?;
    let both = host.ok(["cat", certificate, key])?;
    host.write(CERTIFICATE, both, 0o600)
}

/// Exactly these from now on; connections of before are over.
pub fn serve(host: &Host, listeners: &[Listener]) -> Result<()> {
    let texts = listeners.iter().map(Listener::text);
    let config: String = std::iter::once(DEFAULTS.to_owned()).chain(texts).collect();
    host.write(CONFIG, config, 0o644)?;
    // Ends when it listens.
    host.ok(["systemctl", "restart", "haproxy.service"])
        .map(drop)
        .with_context(|| format!("{host}: HAProxy does not start"))
}
