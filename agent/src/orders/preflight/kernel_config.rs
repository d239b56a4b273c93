//! Whether the kernel was built with what containers need, by its configuration, as kubeadm checks it.

use super::finding::{fatal, ok};
use super::system::{NAME, read};
use crate::paths::Paths;
use quorate_proto::v1::{Finding, Problem};

const OPTIONS: [&str; 12] = [
    "NAMESPACES",
    "NET_NS",
    "PID_NS",
    "IPC_NS",
    "UTS_NS",
    "CGROUPS",
    "CPUSETS",
    "MEMCG",
    "CGROUP_PIDS",
    "FAIR_GROUP_SCHED",
    "INET",
    "PROC_FS",
];

pub fn check(paths: &Paths, kernel: &str) -> Finding {
    judge(config(paths, kernel))
}

/// The first configuration that is found: compressed ones count as there, but are not read.
enum Config {
    Absent,
    Compressed(&'static str),
    Text(String),
}

fn config(paths: &Paths, kernel: &str) -> Config {
    const COMPRESSED: &str = "/proc/config.gz";
    if paths.at(COMPRESSED).exists() {
        return Config::Compressed(COMPRESSED);
    }
    let places = [
        format!("/boot/config-{kernel}"),
        format!("/usr/lib/modules/{kernel}/config"),
        format!("/usr/lib/kernel/config-{kernel}"),
        format!("/usr/src/linux-headers-{kernel}/.config"),
        format!("/lib/modules/{kernel}/build/.config"),
    ];
    let texts = places.iter().map(|place| read(paths, place));
    let mut present = texts.filter(|text| !text.is_empty());
    present.next().map_or(Config::Absent, Config::Text)
}

fn judge(config: Config) -> Finding {
    let text = match config {
        Config::Absent => {
            return fatal(
                NAME,
                Problem::new("kernel-config", "the kernel's configuration cannot be checked: none is found")
                    .at("/boot")
                    .because("this host shares another machine's kernel, or its kernel package is not installed")
                    .next("if the kernel is known to run containers, name SystemVerification in ignore_preflight_errors"),
            );
        }
        Config::Compressed(place) => return ok(NAME, format!("kernel configuration in {place}")),
        Config::Text(text) => text,
    };
    let set = |option: &&&str| {
        let (built_in, module) = (format!("CONFIG_{option}=y"), format!("CONFIG_{option}=m"));
        text.lines().any(|line| line == built_in || line == module)
    };
    let missing: Vec<&str> = OPTIONS
        .iter()
        .filter(|option| !set(option))
        .copied()
        .collect();
    if missing.is_empty() {
        return ok(NAME, "the kernel's configuration has what containers need");
    }
    fatal(
        NAME,
        Problem::new(
            "kernel-config",
            format!("the kernel lacks CONFIG_{}", missing.join(", CONFIG_")),
        )
        .next("use Debian's kernel"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Severity::{Fatal, Ok as Good};

    #[test]
    fn configurations() {
        let all: String = OPTIONS
            .map(|option| format!("CONFIG_{option}=y\n"))
            .concat();
        let module = all.replace("CONFIG_INET=y", "CONFIG_INET=m");
        let lacking = all.replace("CONFIG_MEMCG=y", "# CONFIG_MEMCG is not set");
        for (config, expected) in [
            (Config::Absent, Fatal),
            (Config::Compressed("/proc/config.gz"), Good),
            (Config::Text(all), Good),
            (Config::Text(module), Good),
            (Config::Text(lacking), Fatal),
        ] {
            assert_eq!(judge(config).severity(), expected);
        }
    }
}
