//! Why a command did not do what it was asked: problems for people, and the exit code.

use super::exit::Exit;
use super::text::escape::clean_lines;
use super::text::{Look, Tone, clean};
use prost::Message;
use quorate_proto::v1::Problem;
use tonic::Status;

#[derive(Clone, Debug)]
pub struct Failure {
    pub exit: Exit,
    /// Empty when there is nothing to say, as when the reader of our output went away.
    pub problems: Vec<Problem>,
    /// Shown with `-v`.
    pub detail: Vec<String>,
}

pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub fn new(exit: Exit, problem: Problem) -> Self {
        Failure {
            exit,
            problems: vec![problem],
            detail: Vec::new(),
        }
    }

    /// An answer of the coordinator. Its details carry the problem; without them code and message remain.
    pub fn from_status(status: &Status) -> Self {
        let problem = decode(status).unwrap_or_else(|| Problem {
            code: format!("grpc-{}", i32::from(status.code())),
            what: format!("the coordinator answered: {}", describe(status)),
            ..Problem::default()
        });
        Failure {
            exit: Exit::of(status.code(), &problem),
            problems: vec![problem],
            detail: vec![format!("status {:?}: {}", status.code(), status.message())],
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Failure::new(Exit::Failure, problem)
    }
}

fn decode(status: &Status) -> Option<Problem> {
    let bytes = status.details();
    if bytes.is_empty() {
        return None;
    }
    let problem = Problem::decode(bytes).ok()?;
    (!problem.what.is_empty()).then_some(problem)
}

fn describe(status: &Status) -> String {
    match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    }
}

/// `error: WHAT` and, indented, where, cause and next.
pub fn render(failure: &Failure, verbose: bool, look: &Look) -> String {
    let mut out = String::new();
    for problem in &failure.problems {
        out.push_str(&look.paint(Tone::Bad, "error:"));
        out.push(' ');
        out.push_str(&problem_lines(problem, "  ", look));
    }
    if verbose {
        for line in &failure.detail {
            out.push_str(&look.paint(Tone::Dim, format!("  detail: {}", clean(line))));
            out.push('\n');
        }
    }
    out
}

/// The problem without a heading; all lines but the first are indented.
pub fn problem_lines(problem: &Problem, indent: &str, look: &Look) -> String {
    let mut out = String::new();
    for (at, line) in clean_lines(&problem.what).into_iter().enumerate() {
        if at > 0 {
            out.push_str(indent);
        }
        out.push_str(&line);
        out.push('\n');
    }
    for (label, text) in [
        ("where: ", &problem.r#where),
        ("cause: ", &problem.cause),
        ("next:  ", &problem.next),
    ] {
        for (at, line) in clean_lines(text).into_iter().enumerate() {
            let label = if at == 0 { label } else { "       " };
            out.push_str(indent);
            out.push_str(&look.paint(Tone::Dim, label));
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    const LOOK: Look = Look {
        color: false,
        width: None,
        wide: false,
        now_ms: 0,
    };

    #[test]
    fn the_problem_comes_from_the_details() {
        let problem = Problem::new("refused-quorum", "quorum would be lost")
            .at("cluster prod")
            .because("2 of 3 voters are healthy")
            .next("repair cp3 first\nquorate check prod");
        let status = Status::with_details(
            Code::FailedPrecondition,
            "ignored",
            problem.encode_to_vec().into(),
        );
        let failure = Failure::from_status(&status);
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(
            render(&failure, false, &LOOK),
            "error: quorum would be lost\n\
             \x20 where: cluster prod\n\
             \x20 cause: 2 of 3 voters are healthy\n\
             \x20 next:  repair cp3 first\n\
             \x20        quorate check prod\n"
        );
        assert!(
            render(&failure, true, &LOOK)
                .ends_with("  detail: status FailedPrecondition: ignored\n")
        );
    }

    #[test]
    fn code_and_message_remain() {
        // google.rpc.Status in place of our problem: its first field has another type.
        for details in [&b""[..], b"\x08\x05\x12\x01x", b"garbage", b"\x12\x00"] {
            let status = Status::with_details(Code::Internal, "disk", details.to_vec().into());
            let failure = Failure::from_status(&status);
            assert_eq!(failure.exit, Exit::Failure);
            assert_eq!(
                render(&failure, false, &LOOK),
                "error: the coordinator answered: disk\n"
            );
        }
        let empty = Failure::from_status(&Status::new(Code::NotFound, ""));
        assert!(empty.problems[0].what.contains("not found"), "{empty:?}");
    }

    #[test]
    fn hostile_text_is_escaped() {
        let failure = Failure::from(Problem::new("x", "a\x1b]0;t\x07b").next("c\u{202e}d"));
        let text = render(&failure, true, &LOOK);
        assert_eq!(text, "error: a\\u{1b}]0;t\\u{7}b\n  next:  c\\u{202e}d\n");
    }
}
