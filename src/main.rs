//! The `forebay` command.

#![forbid(unsafe_code)]

mod analysis;
mod balance;
mod clock;
mod collect;
mod condition;
mod config_file;
mod dedupe;
mod demo;
mod doctor;
mod flags;
mod generate;
mod http;
mod inspect;
mod logging;
mod nearest;
mod outcome;
mod print;
mod progress;
mod prometheus;
mod record;
mod replay;
mod route;
mod show;
mod signals;
mod summarize;
mod time;
mod units;
mod whole_file;
mod workers;

use std::process::ExitCode;

use clap::Parser;

use flags::{Command, Flags};
use outcome::Outcome;

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return outcome::report_flags(&error, &flags::help_command()),
    };
    match run(flags.command) {
        Ok(outcome) => outcome.into(),
        Err(error) => outcome::report(&error),
    }
}

fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Collect(flags) => collect::run(*flags),
        Command::Route(flags) => route::run(*flags),
        Command::Print(flags) => print::run(&flags),
        Command::Inspect(flags) => inspect::run(&flags),
        Command::Balance(flags) => balance::run(&flags),
        Command::Generate(flags) => generate::run(&flags),
        Command::Record(flags) => record::run(&flags),
        Command::Replay(flags) => replay::run(&flags),
        Command::Dedupe(flags) => dedupe::run(&flags),
        Command::Merge(flags) => dedupe::merge(&flags),
        Command::Summarize(flags) => summarize::run(&flags),
        Command::Doctor(flags) => doctor::run(&flags),
        Command::Demo(flags) => demo::run(&flags),
    }
}
