//! `forebay balance`: which split of the exporters over collectors is even.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use forebay_router::Hash;
use forebay_router::balance::{Advice, Balance, Choice, Counter, Measure, Setup};

use crate::outcome::{Outcome, WrongUsage, complain};
use crate::units::export_version;

mod collectors;
mod current;
mod input;
mod json;
mod plot;
mod ranges;
mod rates;
mod route_file;
mod stats;
mod table;
mod words;

use collectors::{Collectors, CollectorsFlag};
use current::Current;
use input::Tally;
use ranges::Shards;

/// How many exporters are kept: what others send is told, but not shared out.
const EXPORTERS_MAX: usize = 262_144;

/// Find the split of exporters over collectors that is even.
///
/// For each number of shards and each hash: how much more than its share the fullest collector (or shard) would have had
/// to take. INPUT is a capture (pcap, pcapng; - is standard input), http://ADDR:PORT of a running router or collector, or
/// a .csv of exporters and their rates; several of a kind are added up.
///
/// A .csv has a header line of exporter and one or more of datagrams, records and bytes (per second; k, M and G may
/// stand behind a number); without a header, each line is an exporter and its records.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Captures, status addresses, or exporters with their rates
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,

    /// The numbers of shards to try
    #[arg(long, value_name = "N,FROM..TO", default_value = "2..31")]
    shards: Shards,

    /// The hashes to try
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "address,xxh3"
    )]
    hash: Vec<HashFlag>,

    /// The collectors: how many, or their addresses [default: those of --current; else each shard counts as one]
    #[arg(long, value_name = "N|ADDR:PORT,…")]
    collectors: Option<CollectorsFlag>,

    /// The route file in use: its collectors stay, with their pins, and weights unless pins fill one, and exporters that would move are counted
    #[arg(long, value_name = "FILE")]
    current: Option<PathBuf>,

    /// The export versions to count [default: those of the route in --current, else 5,9,10]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = export_version)]
    versions: Vec<u8>,

    /// Write the recommended split, with the pins that go with it, as a configuration of `forebay route`; what is there is replaced
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Draw imbalance against the number of shards
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,

    /// Everything as one JSON object, with the load of every shard and collector
    #[arg(long)]
    json: bool,
}

impl Flags {
    /// What is read must not be replaced by what is written.
    fn check_outputs(&self) -> Result<()> {
        for (flag, path) in [("--output", &self.output), ("--plot", &self.plot)] {
            let Some(Ok(whole)) = path.as_ref().map(fs::canonicalize) else {
                continue;
            };
            let mut inputs = self.inputs.iter();
            if let Some(input) =
                inputs.find(|input| fs::canonicalize(input).is_ok_and(|is| is == whole))
            {
                let what = format!(
                    "{flag}: {} is an input, and would be replaced",
                    input.display()
                );
                return Err(WrongUsage(what).into());
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HashFlag {
    /// The address as an integer
    Address,
    /// XXH3 of the address
    Xxh3,
}

impl From<HashFlag> for Hash {
    fn from(flag: HashFlag) -> Self {
        match flag {
            HashFlag::Address => Self::Address,
            HashFlag::Xxh3 => Self::Xxh3,
        }
    }
}

/// What was found, for every form in which it is told.
struct Report<'a> {
    balance: &'a Balance,
    tally: &'a Tally,
    collectors: &'a Collectors,
    /// What the recommendation goes by.
    measure: Measure,
    choice: Option<Choice>,
    advice: Option<Advice>,
    /// Whether messages would reach collectors with their exporter's address.
    keeps_source: bool,
}

impl Report<'_> {
    /// The measures that were counted at all.
    fn measures(&self) -> Vec<Measure> {
        let mut measures = Measure::ALL.to_vec();
        measures.retain(|measure| self.balance.total.of(*measure) > 0);
        measures
    }
}

pub(crate) fn run(flags: &Flags) -> Result<Outcome> {
    let kind = input::kind(&flags.inputs)?;
    if let Some(path) = &flags.plot {
        plot::check(path)?;
    }
    flags.check_outputs()?;
    let current = match &flags.current {
        Some(path) => Some(Current::load(path, &flags.versions)?),
        None => None,
    };
    let collectors = Collectors::new(flags.collectors.as_ref(), current.as_ref())?;
    if flags.output.is_some() && collectors.known().is_empty() {
        let what = "--output: a route file needs the collectors' addresses: name them by --collectors or --current";
        return Err(WrongUsage(what.to_owned()).into());
    }
    let versions = match &current {
        _ if !flags.versions.is_empty() => flags.versions.clone(),
        Some(current) => current.route().versions.clone(),
        None => vec![5, 9, 10],
    };
    let pinned = |exporter: IpAddr| collectors.pinned(exporter);
    let mut counter = Counter::new(Setup {
        splits: flags.shards.splits(&flags.hash),
        weights: collectors.weights().to_vec(),
        pinned: &pinned,
        exporters_max: EXPORTERS_MAX,
    });
    let tally = input::read(kind, &flags.inputs, &versions, &mut counter)?;
    let now = current
        .as_ref()
        .map(|current| |exporter: IpAddr| collectors.index(current.collector_of(exporter)?));
    let balance = counter.finish(now.as_ref().map(|now| now as _));
    if balance.exporters.is_empty() {
        bail!(input::nothing(kind, &flags.inputs, &versions, &tally));
    }
    for torn in &tally.torn {
        complain(torn);
    }

    let measure = balance.measure();
    let choice = balance.choose(measure);
    let chosen = choice.and_then(|choice| balance.evaluations.get(choice.index));
    let report = Report {
        advice: chosen.and_then(|chosen| balance.advise(chosen, measure)),
        balance: &balance,
        tally: &tally,
        collectors: &collectors,
        measure,
        choice,
        keeps_source: current.as_ref().is_none_or(Current::keeps_source),
    };
    let text = if flags.json {
        json::text(&report)
    } else {
        let mut text = table::text(&report);
        for sentence in words::recommendation(&report) {
            text.push_str(&sentence);
            text.push('\n');
        }
        text
    };
    // Who has seen enough of the text has still asked for the files.
    let told = io::stdout().write_all(text.as_bytes());
    if let Some(path) = &flags.plot {
        plot::write(&report, path)?;
    }
    if let Some(path) = &flags.output {
        route_file::write(&report, current.as_ref(), &versions, path)?;
    }
    told?;
    Ok(Outcome::Done)
}
