//! The apt source that the cluster file names, as one deb822 file and one key file.

use crate::context::Context;
use crate::host::files;
use quorate_proto::v1::{AptSource, Problem};

const SOURCES: &str = "/etc/apt/sources.list.d/quorate.sources";
const KEY: &str = "/etc/apt/keyrings/quorate.asc";

/// Writes what differs. Returns whether anything did.
pub fn write(context: &Context, source: &AptSource) -> Result<bool, Problem> {
    let key = source.key_pem.trim();
    let mut changed = false;
    if !key.is_empty() {
        let file = context.paths.at(KEY);
        changed |= files::write_if_changed(&file, format!("{key}\n").as_bytes(), 0o644)?;
    }
    let file = context.paths.at(SOURCES);
    let text = stanza(&source.line, !key.is_empty());
    changed |= files::write_if_changed(&file, text.as_bytes(), 0o644)?;
    if changed {
        context.say(format!("apt: wrote {SOURCES}"));
    }
    Ok(changed)
}

/// A stanza that names its own key keeps it. A field without a value, such as the components of a flat repository, is left out.
fn stanza(fields: &str, with_key: bool) -> String {
    let kept: Vec<&str> = fields
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_end().ends_with(':'))
        .collect();
    let fields = kept.join("\n");
    let signed = fields
        .lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(name, _)| name.eq_ignore_ascii_case("signed-by"));
    if signed || !with_key {
        format!("{fields}\n")
    } else {
        format!("{fields}\nSigned-By: {KEY}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::install::testing::{Folder, context_under};
    use crate::paths::Paths;

    const FIELDS: &str =
        "Types: deb\nURIs: https://pkgs.k8s.io/core:/stable:/v1.33/deb/\nSuites: /";

    #[test]
    fn the_key_is_named_once() {
        let signed = format!("{FIELDS}\nSigned-By: {KEY}\n");
        let own = format!("{FIELDS}\nsigned-by: /usr/share/keyrings/own.gpg\n");
        for (fields, with_key, expected) in [
            (FIELDS, true, signed.as_str()),
            (FIELDS, false, &format!("{FIELDS}\n")),
            (&own, true, &own),
            (
                &format!("{FIELDS}\nComponents: \n"),
                false,
                &format!("{FIELDS}\n"),
            ),
        ] {
            assert_eq!(stanza(fields, with_key), expected);
        }
    }

    #[test]
    fn a_second_time_nothing_is_written() {
        let root = tempfile::tempdir().expect("folder");
        let (context, said) = context_under(Paths::under(root.path()), Folder::of(&[]));
        let source = AptSource {
            line: FIELDS.into(),
            key_pem: "-----BEGIN PGP PUBLIC KEY BLOCK-----".into(),
        };
        assert!(write(&context, &source).expect("first"));
        assert!(!write(&context, &source).expect("second"));
        assert_eq!(said.lines().len(), 1);
        let key = std::fs::read_to_string(root.path().join("etc/apt/keyrings/quorate.asc"));
        assert_eq!(key.expect("key"), "-----BEGIN PGP PUBLIC KEY BLOCK-----\n");
    }
}
