//! Runs a command line as the program would, with its streams caught.

use super::fake::Fake;
use super::listener::{leaf, listen};
use crate::cli::args::Cli;
use crate::cli::console::{Console, Stream};
use crate::cli::context::{Context, Places};
use crate::cli::{finish, run};
use clap::Parser;
use quorate_pki::{Authority, Role};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tempfile::TempDir;

pub struct Harness {
    pub fake: Arc<Fake>,
    pub folder: TempDir,
    pub context: Context,
}

#[derive(Debug)]
pub struct Ran {
    pub code: u8,
    pub out: String,
    pub err: String,
}

impl Harness {
    pub async fn new() -> Self {
        let fake = Fake::new();
        let address = listen(&fake.ca, "127.0.0.1", None, Arc::clone(&fake)).await;
        let context = context(&fake.ca, &address.to_string());
        Harness {
            fake,
            folder: tempfile::tempdir().unwrap(),
            context,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// Words are split at blanks; `@` stands for the folder.
    pub async fn run(&self, line: &str) -> Ran {
        self.run_with_input(line, "").await
    }

    /// With something typed, somebody sits at a terminal.
    pub async fn run_with_input(&self, line: &str, input: &'static str) -> Ran {
        let folder = format!("{}/", self.folder.path().display());
        let line = line.replace('@', &folder);
        let words = std::iter::once("quorate").chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).unwrap();
        let own = self.write("own-context.yaml", &self.context.to_file_text());
        let places = Places {
            explicit: Some(cli.globals.context.clone().unwrap_or(own)),
            ..Places::default()
        };
        let (out, err) = (Caught::default(), Caught::default());
        let console = Console::of_test(out.stream(), err.stream(), input);
        let result = run(cli.command, &console, &places).await;
        let code = finish(&console, result).code();
        Ran {
            code,
            out: out.text(),
            err: err.text(),
        }
    }
}

pub fn context(ca: &Authority, server: &str) -> Context {
    let pair = ca
        .issue(&leaf(Role::Admin, "root"), SystemTime::now())
        .unwrap();
    Context {
        name: "test".into(),
        server: server.to_owned(),
        ca_pem: ca.cert_pem().to_owned(),
        cert_pem: pair.issued.cert_pem,
        key_pem: pair.key_pem,
    }
}

#[derive(Clone, Default)]
struct Caught(Arc<Mutex<Vec<u8>>>);

impl Caught {
    fn stream(&self) -> Stream {
        Stream {
            writer: Mutex::new(Box::new(self.clone())),
            color: false,
            width: None,
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Caught {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
