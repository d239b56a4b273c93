//! Which of the packages at hand a wanted package needs: only those are installed, whatever else was delivered.

use super::installed::{Installed, provides};
use super::version::compare;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// What a .deb file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Control {
    pub package: String,
    pub version: String,
    pub provides: Vec<(String, String)>,
    /// Every one must hold; each holds through one of its alternatives.
    pub depends: Vec<Vec<Relation>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub name: String,
    /// Operator and version: `>=`, `1.2`.
    pub version: Option<(String, String)>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Closure {
    /// Names of the packages at hand that are to be installed.
    pub packages: BTreeSet<String>,
    /// Needed, but neither installed nor at hand.
    pub lacking: BTreeSet<String>,
}

/// `Field: value` lines of `dpkg-deb --field`, continuation lines joined.
pub fn parse_control(text: &str) -> Control {
    let mut control = Control::default();
    for (field, value) in fields(text) {
        match field.as_str() {
            "package" => control.package = value,
            "version" => control.version = value,
            "provides" => control.provides = provides(&value),
            "depends" | "pre-depends" => control.depends.extend(relations(&value)),
            _ => {}
        }
    }
    control
}

fn fields(text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    fields
}

fn relations(value: &str) -> Vec<Vec<Relation>> {
    value
        .split(',')
        .map(|alternatives| alternatives.split('|').filter_map(relation).collect())
        .filter(|alternatives: &Vec<Relation>| !alternatives.is_empty())
        .collect()
}

fn relation(text: &str) -> Option<Relation> {
    let text = text.trim();
    let (name, rest) = text
        .find([' ', '('])
        .map_or((text, ""), |at| text.split_at(at));
    // `python3:any` asks for a foreign architecture's as well.
    let name = name.split(':').next().unwrap_or(name);
    let inner = rest.trim().trim_start_matches('(').trim_end_matches(')');
    let digits = inner.find(|c: char| !"<>= ".contains(c));
    let version = digits.map(|at| {
        let (operator, version) = inner.split_at(at);
        (operator.trim().to_owned(), version.trim().to_owned())
    });
    (!name.is_empty()).then(|| Relation {
        name: name.to_owned(),
        version,
    })
}

impl Relation {
    fn allows(&self, version: &str) -> bool {
        let Some((operator, bound)) = &self.version else {
            return true;
        };
        let order = compare(version, bound);
        match operator.as_str() {
            ">=" => order != Ordering::Less,
            "<=" => order != Ordering::Greater,
            ">>" => order == Ordering::Greater,
            "<<" => order == Ordering::Less,
            "=" => order == Ordering::Equal,
            // An operator that we do not know: apt is the judge.
            _ => true,
        }
    }

    fn holds_in(&self, installed: &Installed) -> bool {
        installed
            .answers_to(&self.name)
            .is_some_and(|version| self.allows(version))
    }

    fn holds_by(&self, control: &Control) -> bool {
        if control.package == self.name {
            return self.allows(&control.version);
        }
        let mut names = control.provides.iter();
        names.any(|(name, version)| *name == self.name && self.allows(version))
    }
}

/// Walks from the wanted packages over their dependencies, as far as these are not installed yet.
pub fn closure(wanted: &[String], at_hand: &[Control], installed: &Installed) -> Closure {
    let mut result = Closure::default();
    let mut queue: Vec<&Control> = at_hand
        .iter()
        .filter(|control| wanted.contains(&control.package))
        .collect();
    while let Some(control) = queue.pop() {
        if !result.packages.insert(control.package.clone()) {
            continue;
        }
        for alternatives in &control.depends {
            if alternatives
                .iter()
                .any(|relation| relation.holds_in(installed))
            {
                continue;
            }
            let mut order = alternatives.iter();
            let found = order
                .find_map(|relation| at_hand.iter().find(|control| relation.holds_by(control)));
            match found {
                Some(control) => queue.push(control),
                None => {
                    result.lacking.extend(alternatives.first().map(shown));
                }
            }
        }
    }
    result
}

fn shown(relation: &Relation) -> String {
    match &relation.version {
        Some((operator, version)) => format!("{} ({operator} {version})", relation.name),
        None => relation.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deb(text: &str) -> Control {
        parse_control(text)
    }

    fn names(set: &BTreeSet<String>) -> Vec<&str> {
        set.iter().map(String::as_str).collect()
    }

    #[test]
    fn reads_the_fields_of_a_package() {
        let control = deb(
            "Package: containerd\nVersion: 1.6.20\nProvides: cri (= 1)\n\
             Depends: runc (>= 1.0~rc92~), libc6(>=2.34),\n python3:any | perl\nPre-Depends: init\n",
        );
        assert_eq!(control.package, "containerd");
        assert_eq!(control.provides, [("cri".to_owned(), "1".to_owned())]);
        let shown_all: Vec<Vec<String>> = control
            .depends
            .iter()
            .map(|alternatives| alternatives.iter().map(shown).collect())
            .collect();
        assert_eq!(
            shown_all,
            [
                vec!["runc (>= 1.0~rc92~)"],
                vec!["libc6 (>= 2.34)"],
                vec!["python3", "perl"],
                vec!["init"]
            ]
        );
    }

    #[test]
    fn takes_only_what_the_wanted_packages_need() {
        let at_hand = [
            deb("Package: containerd\nVersion: 1.6.20\nDepends: runc (>= 1.0), libc6\n"),
            deb("Package: runc\nVersion: 1.1.5\nDepends: libseccomp2 (>= 2.5)\n"),
            deb("Package: etcd-server\nVersion: 3.4\n"),
            deb("Package: libseccomp2\nVersion: 2.5.4\n"),
        ];
        let wanted = ["containerd".to_owned()];
        let table: [(&str, &[&str], &[&str]); 4] = [
            (
                "libc6\t2.36\tinstall\tinstalled\t\n",
                &["containerd", "libseccomp2", "runc"],
                &[],
            ),
            (
                "libc6\t2.36\tinstall\tinstalled\t\nrunc\t1.0.1\tinstall\tinstalled\t\n",
                &["containerd"],
                &[],
            ),
            // Installed, but older than needed.
            (
                "libc6\t2.36\tinstall\tinstalled\t\nrunc\t0.9\tinstall\tinstalled\t\n",
                &["containerd", "libseccomp2", "runc"],
                &[],
            ),
            ("", &["containerd", "libseccomp2", "runc"], &["libc6"]),
        ];
        for (installed, packages, lacking) in table {
            let closure = closure(&wanted, &at_hand, &Installed::parse(installed));
            assert_eq!(names(&closure.packages), packages, "{installed:?}");
            assert_eq!(names(&closure.lacking), lacking, "{installed:?}");
        }
    }

    #[test]
    fn alternatives_and_virtual_packages_satisfy() {
        let at_hand = [
            deb("Package: kubelet\nVersion: 1\nDepends: ebtables | nftables, cni, kubelet-extra\n"),
            deb("Package: nftables\nVersion: 1\nDepends: kubelet\n"),
            deb("Package: plugins\nVersion: 1\nProvides: cni\n"),
        ];
        let closure = closure(&["kubelet".into()], &at_hand, &Installed::default());
        assert_eq!(names(&closure.packages), ["kubelet", "nftables", "plugins"]);
        assert_eq!(names(&closure.lacking), ["kubelet-extra"]);
    }
}
