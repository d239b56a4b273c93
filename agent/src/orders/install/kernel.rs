//! Kernel modules and settings that pod networking needs.

use crate::context::Context;
use crate::host::files;
use crate::host::tool::Tool;
use crate::paths::Paths;
use quorate_proto::v1::Problem;

const MODULES_FILE: &str = "/etc/modules-load.d/quorate.conf";
const SYSCTL_FILE: &str = "/etc/sysctl.d/99-quorate.conf";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    Overlay,
    BridgeNetfilter,
}

pub const MODULES: [Module; 2] = [Module::Overlay, Module::BridgeNetfilter];

impl Module {
    pub fn name(self) -> &'static str {
        match self {
            Module::Overlay => "overlay",
            Module::BridgeNetfilter => "br_netfilter",
        }
    }

    /// The check that a user may name as ignorable; for the bridge the one that kubeadm had.
    pub fn check(self) -> &'static str {
        match self {
            Module::Overlay => "KernelModule-overlay",
            Module::BridgeNetfilter => BRIDGE_CHECK,
        }
    }

    /// Loaded, built in, or shared by the machine that this host runs on.
    pub fn active(self, paths: &Paths) -> bool {
        match self {
            Module::Overlay => {
                let known = std::fs::read_to_string(paths.at("/proc/filesystems"));
                known.is_ok_and(|text| text.split_whitespace().any(|word| word == "overlay"))
            }
            Module::BridgeNetfilter => paths.at("/proc/sys/net/bridge").exists(),
        }
    }
}

pub const BRIDGE_CHECK: &str = "FileContent--proc-sys-net-bridge-bridge-nf-call-iptables";

/// Key as a path below /proc/sys -> value.
pub const SYSCTLS: [(&str, &str); 4] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/bridge/bridge-nf-call-iptables", "1"),
    ("net/bridge/bridge-nf-call-ip6tables", "1"),
];

/// Whether the user said that this check may fail.
pub fn is_ignored(ignored: &[String], check: &str) -> bool {
    ignored
        .iter()
        .any(|name| name.eq_ignore_ascii_case("all") || name.eq_ignore_ascii_case(check))
}

pub async fn prepare(context: &Context, ignored: &[String]) -> Result<(), Problem> {
    write(context, MODULES_FILE, &modules_text())?;
    for module in MODULES {
        load(context, module, ignored).await?;
    }
    write(context, SYSCTL_FILE, &sysctl_text())?;
    for (key, value) in SYSCTLS {
        set(context, key, value)?;
    }
    Ok(())
}

fn write(context: &Context, path: &str, text: &str) -> Result<(), Problem> {
    if files::write_if_changed(&context.paths.at(path), text.as_bytes(), 0o644)? {
        context.say(format!("wrote {path}"));
    }
    Ok(())
}

fn modules_text() -> String {
    let names = MODULES.map(|module| format!("{}\n", module.name()));
    format!("# Written by quorate.\n{}", names.concat())
}

fn sysctl_text() -> String {
    let lines = SYSCTLS.map(|(key, value)| format!("{} = {value}\n", key.replace('/', ".")));
    format!("# Written by quorate.\n{}", lines.concat())
}

async fn load(context: &Context, module: Module, ignored: &[String]) -> Result<(), Problem> {
    if module.active(&context.paths) {
        return Ok(());
    }
    let name = module.name();
    let refusal = match Tool::new("modprobe").args(["--", name]).run().await {
        Ok(_) if module.active(&context.paths) => {
            context.say(format!("loaded the kernel module {name}"));
            return Ok(());
        }
        Ok(output) => output.tail(2).join(" "),
        Err(problem) => problem.what,
    };
    if is_ignored(ignored, module.check()) {
        context.say(format!(
            "the kernel module {name} cannot be loaded; ignored as asked ({})",
            module.check()
        ));
        return Ok(());
    }
    Err(unavailable(module).because(format!(
        "the running kernel lacks it, or this host may not load modules: {refusal}"
    )))
}

pub fn unavailable(module: Module) -> Problem {
    let name = module.name();
    Problem::new(
        "kernel-module",
        format!("the kernel module {name} is not available"),
    )
    .at(name)
    .next(format!(
        "install a kernel with {name} and reboot, or name {} in ignore_preflight_errors",
        module.check()
    ))
}

/// A key that is not there belongs to a protocol that is off, or to a module whose absence was accepted.
fn set(context: &Context, key: &str, value: &str) -> Result<(), Problem> {
    let path = context.paths.at("/proc/sys").join(key);
    let read =
        || Ok::<_, Problem>(files::read_optional(&path)?.map(|text| text.trim_ascii().to_vec()));
    match read()? {
        None => return Ok(()),
        Some(current) if current == value.as_bytes() => return Ok(()),
        Some(_) => {}
    }
    let refused = |what: String| {
        Problem::new("sysctl", what)
            .at(path.display().to_string())
            .because(
                "this host may not change the kernel's settings, or something else holds this one",
            )
            .next(format!("set it to {value} on the node"))
    };
    std::fs::write(&path, value)
        .map_err(|error| refused(format!("cannot set it to {value}: {error}")))?;
    match read()? {
        Some(now) if now == value.as_bytes() => {
            context.say(format!("{} = {value}", key.replace('/', ".")));
            Ok(())
        }
        Some(_) | None => Err(refused(format!("it does not stay at {value}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::install::testing::{Folder, context_under};
    use std::fs;

    fn host(keys: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("folder");
        fs::create_dir_all(root.path().join("proc")).expect("proc");
        fs::write(root.path().join("proc/filesystems"), "nodev\toverlay\n").expect("write");
        for (key, value) in keys {
            let file = root.path().join("proc/sys").join(key);
            fs::create_dir_all(file.parent().expect("below")).expect("folder");
            fs::write(file, value).expect("write");
        }
        root
    }

    #[tokio::test]
    async fn sets_what_differs_and_then_nothing() {
        let root = host(&[
            ("net/ipv4/ip_forward", "0\n"),
            ("net/bridge/bridge-nf-call-iptables", "1\n"),
            ("net/bridge/bridge-nf-call-ip6tables", "0\n"),
        ]);
        let (context, said) = context_under(Paths::under(root.path()), Folder::of(&[]));
        prepare(&context, &[]).await.expect("first");
        assert_eq!(
            said.lines(),
            [
                "wrote /etc/modules-load.d/quorate.conf",
                "wrote /etc/sysctl.d/99-quorate.conf",
                "net.ipv4.ip_forward = 1",
                "net.bridge.bridge-nf-call-ip6tables = 1",
            ]
        );
        prepare(&context, &[]).await.expect("second");
        assert_eq!(said.lines().len(), 4);
    }

    #[test]
    fn a_check_is_ignored_by_name_in_any_case() {
        let check = Module::BridgeNetfilter.check();
        for (ignored, passes) in [
            (vec![], false),
            (vec!["Swap".to_owned()], false),
            (vec!["ALL".to_owned()], true),
            (vec!["Swap".to_owned(), check.to_lowercase()], true),
        ] {
            assert_eq!(is_ignored(&ignored, check), passes, "{ignored:?}");
        }
        assert!(unavailable(Module::BridgeNetfilter).next.contains(check));
    }

    #[test]
    fn a_module_is_active_when_what_it_gives_is_there() {
        let root = host(&[]);
        let paths = Paths::under(root.path());
        assert!(Module::Overlay.active(&paths));
        assert!(!Module::BridgeNetfilter.active(&paths));
        let root = host(&[("net/bridge/bridge-nf-call-iptables", "0\n")]);
        assert!(Module::BridgeNetfilter.active(&Paths::under(root.path())));
    }
}
