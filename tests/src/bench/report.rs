//! What was measured: a table for people, JSON for scripts.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Serial,
    AtOnce,
    Quorate,
}

impl Way {
    const ALL: [Way; 3] = [Way::Serial, Way::AtOnce, Way::Quorate];

    /// All three, another one first each time.
    pub fn beginning_with(first: usize) -> [Way; 3] {
        [0, 1, 2].map(|at| Way::ALL[(first + at) % 3])
    }

    fn key(self) -> &'static str {
        match self {
            Way::Serial => "plain-serial",
            Way::AtOnce => "plain-at-once",
            Way::Quorate => "quorate",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Way::Serial => "plain, one after the other",
            Way::AtOnce => "plain, joins at once",
            Way::Quorate => "quorate",
        })
    }
}

/// One forming of a cluster.
#[derive(Clone, Debug)]
pub struct Figure {
    /// From the first command to the end of the last.
    pub wall: Duration,
    /// From the first command until all members vote and all nodes are Ready, as looked at after the last command.
    pub usable: Duration,
    /// Without the checks of what is installed; only quorate has those.
    pub forming: Option<Duration>,
    /// How long a joiner was held up by another's membership change.
    pub held_up: Option<Duration>,
    pub rejected: u64,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} s, usable after {:.1} s, {} rejected calls",
            self.wall.as_secs_f64(),
            self.usable.as_secs_f64(),
            self.rejected
        )
    }
}

pub struct Report {
    distribution: &'static str,
    version: String,
    not_comparable: &'static [&'static str],
    figures: Vec<(Way, Figure)>,
}

impl Report {
    pub fn new(
        distribution: &'static str,
        version: &str,
        not_comparable: &'static [&'static str],
    ) -> Self {
        Report {
            distribution,
            version: version.to_owned(),
            not_comparable,
            figures: Vec::new(),
        }
    }

    pub fn add(&mut self, way: Way, figure: Figure) {
        self.figures.push((way, figure));
    }

    fn of(&self, way: Way) -> impl Iterator<Item = &Figure> {
        self.figures
            .iter()
            .filter(move |(other, _)| *other == way)
            .map(|(_, figure)| figure)
    }

    /// The fastest round: other work on the machine only ever adds.
    fn best(&self, way: Way) -> Option<&Figure> {
        self.of(way).min_by_key(|figure| figure.wall)
    }

    /// To the plain tools at once.
    fn ratio(&self, way: Way, part: impl Fn(&Figure) -> Duration) -> Option<f64> {
        let yardstick = part(self.best(Way::AtOnce)?).as_secs_f64();
        Some(part(self.best(way)?).as_secs_f64() / yardstick)
    }

    fn document(&self) -> Value {
        let ways: Vec<Value> = Way::ALL.map(|way| self.way_document(way)).into();
        json!({
            "benchmark": "forming three control planes",
            "distribution": self.distribution,
            "version": self.version,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "ways": ways,
            "not_comparable": self.not_comparable,
        })
    }

    fn way_document(&self, way: Way) -> Value {
        let figure = |figure: &Figure| {
            json!({
                "wall_s": seconds(figure.wall),
                "usable_s": seconds(figure.usable),
                "forming_s": figure.forming.map(seconds),
                "held_up_s": figure.held_up.map(seconds),
                "rejected_calls": figure.rejected,
            })
        };
        json!({
            "way": way.key(),
            "best": self.best(way).map(figure),
            "wall_ratio_to_at_once": self.ratio(way, |f| f.wall),
            "usable_ratio_to_at_once": self.ratio(way, |f| f.usable),
            "rounds": self.of(way).map(figure).collect::<Vec<_>>(),
        })
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(&self.document())? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Three control planes, {} {}, best of {}:\n",
            self.distribution,
            self.version,
            self.of(Way::Quorate).count()
        )?;
        let head = ["wall", "ratio", "usable", "ratio", "held up", "rejected"];
        write!(f, "{:28}", "")?;
        for word in head {
            write!(f, "{word:>10}")?;
        }
        writeln!(f)?;
        for way in Way::ALL {
            let Some(best) = self.best(way) else { continue };
            let ratio = |part: fn(&Figure) -> Duration| {
                self.ratio(way, part)
                    .map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
            };
            let held_up = best.held_up.map_or("-".to_owned(), |held| {
                format!("{:.1} s", held.as_secs_f64())
            });
            writeln!(
                f,
                "{way:28}{:>8.1} s{:>10}{:>8.1} s{:>10}{held_up:>10}{:>10}",
                best.wall.as_secs_f64(),
                ratio(|f| f.wall),
                best.usable.as_secs_f64(),
                ratio(|f| f.usable),
                best.rejected,
            )?;
        }
        if let Some(forming) = self.best(Way::Quorate).and_then(|best| best.forming) {
            writeln!(
                f,
                "\nquorate without its checks before and of what is installed: {:.1} s",
                forming.as_secs_f64()
            )?;
        }
        write!(f, "\nNot comparable:")?;
        for line in self.not_comparable {
            write!(f, "\n- {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(wall: u64, rejected: u64) -> Figure {
        let wall = Duration::from_secs(wall);
        Figure {
            wall,
            usable: wall * 2,
            forming: None,
            held_up: None,
            rejected,
        }
    }

    #[test]
    fn the_best_round_counts_and_is_compared_with_at_once() {
        let mut report = Report::new("etcd", "3.4", &["nothing"]);
        for (way, wall) in [
            (Way::AtOnce, 40),
            (Way::AtOnce, 20),
            (Way::Serial, 30),
            (Way::Quorate, 10),
            (Way::Quorate, 15),
        ] {
            report.add(way, figure(wall, wall));
        }
        let document = report.document();
        let quorate = &document["ways"][2];
        assert_eq!(quorate["way"], "quorate");
        assert_eq!(quorate["wall_ratio_to_at_once"], 0.5);
        assert_eq!(quorate["best"]["wall_s"], 10.0);
        assert_eq!(quorate["best"]["rejected_calls"], 10);
        assert_eq!(quorate["rounds"].as_array().map(Vec::len), Some(2));
        assert_eq!(document["ways"][0]["wall_ratio_to_at_once"], 1.5);
        let shown = report.to_string();
        assert!(
            shown.contains("- nothing") && shown.contains("0.50"),
            "{shown}"
        );
    }

    #[test]
    fn every_way_begins_once_in_three_rounds() {
        let first = [0, 1, 2].map(|round| Way::beginning_with(round)[0]);
        assert_eq!(first, Way::ALL);
    }
}
