//! What happens on this machine alone: init, serve, version, completions and manual pages.

use crate::cli::args::{CONFIG_DIR, Cli, InitArgs, ServeArgs};
use crate::cli::console::Console;
use crate::cli::context::SYSTEM_CONTEXT;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Outcome};
use crate::files::problem;
use crate::init::{InitReport, initialise};
use crate::serve::{self, Config};
use clap::CommandFactory;
use clap_complete::Shell;
use quorate_proto::v1::Problem;
use std::path::Path;
use std::process::{Command, Stdio};
use tracing_subscriber::EnvFilter;

const UNIT: &str = "quorate-coordinator.service";
/// There when systemd is process 1, as sd_booted(3) says.
const SYSTEMD: &str = "/run/systemd/system";

pub async fn init(console: &Console, args: &InitArgs) -> Outcome<Exit> {
    let report = initialise(&args.state_dir, &args.config_dir, &args.advertise).await?;
    console.note(made(&report));
    let started = start(console, &args.config_dir, args.no_start)?;
    console.note(next_steps(started, &report));
    Ok(Exit::Ok)
}

fn made(report: &InitReport) -> String {
    let owner = match &report.owner {
        Some(owner) => format!(" (belongs to {owner})"),
        None => String::new(),
    };
    format!(
        "This machine is a coordinator now.\n\
         \x20 configuration  {}\n\
         \x20 state          {}{owner}\n\
         \x20 your access    {}\n\
         \x20 authority      {}",
        report.config.display(),
        report.state_dir.display(),
        report.context.display(),
        report.pin,
    )
}

pub(super) fn start(console: &Console, config_dir: &Path, no_start: bool) -> Outcome<bool> {
    // The unit reads the configuration in its usual place, and nowhere else.
    let usual = config_dir == Path::new(CONFIG_DIR);
    if no_start || !usual || !Path::new(SYSTEMD).exists() {
        return Ok(false);
    }
    let status = Command::new("systemctl")
        .args(["enable", "--now", UNIT])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
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

fn next_steps(started: bool, report: &InitReport) -> String {
    let mut steps = Vec::new();
    let usual = report.context == Path::new(SYSTEM_CONTEXT);
    if !started && usual {
        steps.push(format!(
            "start the coordinator   systemctl enable --now {UNIT}"
        ));
    } else if !started {
        let config = report.config.display();
        steps.push(format!(
            "start the coordinator   quorate serve --config {config}"
        ));
    }
    if !usual {
        steps.push(format!(
            "use your access         export QUORATE_CONTEXT={}",
            report.context.display()
        ));
    }
    steps.push("make a join token       quorate token create --node NAME".to_owned());
    steps.push("see the nodes arrive    quorate nodes".to_owned());
    steps.push("form a cluster          quorate apply -f cluster.yaml".to_owned());
    let lines: Vec<String> = steps.iter().map(|step| format!("  {step}")).collect();
    format!("Next:\n{}", lines.join("\n"))
}

/// Runs until the service manager stops it. Its log goes to standard error, which systemd keeps.
pub async fn serve(console: &Console, args: ServeArgs) -> Outcome<Exit> {
    let filter = EnvFilter::try_from_env("QUORATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(console.err_look().color);
    // Under systemd the journal has the time of each line already.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init();
    } else {
        log.init();
    }
    let config = Config::load(&args.config)?;
    serve::serve(config).await.map_err(why)?;
    Ok(Exit::Ok)
}

/// The problem that the daemon ended with, or all that is known of it.
fn why(error: anyhow::Error) -> Failure {
    match error.downcast::<Problem>() {
        Ok(problem) => problem.into(),
        Err(error) => Problem::new("serve-failed", format!("{error:#}")).into(),
    }
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
    fn init_says_what_was_made_and_what_is_next() {
        let mut report = InitReport {
            config: "/etc/quorate/coordinator.yaml".into(),
            context: SYSTEM_CONTEXT.into(),
            state_dir: "/var/lib/quorate".into(),
            owner: Some("quorate".into()),
            pin: "sha256:00".into(),
        };
        let text = made(&report);
        assert!(
            text.contains("state          /var/lib/quorate (belongs to quorate)\n"),
            "{text}"
        );
        let steps = next_steps(true, &report);
        assert!(
            !steps.contains("systemctl") && !steps.contains("export"),
            "{steps}"
        );
        let steps = next_steps(false, &report);
        assert!(
            steps.contains("systemctl enable --now quorate-coordinator.service"),
            "{steps}"
        );
        report.context = "/tmp/context.yaml".into();
        let steps = next_steps(false, &report);
        assert!(
            steps.contains("quorate serve --config /etc/quorate/coordinator.yaml"),
            "{steps}"
        );
        assert!(
            steps.contains("export QUORATE_CONTEXT=/tmp/context.yaml"),
            "{steps}"
        );
    }

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
