//! `forebay demo`: the whole line on loopback, with figures.
//!
//! ```text
//! generated exports → UDP on 127.0.0.1 → collector → flow files → read back, and held against what was sent
//! ```

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use clap::Args;
use forebay_collector::{Collector, Config, Status};
use forebay_replay::generate::{GenerateConfig, Pace, Progress, Sent, to_socket};
use forebay_udp::{ShardReceiver, ShardSockets, SocketOptions};

use crate::outcome::{Outcome, WrongUsage};
use crate::progress::{StatusLine, thousands};
use crate::units::{Count, Rate};
use crate::{clock, collect};

mod report;
mod tally;
mod verify;

use tally::Tally;

const RECEIVE_BUFFER: usize = 64 << 20;
/// A receive buffer of this size takes a pause of the collector of a tenth of a second at the faster rate.
const LARGE_BUFFER: usize = 4 << 20;
/// With such a buffer.
const FAST: Rate = Rate(1_000_000);
/// What goes through the kernel's default of 208 KiB a shard without loss, even on a busy machine.
const SLOW: Rate = Rate(200_000);
/// Each shard brings a receive buffer: the smaller they are, the more there are.
const SHARDS: RangeInclusive<usize> = 2..=16;
/// How long the collector may take to write out; far more than it needs.
const GRACE: Duration = Duration::from_secs(300);

/// Generate exports, collect them over loopback, settle, and hold every count against what was sent.
///
/// Needs no privilege and nothing installed. Exit code 0 only if every count in the files is the count that was sent.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Keep the flow files in this folder, which must be empty (default: a temporary one)
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// How many flows
    #[arg(long, value_name = "N", default_value = "3M")]
    flows: Count,

    /// How many exporters
    #[arg(long, value_name = "N", default_value_t = 50)]
    exporters: usize,

    /// Flows a second (default: 1M/s with a large receive buffer, 200k/s with the kernel's default)
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,

    /// Where chance begins
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// What was sent, what the collector says of it, and how long it took.
struct Run {
    sent: Sent,
    status: Status,
    receive_buffer_bytes: usize,
    settling: Duration,
}

pub(crate) fn run(flags: &Flags) -> Result<Outcome> {
    let begun = clock::now();
    let (folder, _removed_at_the_end) = match &flags.output {
        Some(folder) => (empty_folder(folder)?, None),
        None => {
            let folder = tempfile::Builder::new().prefix("forebay-demo-").tempdir();
            let folder =
                folder.context("cannot make a temporary folder: give one with --output")?;
            (folder.path().to_owned(), Some(folder))
        }
    };
    let run = collect_generated(flags, &folder)?;
    let tally = Tally::of(&folder)?;
    let differences = verify::differences(&run, &tally);

    let mut out = io::stdout().lock();
    report::write(&run, &tally, &differences, &mut out)?;
    match &flags.output {
        Some(folder) => writeln!(out, "the flow files are in {}", folder.display())?,
        None => writeln!(
            out,
            "the flow files are removed: to keep them, give --output DIR"
        )?,
    }
    writeln!(
        out,
        "all of it took {:.1} s",
        clock::now().duration_since(begun).as_secs_f64()
    )?;
    let as_sent = differences.is_empty() && run.status.kernel_drops() == 0;
    Ok(if as_sent {
        Outcome::Done
    } else {
        Outcome::Failed
    })
}

/// Other flows in the folder would be counted too.
fn empty_folder(folder: &Path) -> Result<PathBuf> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(false) => Ok(folder.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(folder.to_owned()),
        Ok(true) => Err(WrongUsage(format!(
            "{} is not empty: choose another folder with --output",
            folder.display()
        ))
        .into()),
        Err(error) => Err(Error::new(error).context(format!("cannot use {}", folder.display()))),
    }
}

fn collect_generated(flags: &Flags, folder: &Path) -> Result<Run> {
    let config = collect::default_config(folder)?;
    let options = SocketOptions {
        receive_buffer_bytes: RECEIVE_BUFFER,
    };
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let probe = ShardSockets::bind(&[any_port], 1, &options)?;
    let granted = probe.first().map_or(0, ShardReceiver::granted_buffer_bytes);
    let shards = (LARGE_BUFFER / granted.max(1)).clamp(*SHARDS.start(), *SHARDS.end());
    let receivers = ShardSockets::bind(&[any_port], shards, &options)?;
    let target = receivers
        .iter()
        .flat_map(ShardReceiver::local_addresses)
        .next();
    let target = *target.context("no address to send to")?;
    let Rate(rate) = flags
        .rate
        .unwrap_or(if granted >= LARGE_BUFFER { FAST } else { SLOW });
    let generate = GenerateConfig {
        exporters: flags.exporters,
        flows: flags.flows.0,
        seed: flags.seed,
        start_ns: clock::unix_ns(),
        flows_per_sec: rate as f64,
        ..GenerateConfig::default()
    };
    generate
        .check()
        .map_err(|error| WrongUsage(error.to_string()))?;
    writeln!(
        io::stdout(),
        "{} flows of {} exporters in NetFlow v5, v9 and IPFIX go to {target} at {} flows/s",
        thousands(generate.flows),
        generate.exporters,
        thousands(rate)
    )?;
    let (sent, status, settling) = drive(&config, receivers, || send(generate, target, rate))?;
    Ok(Run {
        sent,
        status,
        receive_buffer_bytes: granted,
        settling,
    })
}

/// Runs a collector as long as `send` takes, and until all that came is settled.
fn drive(
    config: &Config,
    receivers: Vec<ShardReceiver>,
    send: impl FnOnce() -> Result<Sent>,
) -> Result<(Sent, Status, Duration)> {
    let (collector, shards) = Collector::start(config, receivers.len(), clock::unix_us)?;
    let control = collector.control();
    let sent = thread::scope(|scope| {
        let threads: Vec<_> = receivers
            .into_iter()
            .zip(shards)
            .map(|(receiver, shard)| scope.spawn(move || shard.run(receiver)))
            .collect();
        let sent = send();
        // Loopback delivers while it sends: all that is not lost is in the sockets by now.
        let grace = i64::try_from(GRACE.as_micros()).unwrap_or(i64::MAX);
        control.stop(clock::unix_us().saturating_add(grace));
        for thread in threads {
            match thread.join() {
                Ok(received) => received.context("cannot receive datagrams")?,
                Err(_) => anyhow::bail!(
                    "a shard ended unexpectedly: this is a bug; see the message above"
                ),
            }
        }
        sent
    });
    let begun: Instant = clock::now();
    let status = collector.finish();
    Ok((sent?, status, clock::now().duration_since(begun)))
}

fn send(config: GenerateConfig, target: SocketAddr, rate: u64) -> Result<Sent> {
    let mut line = StatusLine::new();
    let mut progress = |progress: &Progress| {
        let percent = progress.flows * 100 / progress.of_flows.max(1);
        line.show(|| format!("{percent} %  {} flows", thousands(progress.flows)));
    };
    let sent = to_socket(
        config,
        target,
        Pace::FlowsPerSec(rate as f64),
        &AtomicBool::new(false),
        &mut progress,
    )?;
    if sent.report.unsent_datagrams > 0 {
        anyhow::bail!(
            "the system refused to send {} datagrams",
            sent.report.unsent_datagrams
        );
    }
    Ok(sent)
}
