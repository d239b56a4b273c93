//! Brings containerd to the asked configuration: restarted only when that changed, and done only when it answers.

use super::containerd_config::{CNI_ADDONS, CNI_DEBIAN, Generation, Settings, render};
use crate::context::Context;
use crate::host::tool::{Output, Tool};
use crate::host::{files, service};
use quorate_proto::v1::{ContainerdConfig, Problem};
use std::path::Path;
use std::time::Duration;

const CONFIG: &str = "/etc/containerd/config.toml";
const BACKUP: &str = "/etc/containerd/config.toml.quorate-backup";
/// There from before the file is replaced until containerd runs with it: a run that was killed between finds it.
const DRAFT: &str = "/etc/containerd/config.toml.quorate-draft";
const UNIT: &str = "containerd.service";
const CRICTL: &str = "/etc/crictl.yaml";
const CRICTL_TEXT: &str = "\
# Written by quorate.
runtime-endpoint: unix:///run/containerd/containerd.sock
image-endpoint: unix:///run/containerd/containerd.sock
";
/// containerd loads its plugins in well under a second; a slow disk is given time.
const ANSWER: Duration = Duration::from_secs(30);

pub async fn configure(context: &Context, asked: &ContainerdConfig) -> Result<(), Problem> {
    let generation = generation().await?;
    let settings = Settings {
        generation,
        systemd_cgroup: asked.systemd_cgroup,
        sandbox_image: asked.sandbox_image.clone(),
        restrict_oom_score_adj: asked.restrict_oom_score_adj,
    };
    let text = render(&settings, &asked.drop_ins)?;
    let former = write(context, &text).await?;
    cni_plugins(context, generation)?;
    super::binaries::enable(context, UNIT).await?;
    let draft = context.paths.at(DRAFT);
    if draft.exists() || service::active_state(UNIT).await? != "active" {
        context.say("restarting containerd");
        if let Err(problem) = restart().await {
            return Err(step_back(context, former, problem).await);
        }
        files::remove(&draft)?;
    }
    answers().await?;
    crictl(context)
}

async fn restart() -> Result<(), Problem> {
    service::restart(UNIT).await?;
    answers().await
}

/// A node that runs pods must not stay without its container runtime for a setting that does not work.
async fn step_back(context: &Context, former: Option<Vec<u8>>, problem: Problem) -> Problem {
    let Some(text) = former else {
        return problem;
    };
    let back = async {
        files::write_atomic(&context.paths.at(CONFIG), &text, 0o644)?;
        restart().await?;
        files::remove(&context.paths.at(DRAFT))
    };
    if back.await.is_err() {
        return problem;
    }
    context.say(format!("put the former {CONFIG} back"));
    problem.next("correct the containerd drop-ins in the cluster file; the former configuration is in place again")
}

async fn generation() -> Result<Generation, Problem> {
    let output = Tool::new("containerd")
        .arg("--version")
        .ok()
        .await
        .map_err(|problem| {
            problem
                .because("containerd is neither installed nor among the packages of this order")
                .next("add containerd to the packages in the cluster file")
        })?;
    Generation::parse(&output.stdout).ok_or_else(|| {
        Problem::new(
            "containerd-version",
            "containerd does not tell a version that we know",
        )
        .at(output.stdout.trim())
        .next("install containerd 1.6 or later")
    })
}

/// Returns the text that was replaced, if any. containerd itself reads the new file before it replaces the old one.
async fn write(context: &Context, text: &str) -> Result<Option<Vec<u8>>, Problem> {
    let file = context.paths.at(CONFIG);
    let current = files::read_optional(&file)?;
    if current.as_deref() == Some(text.as_bytes()) {
        return Ok(None);
    }
    let draft = context.paths.at(DRAFT);
    files::write_atomic(&draft, text.as_bytes(), 0o644)?;
    if let Err(problem) = parses(&draft).await {
        files::remove(&draft)?;
        return Err(problem);
    }
    let backup = context.paths.at(BACKUP);
    if let Some(current) = &current
        && files::read_optional(&backup)?.is_none()
    {
        files::write_atomic(&backup, current, 0o644)?;
        context.say(format!("kept the former {CONFIG} as {BACKUP}"));
    }
    files::write_atomic(&file, text.as_bytes(), 0o644)?;
    context.say(format!("wrote {CONFIG}"));
    Ok(current)
}

async fn parses(draft: &Path) -> Result<(), Problem> {
    let output = Tool::new("containerd")
        .args(["--config", &draft.display().to_string(), "config", "dump"])
        .run()
        .await?;
    if output.success() {
        return Ok(());
    }
    Err(Problem::new("containerd-config", format!("containerd refuses its configuration: {}", last(&output)))
        .at(CONFIG)
        .because("a drop-in of the cluster file sets what this containerd does not know")
        .next("correct the containerd drop-ins in the cluster file; the former configuration is still in place"))
}

fn last(output: &Output) -> String {
    output.tail(3).join(" | ")
}

/// Add-ons bring their plugins to /opt/cni/bin. Where containerd takes one folder only, Debian's plugins are copied beside them;
/// links would not do, as add-ons see that folder from inside a container.
fn cni_plugins(context: &Context, generation: Generation) -> Result<(), Problem> {
    let from = context.paths.at(CNI_DEBIAN);
    if generation
        == (Generation::Two {
            many_cni_folders: true,
        })
    {
        return Ok(());
    }
    let Ok(entries) = std::fs::read_dir(&from) else {
        return Ok(());
    };
    let to = context.paths.at(CNI_ADDONS);
    let mut copied = 0;
    for entry in entries.flatten() {
        let target = to.join(entry.file_name());
        if target.exists() || !entry.path().is_file() {
            continue;
        }
        files::write_atomic(&target, &files::read(&entry.path())?, 0o755)?;
        copied += 1;
    }
    if copied > 0 {
        context.say(format!("copied {copied} CNI plugins to {CNI_ADDONS}"));
    }
    Ok(())
}

/// Answers on its socket, and its Kubernetes side has come up.
async fn answers() -> Result<(), Problem> {
    let silent = |says: String| {
        Problem::new(
            "containerd-silent",
            format!("containerd does not answer: {says}"),
        )
        .at("/run/containerd/containerd.sock")
        .next("look at `journalctl -u containerd` on the node")
    };
    Tool::new("ctr")
        .arg("version")
        .timeout(ANSWER)
        .ok()
        .await
        .map_err(|problem| silent(problem.what))?;
    let plugins = Tool::new("ctr")
        .args(["plugins", "ls"])
        .timeout(ANSWER)
        .ok()
        .await
        .map_err(|problem| silent(problem.what))?;
    match cri_state(&plugins.stdout) {
        Some("ok") => Ok(()),
        state => Err(Problem::new(
            "containerd-cri",
            format!(
                "containerd's CRI plugin is {}",
                state.unwrap_or("not there")
            ),
        )
        .at(CONFIG)
        .because("a drop-in disables it, or a setting of it fails")
        .next("look at `journalctl -u containerd` on the node")),
    }
}

/// `TYPE ID PLATFORMS STATUS` a line: the gRPC service that the kubelet talks to.
fn cri_state(listing: &str) -> Option<&str> {
    listing.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, id, .., state] = words.as_slice() else {
            return None;
        };
        (kind.starts_with("io.containerd.grpc.v1") && *id == "cri").then_some(*state)
    })
}

fn crictl(context: &Context) -> Result<(), Problem> {
    let places = ["/usr/bin/crictl", "/usr/local/bin/crictl"];
    if !places.iter().any(|place| context.paths.at(place).exists()) {
        return Ok(());
    }
    if files::write_if_changed(&context.paths.at(CRICTL), CRICTL_TEXT.as_bytes(), 0o644)? {
        context.say(format!("wrote {CRICTL}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::install::testing::{Folder, context_under};
    use crate::paths::Paths;

    #[test]
    fn the_state_of_the_cri_plugin() {
        let header = "TYPE                            ID       PLATFORMS      STATUS\n";
        let other = "io.containerd.snapshotter.v1    zfs      linux/amd64    skip\n";
        let old = "io.containerd.grpc.v1    cri    linux/amd64    ok\n";
        let failed = "io.containerd.grpc.v1    cri    -    error\n";
        let parts = "io.containerd.cri.v1    runtime    linux/amd64    ok\n";
        for (lines, state) in [
            (vec![header, other, old], Some("ok")),
            (vec![header, parts, failed], Some("error")),
            (vec![header, other], None),
        ] {
            assert_eq!(cri_state(&lines.concat()), state);
        }
    }

    #[test]
    fn debians_plugins_are_copied_once_and_an_add_ons_stay() {
        let root = tempfile::tempdir().expect("folder");
        let (debian, addons) = (
            root.path().join("usr/lib/cni"),
            root.path().join("opt/cni/bin"),
        );
        for (folder, name, text) in [
            (&debian, "bridge", "debian"),
            (&debian, "loopback", "debian"),
            (&addons, "loopback", "add-on"),
        ] {
            std::fs::create_dir_all(folder).expect("folder");
            std::fs::write(folder.join(name), text).expect("write");
        }
        let (context, said) = context_under(Paths::under(root.path()), Folder::of(&[]));
        cni_plugins(&context, Generation::One).expect("first");
        cni_plugins(&context, Generation::One).expect("second");
        assert_eq!(said.lines(), ["copied 1 CNI plugins to /opt/cni/bin"]);
        let read = |name: &str| std::fs::read_to_string(addons.join(name)).expect("there");
        assert_eq!(
            (read("bridge").as_str(), read("loopback").as_str()),
            ("debian", "add-on")
        );
    }
}
