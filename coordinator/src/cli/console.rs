//! Where output goes: data to standard output, everything else to standard error.

use super::exit::Exit;
use super::failure::{self, Failure, Outcome};
use super::text::Look;
use super::text::look::{ColorVariables, wants_color};
use crate::clock;
use quorate_proto::v1::Problem;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Longest answer to a question: any node's name and more.
const MAX_ANSWER: u64 = 1024;

pub struct Console {
    out: Stream,
    err: Stream,
    input: Mutex<Box<dyn BufRead + Send>>,
    /// Someone sits at the keyboard.
    pub interactive: bool,
    /// Standard error can redraw lines.
    pub live: bool,
    /// Standard output can be cleared and drawn anew.
    pub redraws: bool,
    pub quiet: bool,
    pub verbose: bool,
}

pub struct Stream {
    pub writer: Mutex<Box<dyn Write + Send>>,
    pub color: bool,
    pub width: Option<u16>,
}

impl Console {
    /// The process's own streams.
    pub fn of_process(no_color: bool, quiet: bool, verbose: bool) -> Self {
        let variables = ColorVariables::from_process();
        let (out, err) = (io::stdout(), io::stderr());
        let (out_terminal, err_terminal) = (out.is_terminal(), err.is_terminal());
        let dumb = variables.term.as_deref() == Some("dumb");
        let out_width = comfy_table::Table::new().width();
        let err_width = comfy_table::Table::new().use_stderr().width();
        Console {
            out: Stream {
                writer: Mutex::new(Box::new(out)),
                color: wants_color(no_color, &variables, out_terminal),
                width: out_width.filter(|_| out_terminal),
            },
            err: Stream {
                writer: Mutex::new(Box::new(err)),
                color: wants_color(no_color, &variables, err_terminal),
                width: err_width.filter(|_| err_terminal),
            },
            input: Mutex::new(Box::new(io::BufReader::new(io::stdin()))),
            interactive: io::stdin().is_terminal() && err_terminal,
            live: err_terminal && !dumb,
            redraws: out_terminal && !dumb,
            quiet,
            verbose,
        }
    }

    #[cfg(test)]
    pub fn of_test(out: Stream, err: Stream, input: &'static str) -> Self {
        Console {
            out,
            err,
            input: Mutex::new(Box::new(input.as_bytes())),
            interactive: !input.is_empty(),
            live: false,
            redraws: false,
            quiet: false,
            verbose: false,
        }
    }

    pub fn out_look(&self, wide: bool) -> Look {
        self.out.look(wide)
    }

    pub fn err_look(&self) -> Look {
        self.err.look(false)
    }

    /// What was asked for. A reader that went away ends the command without a complaint, as `head` expects.
    pub fn data(&self, text: &str) -> Outcome<()> {
        let mut writer = lock(&self.out.writer);
        let result = writer
            .write_all(text.as_bytes())
            .and_then(|()| writer.flush());
        match result {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure {
                exit: Exit::Ok,
                problems: Vec::new(),
                detail: Vec::new(),
            }),
            Err(error) => Err(Problem::new("output-failed", error.to_string())
                .at("standard output")
                .into()),
        }
    }

    /// A note for people; its text must be clean. Silent with `-q`.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.say(text.as_ref());
        }
    }

    pub fn complain(&self, failure: &Failure) {
        let text = failure::render(failure, self.verbose, &self.err_look());
        self.say(text.trim_end_matches('\n'));
    }

    /// One line to standard error even with `-q`: errors and questions. Where that fails nothing can be said.
    pub fn say(&self, text: &str) {
        if !text.is_empty() {
            let _ = writeln!(lock(&self.err.writer), "{text}");
        }
    }

    /// Asks; an end of input is an empty answer.
    pub fn ask(&self, question: &str) -> Outcome<String> {
        {
            let mut err = lock(&self.err.writer);
            let _ = write!(err, "{question} ").and_then(|()| err.flush());
        }
        let mut answer = String::new();
        let mut input = lock(&self.input);
        io::Read::take(&mut *input, MAX_ANSWER)
            .read_line(&mut answer)
            .map_err(|error| {
                Problem::new("input-failed", error.to_string()).at("standard input")
            })?;
        Ok(answer.trim().to_owned())
    }

    /// All of standard input, for `-f -`.
    pub fn read_input(&self, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut input = lock(&self.input);
        io::Read::read_to_end(&mut io::Read::take(&mut *input, limit), &mut bytes)?;
        Ok(bytes)
    }
}

impl Stream {
    fn look(&self, wide: bool) -> Look {
        Look {
            color: self.color,
            width: self.width,
            wide,
            now_ms: clock::unix_ms(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn to(writer: impl Write + Send + 'static) -> Stream {
        Stream {
            writer: Mutex::new(Box::new(writer)),
            color: false,
            width: None,
        }
    }

    #[test]
    fn a_reader_that_left_is_no_failure_but_a_full_disk_is() {
        for (kind, exit, said) in [
            (ErrorKind::BrokenPipe, Exit::Ok, 0),
            (ErrorKind::StorageFull, Exit::Failure, 1),
        ] {
            let console = Console::of_test(to(Broken(kind)), to(io::sink()), "");
            let failure = console.data("x").unwrap_err();
            assert_eq!((failure.exit, failure.problems.len()), (exit, said));
        }
    }

    #[test]
    fn answers_are_bounded_and_may_be_missing() {
        let console = |input| Console::of_test(to(io::sink()), to(io::sink()), input);
        assert_eq!(console(" yes \nmore").ask("?").unwrap(), "yes");
        assert_eq!(console("").ask("?").unwrap(), "");
        let long: &'static str = Box::leak("y".repeat(5000).into_boxed_str());
        assert_eq!(console(long).ask("?").unwrap().len() as u64, MAX_ANSWER);
    }
}
