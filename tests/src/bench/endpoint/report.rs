//! What was measured: tables for people, JSON for scripts.

use anyhow::{Context, Result};
use quorate_proto::v1::order::Action;
use quorate_proto::v1::{RestartKubeProxy, SetNodeEndpoint};
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::product::load::{self, Counts};
use crate::sim::Durations;

const MIB: f64 = 1024.0 * 1024.0;

/// What simulated orders take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Short,
    Real,
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Pace::Short => "short",
            Pace::Real => "real",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Quorate,
    Plain,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Way::Quorate => "quorate",
            Way::Plain => "plain recipe",
        })
    }
}

/// One rotation of a real cluster.
#[derive(Clone, Debug)]
pub struct Moved {
    pub way: Way,
    /// Without the soak.
    pub wall: Duration,
    /// Of that, until clients may use the new address.
    pub before_clients_move: Duration,
    pub counts: Counts,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wall, before) = (self.wall, self.before_clients_move);
        write!(
            f,
            "{:<14}{:>8.1} s{:>12.1} s{:>10}{:>9}{:>9}{:>15}",
            self.way,
            wall.as_secs_f64(),
            before.as_secs_f64(),
            self.counts.sent,
            self.counts.failed,
            self.counts.tls_errors,
            self.counts.watches_ended,
        )
    }
}

/// One rotation of a simulated cluster.
#[derive(Clone, Debug)]
pub struct Simulated {
    pub workers: usize,
    pub pace: Pace,
    /// Of the command.
    pub wall: Duration,
    pub stages: Vec<(&'static str, Duration)>,
    /// From the first worker's kubeconfig to the last one's.
    pub kubeconfigs: Duration,
    /// Likewise of kube-proxy, on control planes too.
    pub proxies: Duration,
    pub orders: u64,
    /// The coordinator's, during the rotation.
    pub cpu: Duration,
    /// Its memory after it, and at most since its start.
    pub resident: u64,
    pub peak: u64,
}

impl fmt::Display for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} workers, {} orders: {:.1} s, {:.1} s of CPU, {:.0} MiB at most",
            self.workers,
            self.pace,
            self.wall.as_secs_f64(),
            self.cpu.as_secs_f64(),
            self.peak as f64 / MIB
        )
    }
}

pub struct Report {
    order_ms: u64,
    /// Of the real cluster.
    pub distribution: &'static str,
    pub moved: Vec<Moved>,
    pub simulated: Vec<Simulated>,
}

impl Report {
    pub fn new(order_ms: u64) -> Self {
        Report {
            order_ms,
            distribution: "",
            moved: Vec::new(),
            simulated: Vec::new(),
        }
    }

    fn of(&self, pace: Pace) -> impl Iterator<Item = &Simulated> {
        self.simulated.iter().filter(move |it| it.pace == pace)
    }

    /// What each further worker costs, from the size before to this one, in milliseconds.
    fn slope(&self, figure: &Simulated, part: fn(&Simulated) -> Duration) -> Option<f64> {
        let smaller = self
            .of(figure.pace)
            .filter(|it| it.workers < figure.workers);
        let before = smaller.max_by_key(|it| it.workers)?;
        let more = part(figure).as_secs_f64() - part(before).as_secs_f64();
        Some(more * 1000.0 / (figure.workers - before.workers) as f64)
    }

    fn document(&self) -> Value {
        json!({
            "benchmark": "moving a cluster's endpoint",
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "real": {
                "distribution": self.distribution,
                "control_planes": 3,
                "requests_a_second": load::RATE,
                "rotations": self.moved.iter().map(moved).collect::<Vec<_>>(),
            },
            "simulated": {
                "control_planes": 3,
                "short_order_ms": self.order_ms,
                "real_set_node_endpoint_ms": real_ms(&Action::SetNodeEndpoint(SetNodeEndpoint::default())),
                "real_restart_kube_proxy_ms": real_ms(&Action::RestartKubeProxy(RestartKubeProxy::default())),
                "rotations": self.simulated.iter().map(|it| self.rotation(it)).collect::<Vec<_>>(),
            },
        })
    }

    fn rotation(&self, it: &Simulated) -> Value {
        let stages: serde_json::Map<String, Value> = it
            .stages
            .iter()
            .map(|(stage, lasted)| ((*stage).to_owned(), json!(seconds(*lasted))))
            .collect();
        json!({
            "workers": it.workers,
            "orders": it.pace.to_string(),
            "wall_s": seconds(it.wall),
            "stages_s": stages,
            "workers_kubeconfigs_s": seconds(it.kubeconfigs),
            "kube_proxy_s": seconds(it.proxies),
            "orders_carried_out": it.orders,
            "coordinator_cpu_s": seconds(it.cpu),
            "coordinator_resident_bytes": it.resident,
            "coordinator_peak_bytes": it.peak,
            "wall_ms_a_further_worker": self.slope(it, |it| it.wall),
            "cpu_ms_a_further_worker": self.slope(it, |it| it.cpu),
        })
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(&self.document())? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn real_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.moved.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "Three real control planes ({}), from one load balancer to the next, {} requests a second; without the soak.\n",
            self.distribution,
            load::RATE
        )?;
        writeln!(
            f,
            "{:<14}{:>10}{:>14}{:>10}{:>9}{:>9}{:>15}",
            "", "wall", "until usable", "requests", "failed", "in TLS", "watches ended"
        )?;
        for it in &self.moved {
            writeln!(f, "{it}")?;
        }
        writeln!(f)
    }

    fn simulated_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Three simulated control planes, a real coordinator; \"short\": every order takes {} ms, \"real\": as on real machines\n\
             (a worker's kubeconfigs {} ms, ten at once; kube-proxy on ten nodes {} ms). \"+ms\": of each further worker.\n",
            self.order_ms,
            real_ms(&Action::SetNodeEndpoint(SetNodeEndpoint::default())),
            real_ms(&Action::RestartKubeProxy(RestartKubeProxy::default())),
        )?;
        write!(f, "{:>8}{:>7}", "workers", "orders")?;
        for word in [
            "wall", "+ms", "accept", "switch", "soak", "drop", "retire", "files", "proxies", "CPU",
            "+ms", "MiB",
        ] {
            write!(f, "{word:>9}")?;
        }
        writeln!(f)?;
        for it in [Pace::Short, Pace::Real]
            .iter()
            .flat_map(|pace| self.of(*pace))
        {
            self.simulated_row(f, it)?;
        }
        Ok(())
    }

    fn simulated_row(&self, f: &mut fmt::Formatter<'_>, it: &Simulated) -> fmt::Result {
        let slope = |part| {
            self.slope(it, part)
                .map_or("-".to_owned(), |ms| format!("{ms:.1}"))
        };
        let time = |lasted: Duration| format!("{:.1} s", lasted.as_secs_f64());
        write!(f, "{:>8}{:>7}", it.workers, it.pace)?;
        write!(f, "{:>9}{:>9}", time(it.wall), slope(|it| it.wall))?;
        for (_, lasted) in &it.stages {
            write!(f, "{:>9}", time(*lasted))?;
        }
        write!(f, "{:>9}{:>9}", time(it.kubeconfigs), time(it.proxies))?;
        write!(f, "{:>9}{:>9}", time(it.cpu), slope(|it| it.cpu))?;
        writeln!(f, "{:>9.0}", it.peak as f64 / MIB)
    }
}

fn moved(it: &Moved) -> Value {
    json!({
        "way": it.way.to_string(),
        "wall_s": seconds(it.wall),
        "until_usable_s": seconds(it.before_clients_move),
        "requests": it.counts.sent,
        "failed": it.counts.failed,
        "failed_in_tls": it.counts.tls_errors,
        "watches_ended": it.counts.watches_ended,
        "first_errors": it.counts.first_errors,
    })
}

fn real_ms(action: &Action) -> u64 {
    u64::try_from(Durations::Real.of(action).as_millis()).unwrap_or(u64::MAX)
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.real_table(f)?;
        self.simulated_table(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(workers: usize, pace: Pace, wall_s: u64) -> Simulated {
        Simulated {
            workers,
            pace,
            wall: Duration::from_secs(wall_s),
            stages: vec![("accept", Duration::from_secs(1))],
            kubeconfigs: Duration::ZERO,
            proxies: Duration::ZERO,
            orders: 1,
            cpu: Duration::from_secs(1),
            resident: 0,
            peak: 0,
        }
    }

    #[test]
    fn a_further_worker_costs_the_difference_to_the_size_before() {
        let mut report = Report::new(20);
        report.simulated.push(figure(10, Pace::Short, 2));
        report.simulated.push(figure(10, Pace::Real, 50));
        report.simulated.push(figure(110, Pace::Short, 12));
        let slope = |at: usize| report.slope(&report.simulated[at], |it| it.wall);
        assert_eq!(slope(0), None);
        assert_eq!(slope(2), Some(100.0));
        let written = report.document();
        let row = &written["simulated"]["rotations"][2];
        assert_eq!(row["wall_ms_a_further_worker"], 100.0);
        assert_eq!(row["stages_s"]["accept"], 1.0);
        assert!(report.to_string().contains("12.0 s    100.0"), "{report}");
    }
}
