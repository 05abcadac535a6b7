//! The command line.

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    balance, collect, dedupe, demo, doctor, generate, inspect, print, record, replay, route,
    summarize,
};

/// NetFlow v5, v9 and IPFIX at the rate the network exports them: every datagram accounted for, every flow in a file
/// that any analytics engine reads.
#[derive(Debug, Parser)]
#[command(
    name = "forebay",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Collect(Box<collect::Flags>),
    Route(Box<route::Flags>),
    Print(print::Flags),
    Inspect(inspect::Flags),
    Balance(balance::Flags),
    Generate(generate::Flags),
    Record(Box<record::Flags>),
    Replay(Box<replay::Flags>),
    Dedupe(Box<dedupe::Flags>),
    Merge(dedupe::MergeFlags),
    Summarize(Box<summarize::Flags>),
    Doctor(doctor::Flags),
    Demo(demo::Flags),
}

/// How to get the help for what was tried: `forebay inspect --help`.
pub(crate) fn help_command() -> String {
    let forebay = Flags::command();
    let tried = std::env::args().nth(1).unwrap_or_default();
    match forebay.find_subcommand(&tried) {
        Some(command) => format!("forebay {} --help", command.get_name()),
        None => "forebay --help".to_owned(),
    }
}
