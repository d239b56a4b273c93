//! Asks storage that has a quorum of its own whether a node may go: by the operator's own program, or Ceph through Rook's toolbox.
//! By argument lists alone; there is no shell in between.

mod ceph;

use crate::context::{Context, Done, Outcome};
use crate::host::tool::{Output, Tool};
use crate::kube::kubectl::kubectl;
use quorate_proto::v1::{CheckStorage, Problem, check_storage::By};
use std::time::Duration;

/// The code that tells a no from no answer.
pub const NO: &str = "storage-unhealthy";
/// Lines of what it said that are worth showing.
const LINES: usize = 4;

pub async fn run(context: &Context, order: &CheckStorage) -> Done {
    let within = Duration::from_secs(order.within_seconds.into()).min(context.time_left());
    match &order.by {
        Some(By::Command(command)) => ask(order, &command.words, within).await?,
        Some(By::RookNamespace(namespace)) => {
            let toolbox = async |words: &[&str]| {
                let tool = kubectl(&context.paths)?
                    .args(["--namespace", namespace, "exec", ceph::TOOLBOX, "--"])
                    .args(words.iter().copied())
                    .timeout(within);
                tool.run().await
            };
            ceph::ask(&order.node, toolbox).await?;
        }
        None => {
            return Err(Problem::new(
                "order-malformed",
                "the order names nobody who could be asked",
            )
            .because("coordinator and agent of different versions")
            .next("install the same version of both packages"));
        }
    }
    Ok(Outcome::done())
}

/// Which node it is about, it finds in its environment; empty: the whole cluster is to stop.
async fn ask(order: &CheckStorage, words: &[String], within: Duration) -> Result<(), Problem> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Problem::new("order-malformed", "the command is empty"));
    };
    let output = Tool::new(program)
        .args(arguments)
        .env("QUORATE_NODE", &order.node)
        .timeout(within)
        .run()
        .await?;
    match output.success() {
        true => Ok(()),
        false => Err(no(&said(&output)).at(program.clone())),
    }
}

fn no(why: &str) -> Problem {
    Problem::new(NO, why)
}

fn said(output: &Output) -> String {
    let lines = output.tail(LINES).join(" | ");
    match lines.trim() {
        "" => format!("it ended with {} and said nothing", output.code),
        said => format!("it ended with {}: {said}", output.code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(node: &str) -> CheckStorage {
        CheckStorage {
            node: node.to_owned(),
            ..CheckStorage::default()
        }
    }

    #[tokio::test]
    async fn its_exit_code_is_the_answer_and_its_words_the_reason() {
        let words = |line: &[&str]| line.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let within = Duration::from_secs(10);
        let line = words(&["/usr/bin/test", "1", "=", "1"]);
        let yes = ask(&order("n3"), &line, within).await;
        assert_eq!(yes.map_err(|it| it.code), Ok(()));
        let script = r#"echo "$QUORATE_NODE: $0"; exit 7"#;
        // One word stays one word.
        let line = words(&["/bin/sh", "-c", script, "2 of 3; rm -rf"]);
        let problem = ask(&order("n3"), &line, within).await.expect_err("a no");
        assert_eq!(problem.code, NO);
        assert_eq!(problem.what, "it ended with 7: n3: 2 of 3; rm -rf");
        let missing = ask(&order("n3"), &words(&["/nonexistent/ceph"]), within).await;
        assert_ne!(missing.expect_err("no answer").code, NO);
        let slow = words(&["/bin/sleep", "30"]);
        let late = ask(&order("n3"), &slow, Duration::from_millis(200)).await;
        assert_ne!(late.expect_err("no answer").code, NO);
    }
}
