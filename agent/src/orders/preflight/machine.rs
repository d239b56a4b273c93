//! The machine itself: user, processors, memory, swap, operating system.

use super::finding::{fatal, ok, warning};
use super::role::Role;
use crate::context::Context;
use crate::orders::install::documents::Documents;
use crate::orders::install::swap;
use quorate_proto::v1::{Finding, Problem};

/// kubeadm's least for a control plane.
const LEAST_CPUS: usize = 2;
const LEAST_MEMORY_MB: u64 = 1700;

pub fn check(context: &Context, role: Role, documents: &Documents) -> Vec<Finding> {
    let read = |path: &str| std::fs::read_to_string(context.paths.at(path)).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut findings = vec![
        judge_user(nix::unistd::geteuid().is_root()),
        judge_os(&read("/etc/os-release")),
    ];
    if role.control_plane() {
        findings.push(judge_cpus(cpus));
        findings.push(judge_memory(memory_mb(&read("/proc/meminfo"))));
    }
    if role.containers() {
        findings.push(match swap::active(&context.paths) {
            Ok(devices) => judge_swap(&devices, documents.allow_swap(), role.installed),
            Err(problem) => warning("Swap", problem),
        });
    }
    findings
}

fn judge_user(root: bool) -> Finding {
    const NAME: &str = "IsPrivilegedUser";
    if root {
        return ok(NAME, "runs as root");
    }
    fatal(
        NAME,
        Problem::new("not-root", "the agent does not run as root")
            .because("its unit was changed")
            .next("remove User= from overrides of quorate-agent.service"),
    )
}

fn judge_cpus(cpus: usize) -> Finding {
    const NAME: &str = "NumCPU";
    if cpus >= LEAST_CPUS {
        return ok(NAME, format!("{cpus} processors"));
    }
    fatal(
        NAME,
        Problem::new(
            "few-cpus",
            format!("{cpus} processor, a control plane needs {LEAST_CPUS}"),
        )
        .next("give the machine more processors, or name NumCPU in ignore_preflight_errors"),
    )
}

fn memory_mb(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

fn judge_memory(megabytes: Option<u64>) -> Finding {
    const NAME: &str = "Mem";
    match megabytes {
        None => warning(
            NAME,
            Problem::new("memory-unknown", "cannot read the size of the memory")
                .at("/proc/meminfo"),
        ),
        Some(size) if size >= LEAST_MEMORY_MB => ok(NAME, format!("{size} MB of memory")),
        Some(size) => fatal(
            NAME,
            Problem::new(
                "little-memory",
                format!("{size} MB of memory, a control plane needs {LEAST_MEMORY_MB} MB"),
            )
            .next("give the machine more memory, or name Mem in ignore_preflight_errors"),
        ),
    }
}

/// Before the order install, swap is only announced to go; after it, it has come back.
pub fn judge_swap(devices: &[String], allowed: bool, installed: bool) -> Finding {
    const NAME: &str = "Swap";
    if devices.is_empty() {
        return ok(NAME, "no swap");
    }
    let devices = devices.join(", ");
    if allowed {
        return ok(
            NAME,
            format!("swap on {devices}, allowed by failSwapOn: false"),
        );
    }
    let problem = Problem::new("swap-on", format!("swap is on: {devices}")).at("/proc/swaps");
    if installed {
        fatal(
            NAME,
            problem
                .because("something turned it on again after it was taken out of /etc/fstab")
                .next("find and stop what does: `systemctl --type swap`, zram, dphys-swapfile"),
        )
    } else {
        warning(
            NAME,
            problem
                .because("the kubelet does not start beside swap")
                .next("nothing to do: installing turns it off, now and in /etc/fstab"),
        )
    }
}

fn judge_os(release: &str) -> Finding {
    const NAME: &str = "OperatingSystem";
    let field = |key: &str| {
        release
            .lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    let (id, like) = (field("ID"), field("ID_LIKE"));
    let family = std::iter::once(id.as_str()).chain(like.split_whitespace());
    let name = match field("PRETTY_NAME") {
        name if name.is_empty() => "unknown".to_owned(),
        name => name,
    };
    if family
        .into_iter()
        .any(|id| id == "debian" || id == "ubuntu")
    {
        return ok(NAME, name);
    }
    warning(
        NAME,
        Problem::new("os-untested", format!("the operating system is {name}"))
            .at("/etc/os-release")
            .because("quorate is made for Debian and systems like it; packages come through apt and dpkg")
            .next("use Debian or Ubuntu"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Severity::{self, Fatal, Ok as Good, Warning};

    fn severity(finding: &Finding) -> Severity {
        finding.severity()
    }

    #[test]
    fn processors_memory_and_user() {
        for (cpus, expected) in [(1, Fatal), (2, Good), (64, Good)] {
            assert_eq!(severity(&judge_cpus(cpus)), expected, "{cpus}");
        }
        for (meminfo, expected) in [
            ("MemTotal:       16384000 kB\n", Good),
            ("MemTotal:        1740800 kB\n", Good),
            ("MemTotal:        1740799 kB\n", Fatal),
            ("MemFree: 1 kB\n", Warning),
            ("MemTotal: much\n", Warning),
        ] {
            let finding = judge_memory(memory_mb(meminfo));
            assert_eq!(severity(&finding), expected, "{meminfo}");
        }
        assert_eq!(severity(&judge_user(false)), Fatal);
        assert_eq!(severity(&judge_user(true)), Good);
    }

    #[test]
    fn swap_is_fatal_only_once_it_should_be_gone() {
        let on = ["/dev/sda2".to_owned()];
        for (devices, allowed, installed, expected) in [
            (&on[..0], false, false, Good),
            (&on[..], false, false, Warning),
            (&on[..], false, true, Fatal),
            (&on[..], true, true, Good),
        ] {
            let finding = judge_swap(devices, allowed, installed);
            assert_eq!(
                severity(&finding),
                expected,
                "{devices:?} {allowed} {installed}"
            );
        }
    }

    #[test]
    fn debian_and_its_children_are_known() {
        for (release, expected) in [
            ("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", Good),
            ("ID=ubuntu\nID_LIKE=debian\n", Good),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Good),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Warning),
            ("", Warning),
        ] {
            assert_eq!(severity(&judge_os(release)), expected, "{release}");
        }
    }
}
