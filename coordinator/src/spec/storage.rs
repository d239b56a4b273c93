//! Who is asked before a node is taken down: storage that has a quorum of its own.

use super::file;
use super::snapshots::seconds;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

const SECONDS: RangeInclusive<u32> = 1..=300;
const DEFAULT_SECONDS: u32 = 30;
/// A command line, not a program.
const MAX_WORDS: usize = 64;
const MAX_WORD: usize = 4_096;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    pub check: Check,
    pub seconds: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// The operator's own program with its arguments; runs as root on a control plane.
    Command(Vec<String>),
    /// Ceph, through Rook's toolbox in this namespace.
    RookCeph(String),
}

/// What the file means, or the field and what is wrong with it.
pub fn resolve(
    wish: &file::Storage,
    kubeadm: bool,
) -> Result<Option<Storage>, (&'static str, String)> {
    let Some(wish) = &wish.check else {
        return Ok(None);
    };
    let seconds = match wish.timeout.as_deref() {
        None => DEFAULT_SECONDS,
        Some(text) => seconds(text)
            .filter(|it| SECONDS.contains(it))
            .ok_or_else(|| {
                let wrong = format!("{text:?} is not a time from 1s to 5m");
                ("storage.check.timeout", wrong)
            })?,
    };
    let check = match (&wish.command, &wish.rook_ceph) {
        (Some(words), None) => Check::Command(command(words)?),
        (None, Some(rook)) if kubeadm => Check::RookCeph(namespace(&rook.namespace)?),
        (None, Some(_)) => {
            let wrong = "Rook runs on Kubernetes, and this is a cluster of etcd alone";
            return Err(("storage.check.rook-ceph", wrong.to_owned()));
        }
        (None, None) | (Some(_), Some(_)) => {
            let wrong = "name either a command or rook-ceph";
            return Err(("storage.check", wrong.to_owned()));
        }
    };
    Ok(Some(Storage { check, seconds }))
}

fn command(words: &[String]) -> Result<Vec<String>, (&'static str, String)> {
    let wrong = |what: String| Err(("storage.check.command", what));
    let Some(program) = words.first() else {
        return wrong("it is empty: name a program and its arguments, one a list item".to_owned());
    };
    if !program.starts_with('/') {
        return wrong(format!("{program:?} is no absolute path of a program"));
    }
    if words.len() > MAX_WORDS || words.iter().any(|it| it.len() > MAX_WORD) {
        return wrong(format!(
            "it is longer than {MAX_WORDS} words of {MAX_WORD} bytes: put it into a script"
        ));
    }
    if words.iter().any(|it| it.contains('\0')) {
        return wrong("it holds a zero byte".to_owned());
    }
    Ok(words.to_vec())
}

fn namespace(name: &str) -> Result<String, (&'static str, String)> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = !name.starts_with('-') && !name.ends_with('-');
    if (1..=63).contains(&name.len()) && name.bytes().all(plain) && ends {
        return Ok(name.to_owned());
    }
    Err((
        "storage.check.rook-ceph.namespace",
        format!("{name:?} is no name of a namespace"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(text: &str, kubeadm: bool) -> Result<Option<Storage>, String> {
        let wish: file::Storage = serde_saphyr::from_str(text).map_err(|it| it.to_string())?;
        resolve(&wish, kubeadm).map_err(|(field, _)| field.to_owned())
    }

    #[test]
    fn what_is_asked_and_what_is_refused() {
        let command = Storage {
            check: Check::Command(vec!["/usr/local/sbin/ok".into(), "a b".into()]),
            seconds: 30,
        };
        let text = "check: {command: [/usr/local/sbin/ok, a b], on: control-plane}";
        assert_eq!(meant(text, false), Ok(Some(command)));
        let rook = Storage {
            check: Check::RookCeph("rook-ceph".into()),
            seconds: 60,
        };
        let text = "check: {rook-ceph: {}, timeout: 1m}";
        assert_eq!(meant(text, true), Ok(Some(rook)));
        assert_eq!(meant("{}", true), Ok(None));
        for (text, kubeadm, field) in [
            ("check: {rook-ceph: {}}", false, "storage.check.rook-ceph"),
            ("check: {}", true, "storage.check"),
            (
                "check: {command: [/a], rook-ceph: {}}",
                true,
                "storage.check",
            ),
            ("check: {command: []}", true, "storage.check.command"),
            (
                "check: {command: [ceph, status]}",
                true,
                "storage.check.command",
            ),
            (
                "check: {command: [/a], timeout: 6m}",
                true,
                "storage.check.timeout",
            ),
            (
                "check: {rook-ceph: {namespace: a b}}",
                true,
                "storage.check.rook-ceph.namespace",
            ),
        ] {
            assert_eq!(meant(text, kubeadm), Err(field.to_owned()), "{text}");
        }
        // No shell, and nowhere else.
        assert!(meant("check: {command: /a b}", true).is_err());
        assert!(meant("check: {command: [/a], on: worker}", true).is_err());
    }
}
