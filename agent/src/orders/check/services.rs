//! Whether the units that this node's marks call for are running.

use crate::host::service;
use crate::orders::preflight::finding::{fatal, ok, warning};
use quorate_proto::v1::{Distribution, Finding, Marks, Problem};

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Unit {
    active: String,
    sub: String,
    result: String,
    restarts: u32,
    enabled: bool,
}

pub async fn check(distribution: Distribution, marks: &Marks) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in expected(distribution, marks) {
        findings.push(match read(name).await {
            Ok(unit) => judge(name, &unit),
            Err(problem) => fatal(format!("Service-{name}"), problem),
        });
    }
    findings
}

/// A kubelet is configured when the node joins, not when it is installed.
fn expected(distribution: Distribution, marks: &Marks) -> Vec<&'static str> {
    let set = |marks: &[&String]| marks.iter().any(|mark| !mark.is_empty());
    let joined = set(&[&marks.init, &marks.prepared, &marks.finished, &marks.worker]);
    let mut units = Vec::new();
    match distribution {
        Distribution::Kubeadm if joined => units.extend(["containerd", "kubelet"]),
        Distribution::Etcd if set(&[&marks.init, &marks.finished]) => units.push("etcd"),
        Distribution::Kubeadm | Distribution::Etcd | Distribution::Unspecified => {}
    }
    if set(&[&marks.load_balancer]) {
        units.push("haproxy");
    }
    units
}

async fn read(name: &str) -> Result<Unit, Problem> {
    let unit = format!("{name}.service");
    let restarts = service::property(&unit, "NRestarts").await?;
    Ok(Unit {
        active: service::active_state(&unit).await?,
        sub: service::property(&unit, "SubState").await?,
        result: service::property(&unit, "Result").await?,
        restarts: restarts.parse().unwrap_or(0),
        enabled: service::property(&unit, "UnitFileState").await? == "enabled",
    })
}

fn judge(name: &str, unit: &Unit) -> Finding {
    let check = format!("Service-{name}");
    let problem = |what: String| {
        Problem::new("service", what)
            .at(format!("{name}.service"))
            .next(format!("look at `journalctl -u {name}` on the node"))
    };
    if unit.active != "active" {
        let what = format!("{name} is {} ({})", unit.active, unit.sub);
        let cause = match unit.result.as_str() {
            "success" | "" => "it was stopped".to_owned(),
            result => format!("it ended with {result}, after {} restarts", unit.restarts),
        };
        return fatal(check, problem(what).because(cause));
    }
    if !unit.enabled {
        let what = format!("{name} runs, but will not after a reboot: it is not enabled");
        let next = format!("systemctl enable {name}");
        return warning(check, problem(what).next(next));
    }
    match unit.restarts {
        0 => ok(check, "running"),
        restarts => ok(
            check,
            format!("running, after {restarts} restarts by systemd"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Severity::{Fatal, Ok as Good, Warning};

    #[test]
    fn marks_call_for_units() {
        let mark = || "sha256:0".to_owned();
        let installed = Marks {
            install: mark(),
            ..Marks::default()
        };
        let first = Marks {
            init: mark(),
            ..Marks::default()
        };
        let worker = Marks {
            worker: mark(),
            ..Marks::default()
        };
        let both = Marks {
            finished: mark(),
            load_balancer: mark(),
            ..Marks::default()
        };
        type Row<'a> = (Distribution, &'a Marks, &'a [&'a str]);
        let table: [Row; 7] = [
            (Distribution::Kubeadm, &installed, &[]),
            (Distribution::Kubeadm, &first, &["containerd", "kubelet"]),
            (Distribution::Kubeadm, &worker, &["containerd", "kubelet"]),
            (
                Distribution::Kubeadm,
                &both,
                &["containerd", "kubelet", "haproxy"],
            ),
            (Distribution::Etcd, &installed, &[]),
            (Distribution::Etcd, &both, &["etcd", "haproxy"]),
            (Distribution::Unspecified, &both, &["haproxy"]),
        ];
        for (distribution, marks, units) in table {
            assert_eq!(expected(distribution, marks), units, "{distribution:?}");
        }
    }

    #[test]
    fn a_unit_is_active_and_enabled() {
        let unit = |active: &str, enabled| Unit {
            active: active.into(),
            result: "exit-code".into(),
            enabled,
            ..Unit::default()
        };
        for (unit, expected) in [
            (unit("active", true), Good),
            (unit("active", false), Warning),
            (unit("activating", true), Fatal),
            (unit("failed", true), Fatal),
            (unit("inactive", true), Fatal),
        ] {
            assert_eq!(judge("kubelet", &unit).severity(), expected, "{unit:?}");
        }
        let cause = judge("kubelet", &unit("failed", true))
            .problem
            .expect("problem")
            .cause;
        assert!(cause.contains("exit-code"), "{cause}");
    }
}
