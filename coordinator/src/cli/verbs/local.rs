//! What happens on this machine alone: init, serve, version, completions and manual pages.

use crate::cli::args::{Cli, InitArgs, ServeArgs};
use crate::cli::console::Console;
use crate::cli::exit::Exit;
use crate::cli::failure::Outcome;
use crate::files::problem;
use clap::CommandFactory;
use clap_complete::Shell;
use quorate_proto::v1::Problem;
use std::path::Path;
use std::process::Command;

const UNIT: &str = "quorate-coordinator.service";
/// There when systemd is process 1, as sd_booted(3) says.
const SYSTEMD: &str = "/run/systemd/system";

pub fn init(console: &Console, args: &InitArgs) -> Outcome<Exit> {
    initialise(args)?;
    console.note(format!(
        "state: {}, configuration: {}",
        args.state_dir.display(),
        args.config_dir.display()
    ));
    let started = start(console, args)?;
    console.note(next_steps(started));
    Ok(Exit::Ok)
}

fn initialise(_args: &InitArgs) -> Result<(), Problem> {
    Err(Problem::new("not-built", "init is not part of this build"))
}

fn start(console: &Console, args: &InitArgs) -> Outcome<bool> {
    if args.no_start || !Path::new(SYSTEMD).exists() {
        return Ok(false);
    }
    let status = Command::new("systemctl")
        .args(["enable", "--now", UNIT])
        .status()
        .map_err(|error| Problem::new("start-failed", error.to_string()).at("systemctl"))?;
    if !status.success() {
        return Err(
            Problem::new("start-failed", format!("{UNIT} did not start"))
                .next(format!("systemctl status {UNIT}; journalctl -u {UNIT}"))
                .into(),
        );
    }
    console.note(format!("{UNIT} is enabled and runs"));
    Ok(true)
}

fn next_steps(started: bool) -> String {
    let mut steps = Vec::new();
    if !started {
        steps.push(format!(
            "start the coordinator:  systemctl enable --now {UNIT}"
        ));
    }
    steps.push("make a join token:      quorate token create --node NAME".to_owned());
    steps.push("see the nodes arrive:   quorate nodes".to_owned());
    steps.push("form a cluster:         quorate apply -f cluster.yaml".to_owned());
    let lines: Vec<String> = steps.iter().map(|step| format!("  {step}")).collect();
    format!("Next:\n{}", lines.join("\n"))
}

pub async fn serve(_args: ServeArgs) -> Outcome<Exit> {
    Err(Problem::new("not-built", "serve is not part of this build").into())
}

pub fn version(console: &Console) -> Outcome<Exit> {
    console.data(&format!("quorate {}\n", env!("CARGO_PKG_VERSION")))?;
    Ok(Exit::Ok)
}

pub fn completions(console: &Console, shell: Shell) -> Outcome<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "quorate", &mut script);
    console.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}

/// One page for each command, as packaging wants them.
pub fn man(folder: &Path) -> Outcome<Exit> {
    let fail = |error: std::io::Error| problem("write", folder, &error);
    std::fs::create_dir_all(folder).map_err(fail)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(fail)?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_for_each_command() {
        let folder = tempfile::tempdir().unwrap();
        man(folder.path()).unwrap();
        for page in ["quorate.1", "quorate-apply.1", "quorate-token-create.1"] {
            let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
            assert!(text.starts_with(".ie") || text.contains(".TH"), "{page}");
        }
        let main = std::fs::read_to_string(folder.path().join("quorate.1")).unwrap();
        assert!(
            main.contains("refused by a safety rule"),
            "exit codes are part of the manual"
        );
    }
}
