//! `tests/run bench`: how long three control planes take, with the plain tools and with quorate, on the same hosts in one run.
//!
//! - [`bed`]: the hosts, with everything installed, and how they become fresh again; [`product`]: quorate's way;
//!   [`plain_etcd`], [`plain_kubeadm`]: the tools' own way; [`report`]: the table and the file.
//! - [`endpoint`]: `tests/run bench endpoint`, how long moving the endpoint takes.

mod bed;
pub mod endpoint;
mod etcd_pki;
mod plain_etcd;
mod plain_kubeadm;
mod product;
mod rejections;
mod report;

use crate::product::kubernetes;
use anyhow::{Result, ensure};
use bed::{Bed, Plain};
use plain_etcd::PlainEtcd;
use plain_kubeadm::PlainKubeadm;
use report::{Figure, Report, Way};
use std::path::PathBuf;

/// Who is founded first and who joins: more do not fit a small machine with real Kubernetes.
pub const NODES: [&str; 3] = ["n1", "n2", "n3"];
pub const CLUSTER: &str = "bench";

pub struct Options {
    pub rounds: u32,
    /// Where the JSON goes.
    pub out: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "--rounds: at least one");
    let out = options
        .out
        .clone()
        .unwrap_or_else(|| default_out("forming.json"));
    let folder = kubernetes::given()?;
    println!("installing everything on all hosts (not timed)");
    let (bed, plain, mut report): (Bed, Box<dyn Plain>, Report) = match &folder {
        Some(folder) => {
            let bed = Bed::kubeadm(folder)?;
            let plain = PlainKubeadm::new(&bed, folder)?;
            let version = kubernetes::version(folder)?;
            let report = Report::new("kubeadm", &version, plain_kubeadm::NOT_COMPARABLE);
            (bed, Box::new(plain), report)
        }
        None => {
            let bed = Bed::etcd()?;
            let plain = PlainEtcd::new(&bed)?;
            let version = plain.version()?;
            let report = Report::new("etcd", &version, plain_etcd::NOT_COMPARABLE);
            (bed, Box::new(plain), report)
        }
    };
    for round in 0..options.rounds {
        // Another one begins each round, so that a machine that warms up or tires favours none.
        for way in Way::beginning_with(round as usize) {
            bed.wipe(plain.as_ref())?;
            let figure = measure(&bed, plain.as_ref(), way)?;
            println!("round {}: {way}: {figure}", round + 1);
            report.add(way, figure);
        }
    }
    println!("\n{report}");
    report.write(&out)?;
    println!("\nas JSON: {}", out.display());
    Ok(())
}

fn measure(bed: &Bed, plain: &dyn Plain, way: Way) -> Result<Figure> {
    match way {
        Way::Serial => plain.serial(),
        Way::AtOnce => plain.at_once(),
        Way::Quorate => {
            bed.start_product()?;
            product::form(bed, plain)
        }
    }
}

fn default_out(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    PathBuf::from(target).join("bench").join(name)
}
