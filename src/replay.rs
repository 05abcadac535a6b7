//! `forebay replay`: sends a capture's export messages, at the pace that is asked for.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{ArgGroup, Args, ValueEnum};
use forebay_replay::{
    Filter, Network, PlayOptions, Player, Recording, ReplayError, Report, Source, can_be_bound,
};
use forebay_udp::{RawSender, SendError, drop_network_privileges};

use crate::outcome::{Outcome, WrongUsage, tell};
use crate::progress::{StatusLine, thousands};
use crate::signals;
use crate::units::{Count, Period, export_version, target_address};

mod pace;
mod report;
mod search;

use pace::RateOrRange;
use search::{SearchFlags, Subject};

/// Send a capture's export messages to a collector.
///
/// They come from the recorded addresses and ports where that is permitted, at the recorded times unless another pace is
/// asked for. Interrupting it prints what has been reached so far.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("pace").args(["speed", "delay", "pps", "fps", "mbps", "flood"])))]
#[command(allow_negative_numbers = true)]
pub(crate) struct Flags {
    /// The capture: pcap or pcapng; - is standard input
    capture: PathBuf,

    /// Where to send
    #[arg(long, value_name = "ADDR:PORT", value_parser = target_address)]
    to: SocketAddr,

    /// So many times as fast as recorded
    #[arg(long, value_name = "FACTOR")]
    speed: Option<f64>,

    /// So much time from one datagram to the next, such as 10us
    #[arg(long, value_name = "TIME")]
    delay: Option<Period>,

    /// Datagrams a second
    #[arg(long, value_name = "RATE[..RATE]")]
    pps: Option<RateOrRange>,

    /// Flows a second
    #[arg(long, value_name = "RATE[..RATE]")]
    fps: Option<RateOrRange>,

    /// Megabits of payload a second
    #[arg(long, value_name = "N[..N]")]
    mbps: Option<RateOrRange>,

    /// As fast as this machine can
    #[arg(long)]
    flood: bool,

    /// How long it takes from the first rate to the second, of a pace such as --fps 10k..2M
    #[arg(long, value_name = "TIME")]
    ramp: Option<Period>,

    /// Where the datagrams come from (default: recorded; without the right to that, bound on loopback, otherwise own)
    #[arg(long, value_enum)]
    source: Option<SourceFlag>,

    /// How often to go through the capture; 0 is until interrupted
    #[arg(long = "loop", value_name = "N", default_value = "1", value_parser = loops)]
    loops: Count,

    /// Move times to the present, and advance times and sequence numbers so that each loop goes on where the last ended
    #[arg(long)]
    rebase: bool,

    /// Begin each loop with all templates of the capture
    #[arg(long)]
    prime: bool,

    /// Send at most for so long
    #[arg(long = "for", value_name = "TIME")]
    for_at_most: Option<Period>,

    /// Send only what these exporters sent: addresses or prefixes
    #[arg(long = "exporter", value_name = "ADDR[/BITS],…", value_delimiter = ',')]
    exporters: Vec<Network>,

    /// Send only these versions
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = export_version)]
    versions: Vec<u8>,

    /// Write the report as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    search: SearchFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SourceFlag {
    /// The recorded addresses and ports, by raw sockets: it takes CAP_NET_RAW
    Recorded,
    /// The recorded addresses and ports, which must be this machine's, as all of 127.0.0.0/8 are
    Bound,
    /// One address of this machine
    Own,
}

pub(crate) fn run(flags: &Flags) -> Result<Outcome> {
    let pace = pace::of(flags)?;
    flags.search.check()?;
    let filter = filter(flags)?;
    let recording = Recording::open(&flags.capture, &filter)?;
    if let Some(torn) = recording.torn() {
        tell(&format!("forebay: {torn}"));
    }
    pace.check_for(&recording).map_err(usage)?;
    let source = source(flags, &recording)?;
    let options = if flags.search.is_asked() {
        search::PLAY_OPTIONS
    } else {
        PlayOptions {
            loops: Some(flags.loops.0).filter(|&loops| loops > 0),
            rebase: flags.rebase,
            prime: flags.prime,
        }
    };
    let mut player = Player::new(recording, flags.to, source, options)?;
    drop_network_privileges().context("cannot give up the privileges for raw sockets")?;
    let stop = signals::stop()?;
    if flags.search.is_asked() {
        let subject = Subject {
            recording: &flags.capture,
            target: flags.to,
        };
        return search::run(&flags.search, &subject, &mut player, flags.json, &stop);
    }
    let in_all = options.loops.map(|loops| {
        let recording = player.recording();
        recording.datagrams().saturating_mul(loops)
    });
    let mut line = StatusLine::new();
    let mut progress = |report: &Report| line.show(|| status(report, in_all));
    let limit = flags.for_at_most.map(|Period(limit)| limit);
    let reached = player.play_telling(pace, limit, &stop, &mut progress);
    drop(line);
    let run = report::Run {
        target: flags.to,
        source,
        recording: player.recording(),
        report: &reached,
    };
    if flags.json {
        run.json(&mut io::stdout().lock())?;
    } else {
        run.text(&mut io::stdout().lock())?;
    }
    if let Some(complaint) = run.complaint() {
        anyhow::bail!(complaint);
    }
    Ok(Outcome::Done)
}

fn loops(text: &str) -> Result<Count, String> {
    let count = text.parse::<Count>();
    count.map_err(|error| format!("{error}; 0 is until interrupted"))
}

fn filter(flags: &Flags) -> Result<Filter> {
    let known = [1, 5, 7, 9, 10];
    if let Some(other) = flags.versions.iter().find(|of| !known.contains(of)) {
        let what = format!(
            "--versions: there is no export version {other}: choose from 1, 5, 7, 9 and 10"
        );
        return Err(WrongUsage(what).into());
    }
    Ok(Filter {
        exporters: flags.exporters.clone(),
        versions: flags.versions.clone(),
    })
}

/// Where to send from: what was asked for, or the best that is permitted.
fn source(flags: &Flags, recording: &Recording) -> Result<Source> {
    match flags.source {
        Some(SourceFlag::Recorded) => return Ok(Source::Recorded),
        Some(SourceFlag::Bound) => return Ok(Source::Bound),
        Some(SourceFlag::Own) => return Ok(Source::Own),
        None => {}
    }
    let (source, from) = match RawSender::open() {
        Ok(_) => return Ok(Source::Recorded),
        Err(SendError::Permission { .. })
            if flags.to.ip().is_loopback() && can_be_bound(recording.sources()) =>
        {
            (Source::Bound, "the recorded ones on loopback, bound")
        }
        Err(SendError::Permission { .. }) => (Source::Own, "this machine's own"),
        Err(error) => return Err(error.into()),
    };
    tell(&format!(
        "forebay: no permission to send from the recorded addresses (CAP_NET_RAW): sending from {from}"
    ));
    Ok(source)
}

/// What was asked for by flags cannot be done with any recording, or not with this one.
fn usage(error: ReplayError) -> anyhow::Error {
    match error {
        ReplayError::Pace(error) => WrongUsage(error.to_string()).into(),
        other => other.into(),
    }
}

fn status(report: &Report, in_all: Option<u64>) -> String {
    let done = report.datagrams + report.errors.datagrams;
    let mut text = match in_all {
        Some(in_all) => format!("{} %  ", done.saturating_mul(100) / in_all.max(1)),
        None => format!("loop {}  ", thousands(report.loops + 1)),
    };
    text.push_str(&format!(
        "{} datagrams, {} flows, {} flows/s",
        thousands(report.datagrams),
        thousands(report.flows),
        thousands(report.flows_per_sec() as u64)
    ));
    text
}
