//! containerd's configuration as text: our settings in the tables of its generation, with the user's drop-ins merged over them.
//! Merged here and not by containerd's own `imports`, since containerd 1.x replaces whole plugin tables instead of merging them.

use super::merge::{merge, set};
use super::version::numbers;
use quorate_proto::v1::Problem;
use std::collections::BTreeMap;
use toml_edit::{Array, DocumentMut, Item, Table};

const HEADER: &str = "\
# Written by quorate. Change it through the containerd drop-ins of the cluster file: edits here are replaced.
";
pub const CNI_ADDONS: &str = "/opt/cni/bin";
pub const CNI_DEBIAN: &str = "/usr/lib/cni";

const CRI_ONE: &str = "io.containerd.grpc.v1.cri";
const RUNTIME_TWO: &str = "io.containerd.cri.v1.runtime";
const IMAGES_TWO: &str = "io.containerd.cri.v1.images";

/// Which tables a containerd reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// 1.x: configuration version 2.
    One,
    /// 2.x: configuration version 3; from 2.1 on CNI plugins may lie in several folders.
    Two { many_cni_folders: bool },
}

impl Generation {
    /// From `containerd --version`: its third word is the version.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor, _) = numbers(text.split_whitespace().nth(2)?)?;
        match major {
            0 => None,
            1 => Some(Generation::One),
            2.. => Some(Generation::Two {
                many_cni_folders: major > 2 || minor >= 1,
            }),
        }
    }

    fn config_version(self) -> i64 {
        match self {
            Generation::One => 2,
            Generation::Two { .. } => 3,
        }
    }

    /// Tables that this generation does not read.
    fn foreign_tables(self) -> &'static [&'static str] {
        match self {
            Generation::One => &[RUNTIME_TWO, IMAGES_TWO],
            Generation::Two { .. } => &[CRI_ONE],
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub generation: Generation,
    pub systemd_cgroup: bool,
    /// Empty: containerd's own.
    pub sandbox_image: String,
    pub restrict_oom_score_adj: bool,
}

/// The whole file.
pub fn render(settings: &Settings, drop_ins: &BTreeMap<String, String>) -> Result<String, Problem> {
    let mut merged = ours(settings);
    for (name, text) in drop_ins {
        let drop_in = text
            .parse::<DocumentMut>()
            .map_err(|error| refused(name, format!("it is no TOML: {}", error.message())))?;
        fits(settings.generation, name, drop_in.as_table())?;
        merge(&mut merged, drop_in.as_table());
    }
    Ok(format!("{HEADER}{}", DocumentMut::from(merged)))
}

fn refused(name: &str, reason: String) -> Problem {
    Problem::new(
        "containerd-drop-in",
        format!("a containerd drop-in cannot be used: {reason}"),
    )
    .at(name)
    .next("correct it in the cluster file and apply again")
}

fn fits(generation: Generation, name: &str, drop_in: &Table) -> Result<(), Problem> {
    let ours = generation.config_version();
    if let Some(version) = drop_in.get("version").and_then(Item::as_integer)
        && version != ours
    {
        return Err(refused(
            name,
            format!("it has version {version}, this containerd reads version {ours}"),
        ));
    }
    let plugins = drop_in.get("plugins").and_then(Item::as_table_like);
    let foreign = generation
        .foreign_tables()
        .iter()
        .find(|table| plugins.is_some_and(|plugins| plugins.contains_key(table)));
    match foreign {
        Some(table) => Err(refused(
            name,
            format!("this containerd does not read the table plugins.{table:?}"),
        )),
        None => Ok(()),
    }
}

fn ours(settings: &Settings) -> Table {
    let mut file = Table::new();
    set(
        &mut file,
        &["version"],
        settings.generation.config_version(),
    );
    let cri = match settings.generation {
        Generation::One => CRI_ONE,
        Generation::Two { .. } => RUNTIME_TWO,
    };
    if !settings.sandbox_image.is_empty() {
        let path: &[&str] = match settings.generation {
            Generation::One => &["plugins", CRI_ONE, "sandbox_image"],
            Generation::Two { .. } => &["plugins", IMAGES_TWO, "pinned_images", "sandbox"],
        };
        set(&mut file, path, settings.sandbox_image.as_str());
    }
    if settings.restrict_oom_score_adj {
        set(&mut file, &["plugins", cri, "restrict_oom_score_adj"], true);
    }
    let several = Generation::Two {
        many_cni_folders: true,
    };
    if settings.generation == several {
        let folders = Array::from_iter([CNI_ADDONS, CNI_DEBIAN]);
        set(&mut file, &["plugins", cri, "cni", "bin_dirs"], folders);
    } else {
        set(&mut file, &["plugins", cri, "cni", "bin_dir"], CNI_ADDONS);
    }
    set(
        &mut file,
        &["plugins", cri, "cni", "conf_dir"],
        "/etc/cni/net.d",
    );
    let runc = ["plugins", cri, "containerd", "runtimes", "runc"];
    let below = |rest: &[&'static str]| [runc.as_slice(), rest].concat();
    set(
        &mut file,
        &below(&["runtime_type"]),
        "io.containerd.runc.v2",
    );
    set(
        &mut file,
        &below(&["options", "SystemdCgroup"]),
        settings.systemd_cgroup,
    );
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(version: &str) -> Settings {
        Settings {
            generation: Generation::parse(&format!(
                "containerd github.com/containerd/containerd {version} x"
            ))
            .expect("a version"),
            systemd_cgroup: true,
            sandbox_image: "registry.k8s.io/pause:3.10".into(),
            restrict_oom_score_adj: false,
        }
    }

    fn drop_ins(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        let entry = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        files.iter().map(entry).collect()
    }

    #[test]
    fn the_generation_is_read_from_the_version() {
        let table = [
            (
                "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3",
                Some(Generation::One),
            ),
            (
                "containerd containerd.io 1.7.25 bcc810d",
                Some(Generation::One),
            ),
            (
                "containerd github.com/containerd/containerd/v2 v2.0.5 fb4c30d",
                Some(Generation::Two {
                    many_cni_folders: false,
                }),
            ),
            (
                "containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7",
                Some(Generation::Two {
                    many_cni_folders: true,
                }),
            ),
            ("containerd", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(Generation::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn containerd_1_reads_version_2() {
        let text = render(&settings("1.6.20~ds1"), &BTreeMap::new()).expect("text");
        let expected = format!(
            r#"{HEADER}version = 2

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "registry.k8s.io/pause:3.10"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = true
"#
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn containerd_2_reads_version_3() {
        let text = render(&settings("v2.1.4"), &BTreeMap::new()).expect("text");
        for line in [
            "version = 3",
            r#"[plugins."io.containerd.cri.v1.images".pinned_images]"#,
            r#"sandbox = "registry.k8s.io/pause:3.10""#,
            r#"bin_dirs = ["/opt/cni/bin", "/usr/lib/cni"]"#,
            r#"[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        let older = render(&settings("v2.0.5"), &BTreeMap::new()).expect("text");
        assert!(older.contains(r#"bin_dir = "/opt/cni/bin""#), "{older}");
    }

    #[test]
    fn drop_ins_are_merged_in_order_and_win() {
        let files = drop_ins(&[
            (
                "10-mirror.toml",
                "# ours\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\" # here\n\
                 [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\nSystemdCgroup = false\n",
            ),
            (
                "20-inline.toml",
                "version = 2\nplugins.\"io.containerd.grpc.v1.cri\" = { restrict_oom_score_adj = true, cni = { bin_dir = \"/x\" } }\n\
                 [[stream_processors]]\nid = \"one\"\n",
            ),
        ]);
        let text = render(&settings("1.6.20"), &files).expect("text");
        let merged: DocumentMut = text.parse().expect("parses again");
        let cri = &merged["plugins"][CRI_ONE];
        assert_eq!(
            cri["sandbox_image"].as_str(),
            Some("registry.k8s.io/pause:3.10")
        );
        assert_eq!(
            cri["registry"]["config_path"].as_str(),
            Some("/etc/containerd/certs.d")
        );
        let runc = &cri["containerd"]["runtimes"]["runc"];
        assert_eq!(runc["runtime_type"].as_str(), Some("io.containerd.runc.v2"));
        assert_eq!(runc["options"]["SystemdCgroup"].as_bool(), Some(false));
        assert_eq!(cri["restrict_oom_score_adj"].as_bool(), Some(true));
        assert_eq!(cri["cni"]["bin_dir"].as_str(), Some("/x"));
        assert_eq!(cri["cni"]["conf_dir"].as_str(), Some("/etc/cni/net.d"));
        assert_eq!(merged["stream_processors"][0]["id"].as_str(), Some("one"));
        assert!(!text.contains("# here"), "{text}");
    }

    #[test]
    fn a_drop_in_that_would_have_no_effect_is_refused() {
        let table = [
            ("1.6.20", "not toml", "no TOML"),
            ("1.6.20", "version = 3", "version 3"),
            ("v2.0.0", "version = 2", "version 2"),
            (
                "v2.0.0",
                "[plugins.\"io.containerd.grpc.v1.cri\"]\nx = 1",
                "does not read",
            ),
            (
                "1.7.0",
                "[plugins.'io.containerd.cri.v1.runtime'.cni]\nx = 1",
                "does not read",
            ),
        ];
        for (version, text, reason) in table {
            let files = drop_ins(&[("x.toml", text)]);
            let problem = render(&settings(version), &files).expect_err(text);
            assert!(problem.what.contains(reason), "{problem}");
            assert_eq!(problem.r#where, "x.toml");
        }
    }
}
