//! One answer in the form that was asked for.

use super::args::Format;
use super::console::Console;
use super::failure::Outcome;
use super::render::Show;
use super::text::{clean, json, yaml};
use quorate_proto::v1::Problem;

pub fn show(console: &Console, format: Format, answer: &impl Show) -> Outcome<()> {
    console.data(&text(console, format, answer)?)
}

pub fn text(console: &Console, format: Format, answer: &impl Show) -> Outcome<String> {
    let document =
        || json::document(answer).map_err(|error| Problem::new("output-failed", error.to_string()));
    Ok(match format {
        Format::Table => answer.table(&console.out_look(false)),
        Format::Wide => answer.table(&console.out_look(true)),
        Format::Json => json::pretty(&document()?),
        Format::Yaml => yaml::to_yaml(&document()?),
        Format::Name => answer
            .names()
            .iter()
            .map(|name| clean(name).into_owned() + "\n")
            .collect(),
    })
}
