//! Findings: what a check saw, how bad it is, and which of them the user said not to mind.

use crate::orders::install::kernel::is_ignored;
use quorate_proto::v1::{Finding, Problem, Severity};

/// Good news carry what was seen, so that a person can judge too.
pub fn ok(name: impl Into<String>, seen: impl Into<String>) -> Finding {
    with(name, Severity::Ok, Problem::new("ok", seen))
}

pub fn warning(name: impl Into<String>, problem: Problem) -> Finding {
    with(name, Severity::Warning, problem)
}

pub fn fatal(name: impl Into<String>, problem: Problem) -> Finding {
    with(name, Severity::Fatal, problem)
}

fn with(name: impl Into<String>, severity: Severity, problem: Problem) -> Finding {
    Finding {
        name: name.into(),
        severity: severity as i32,
        problem: Some(problem),
    }
}

/// kubeadm's way of naming a check of a path: `FileAvailable--etc-kubernetes-kubelet.conf`.
pub fn of_path(check: &str, path: &str) -> String {
    format!("{check}-{}", path.replace('/', "-"))
}

/// What is fatal and named as ignorable stays visible, but stops nothing.
pub fn ignore(findings: &mut [Finding], ignored: &[String]) {
    for finding in findings {
        if finding.severity() == Severity::Fatal && is_ignored(ignored, &finding.name) {
            finding.severity = Severity::Ignored as i32;
        }
    }
}

pub fn any_fatal(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| finding.severity() == Severity::Fatal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_fatal_and_named_is_ignored() {
        let problem = || Problem::new("x", "x");
        let findings = || {
            vec![
                ok("NumCPU", "4"),
                warning("Swap", problem()),
                fatal("Mem", problem()),
                fatal("Port-6443", problem()),
            ]
        };
        type Row<'a> = (&'a [&'a str], [Severity; 4], bool);
        let (good, warn, bad, dropped) = (
            Severity::Ok,
            Severity::Warning,
            Severity::Fatal,
            Severity::Ignored,
        );
        let table: [Row; 4] = [
            (&[], [good, warn, bad, bad], true),
            (&["mem", "swap", "numcpu"], [good, warn, dropped, bad], true),
            (&["MEM", "port-6443"], [good, warn, dropped, dropped], false),
            (&["All"], [good, warn, dropped, dropped], false),
        ];
        for (ignored, expected, still_fatal) in table {
            let ignored: Vec<String> = ignored.iter().map(|name| (*name).to_owned()).collect();
            let mut findings = findings();
            ignore(&mut findings, &ignored);
            let severities: Vec<Severity> = findings.iter().map(Finding::severity).collect();
            assert_eq!(severities, expected, "{ignored:?}");
            assert_eq!(any_fatal(&findings), still_fatal, "{ignored:?}");
        }
    }

    #[test]
    fn a_path_is_named_as_kubeadm_does() {
        assert_eq!(
            of_path("FileAvailable", "/etc/kubernetes/kubelet.conf"),
            "FileAvailable--etc-kubernetes-kubelet.conf"
        );
    }
}
