//! Kernel: version, control groups, configuration, modules and settings that containers need.

use super::finding::{fatal, of_path, ok, warning};
use super::kernel_config;
use super::role::Role;
use crate::context::Context;
use crate::orders::install::documents::Documents;
use crate::orders::install::kernel::{MODULES, Module, unavailable};
use crate::orders::install::version::numbers;
use crate::paths::Paths;
use quorate_proto::v1::{ClusterConfig, Finding, Problem};

/// kubeadm's least.
const LEAST_KERNEL: (u32, u32) = (4, 19);
/// The kubelet of this version and later does not start with control groups of version 1 unless told to.
const CGROUP_V2_ONLY: (u32, u32) = (1, 35);
pub const NAME: &str = "SystemVerification";
const GROUPS_V1: [&str; 6] = ["cpu", "cpuset", "devices", "freezer", "memory", "pids"];
const GROUPS_V2: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
#[derive(Debug, Clone, PartialEq, Eq)]
enum Groups {
    One(Vec<String>),
    Two(Vec<String>),
}

pub fn check(
    context: &Context,
    role: Role,
    cluster: &ClusterConfig,
    documents: &Documents,
) -> Vec<Finding> {
    if !role.containers() {
        return Vec::new();
    }
    let paths = &context.paths;
    let kernel = read(paths, "/proc/sys/kernel/osrelease").trim().to_owned();
    let mut findings = vec![
        worst(vec![
            judge_kernel(&kernel),
            judge_groups(
                &groups(paths),
                numbers(&cluster.version),
                documents.allow_cgroup_v1(),
            ),
            kernel_config::check(paths, &kernel),
        ]),
        judge_forwarding(
            read(paths, "/proc/sys/net/ipv4/ip_forward").trim(),
            role.installed,
        ),
    ];
    findings.extend(MODULES.map(|module| {
        let stored = ["modules.dep", "modules.builtin"]
            .map(|list| read(paths, &format!("/lib/modules/{kernel}/{list}")))
            .concat();
        judge_module(module, module.active(paths), &stored)
    }));
    findings
}

pub fn read(paths: &Paths, path: &str) -> String {
    std::fs::read_to_string(paths.at(path)).unwrap_or_default()
}

/// kubeadm gives one name to all of these; the worst is shown, with the others' words beside it.
fn worst(mut findings: Vec<Finding>) -> Finding {
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let rest: Vec<String> = findings
        .iter()
        .skip(1)
        .filter_map(|finding| finding.problem.as_ref())
        .map(|problem| problem.what.clone())
        .collect();
    let mut first = findings.swap_remove(0);
    if let Some(problem) = first.problem.as_mut() {
        problem.what = format!("{}; {}", problem.what, rest.join("; "));
    }
    first
}

fn judge_kernel(release: &str) -> Finding {
    let fine = numbers(release).is_some_and(|(major, minor, _)| (major, minor) >= LEAST_KERNEL);
    if fine {
        return ok(NAME, format!("kernel {release}"));
    }
    let (major, minor) = LEAST_KERNEL;
    fatal(
        NAME,
        Problem::new(
            "old-kernel",
            format!("kernel {release:?}, {major}.{minor} is needed"),
        )
        .next("install a newer kernel and reboot"),
    )
}

fn groups(paths: &Paths) -> Groups {
    let unified = read(paths, "/sys/fs/cgroup/cgroup.controllers");
    if !unified.is_empty() {
        return Groups::Two(unified.split_whitespace().map(str::to_owned).collect());
    }
    // Name, hierarchy, number, enabled.
    let table = read(paths, "/proc/cgroups");
    let enabled = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [name, _, _, "1"] => Some((*name).to_owned()),
            _ => None,
        }
    };
    Groups::One(table.lines().filter_map(enabled).collect())
}

fn judge_groups(groups: &Groups, version: Option<(u32, u32, u32)>, v1_allowed: bool) -> Finding {
    let (number, needed, there) = match groups {
        Groups::One(there) => (1, GROUPS_V1.as_slice(), there),
        Groups::Two(there) => (2, GROUPS_V2.as_slice(), there),
    };
    let missing: Vec<&str> = needed
        .iter()
        .filter(|name| !there.iter().any(|group| group == *name))
        .copied()
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return fatal(
            NAME,
            Problem::new("cgroups-missing", format!("no control group for {missing}"))
                .at("/sys/fs/cgroup")
                .because("the kernel's command line disables them")
                .next("enable them (cgroup_enable=memory) and reboot"),
        );
    }
    if number == 2 {
        return ok(NAME, "control groups of version 2");
    }
    let refuses = version.is_some_and(|(major, minor, _)| (major, minor) >= CGROUP_V2_ONLY);
    let problem = Problem::new("cgroups-v1", "control groups of version 1").at("/sys/fs/cgroup");
    if refuses && !v1_allowed {
        fatal(
            NAME,
            problem
                .because("the kubelet of this version does not start with them")
                .next("boot with systemd.unified_cgroup_hierarchy=1, or set failCgroupV1: false in a KubeletConfiguration"),
        )
    } else {
        warning(
            NAME,
            problem
                .because("they are in maintenance mode")
                .next("boot with systemd.unified_cgroup_hierarchy=1"),
        )
    }
}

fn judge_forwarding(value: &str, installed: bool) -> Finding {
    const KEY: &str = "/proc/sys/net/ipv4/ip_forward";
    let name = of_path("FileContent", KEY);
    match (value, installed) {
        ("1", _) => ok(name, "packets are forwarded"),
        (_, false) => ok(name, "packets are not forwarded yet; installing sets it"),
        (_, true) => fatal(
            name,
            Problem::new("no-forwarding", "the kernel does not forward packets")
                .at(KEY)
                .because("something else sets net.ipv4.ip_forward to 0, such as a later file in /etc/sysctl.d")
                .next("find it with `systemd-analyze cat-config sysctl.d` and remove it"),
        ),
    }
}

fn judge_module(module: Module, active: bool, stored: &str) -> Finding {
    if active {
        return ok(module.check(), format!("{} is active", module.name()));
    }
    let file = format!("/{}.ko", module.name());
    if stored.contains(&file) {
        return ok(module.check(), format!("{} can be loaded", module.name()));
    }
    fatal(
        module.check(),
        unavailable(module).because("it is neither loaded nor among the running kernel's modules"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Severity::{Fatal, Ok as Good, Warning};

    fn groups_of(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn kernels_and_forwarding() {
        for (release, expected) in [
            ("6.1.0-31-amd64", Good),
            ("4.19.0", Good),
            ("4.18.0-553.el8", Fatal),
            ("", Fatal),
        ] {
            assert_eq!(judge_kernel(release).severity(), expected, "{release}");
        }
        for (value, installed, expected) in [
            ("1", true, Good),
            ("0", false, Good),
            ("0", true, Fatal),
            ("", true, Fatal),
        ] {
            assert_eq!(
                judge_forwarding(value, installed).severity(),
                expected,
                "{value}"
            );
        }
        assert_eq!(
            judge_forwarding("1", true).name,
            "FileContent--proc-sys-net-ipv4-ip_forward"
        );
    }

    #[test]
    fn control_groups_by_version() {
        let one = Groups::One(groups_of(&GROUPS_V1));
        let two = Groups::Two(groups_of(&GROUPS_V2));
        let no_memory = Groups::Two(groups_of(&["cpu", "cpuset", "pids"]));
        for (groups, version, allowed, expected) in [
            (&two, Some((1, 36, 0)), false, Good),
            (&one, Some((1, 33, 13)), false, Warning),
            (&one, Some((1, 35, 0)), false, Fatal),
            (&one, Some((1, 35, 0)), true, Warning),
            (&one, None, false, Warning),
            (&no_memory, None, true, Fatal),
        ] {
            let finding = judge_groups(groups, version, allowed);
            assert_eq!(finding.severity(), expected, "{groups:?} {version:?}");
        }
    }

    #[test]
    fn modules() {
        let stored = "kernel/net/bridge/br_netfilter.ko: kernel/net/bridge/bridge.ko\n";
        let module = Module::BridgeNetfilter;
        for (active, stored, expected) in [
            (true, "", Good),
            (false, stored, Good),
            (false, "kernel/net/bridge/bridge.ko:", Fatal),
        ] {
            assert_eq!(judge_module(module, active, stored).severity(), expected);
        }
    }

    #[test]
    fn the_worst_of_one_name_is_shown_with_all_words() {
        let finding = worst(vec![
            ok(NAME, "kernel 6"),
            fatal(NAME, Problem::new("x", "no config")),
            warning(NAME, Problem::new("y", "old groups")),
        ]);
        assert_eq!(finding.severity(), Fatal);
        let problem = finding.problem.expect("problem");
        assert_eq!(problem.what, "no config; old groups; kernel 6");
        assert_eq!(problem.code, "x");
    }
}
