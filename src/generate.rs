//! `forebay generate`: export traffic whose content is known beforehand.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{ArgGroup, Args, ValueEnum};
use forebay_replay::generate::{
    ConfigError, GenerateConfig, Load, Pace, Progress, SendError, Sent, Truth, VersionShares,
    to_capture, to_socket,
};

use crate::clock;
use crate::outcome::{Outcome, WrongUsage};
use crate::progress::{StatusLine, thousands};
use crate::units::{Count, Rate, Size, export_version, socket_address};

/// Generate export traffic of known content, to a capture file or to a collector.
///
/// The same flags give the same traffic. Beside a capture, its truth is written to CAPTURE.truth.json.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("sink").required(true).args(["output", "to"])))]
pub(crate) struct Flags {
    /// Write a capture file
    #[arg(long, value_name = "CAPTURE")]
    output: Option<PathBuf>,

    /// Send to a collector, each exporter from its own address
    #[arg(long, value_name = "ADDR:PORT", value_parser = socket_address)]
    to: Option<SocketAddr>,

    /// How many exporters; each sends one version
    #[arg(long, value_name = "N", default_value_t = 50)]
    exporters: usize,

    /// How many flows in all
    #[arg(long, value_name = "N", default_value = "1M")]
    flows: Count,

    /// The versions, shared evenly among the exporters
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        value_parser = export_version,
        default_value = "5,9,10"
    )]
    versions: Vec<u8>,

    /// How many flows a second: the times in a capture, or how fast they are sent (default: as fast as possible)
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,

    /// Where chance begins
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// From how many 5-tuples of each address family flows are chosen
    #[arg(long, value_name = "N", default_value = "1048576")]
    keys: Count,

    /// Which part of the v9 and IPFIX flows is IPv6
    #[arg(long, value_name = "0..1", default_value_t = 0.2)]
    ipv6_share: f64,

    /// How many bytes a message has at most
    #[arg(long, value_name = "SIZE", default_value = "1450")]
    message_size: Size,

    /// How the messages are divided among the exporters
    #[arg(long, value_enum, default_value_t = LoadFlag::Uniform)]
    load: LoadFlag,

    /// The first exporter's address; the others follow
    #[arg(long, value_name = "ADDR", default_value = "127.0.1.1")]
    first_exporter: Ipv4Addr,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LoadFlag {
    /// Each sends about as many
    Uniform,
    /// The k-th sends about 1/k of what the first sends
    Zipf,
}

pub(crate) fn run(flags: &Flags) -> Result<Outcome> {
    let config = config(flags)?;
    let mut line = StatusLine::new();
    let mut progress = |progress: &Progress| {
        let Progress {
            flows, of_flows, ..
        } = *progress;
        let percent = flows * 100 / of_flows.max(1);
        line.show(|| format!("{percent} %  {} flows", thousands(flows)));
    };
    if let Some(target) = flags.to {
        let pace = flags
            .rate
            .map_or(Pace::Flood, |Rate(rate)| Pace::FlowsPerSec(rate as f64));
        let sent = to_socket(config, target, pace, &mut progress).map_err(usage)?;
        drop(line);
        return report(&sent, target);
    }
    let output = flags
        .output
        .as_deref()
        .context("neither --output nor --to was given")?;
    let truth = to_capture(config, output, &mut progress)?;
    drop(line);
    writeln!(io::stdout(), "{}: {}", output.display(), totals(&truth))?;
    Ok(Outcome::Done)
}

fn config(flags: &Flags) -> Result<GenerateConfig> {
    let mut versions = VersionShares {
        v5: 0,
        v9: 0,
        ipfix: 0,
    };
    for version in &flags.versions {
        match version {
            5 => versions.v5 = 1,
            9 => versions.v9 = 1,
            10 => versions.ipfix = 1,
            other => {
                let what = format!(
                    "--versions: version {other} cannot be generated: choose from 5, 9 and 10"
                );
                return Err(WrongUsage(what).into());
            }
        }
    }
    let mut config = GenerateConfig {
        exporters: flags.exporters,
        flows: flags.flows.0,
        versions,
        seed: flags.seed,
        keys: u32::try_from(flags.keys.0).unwrap_or(u32::MAX),
        ipv6_share: flags.ipv6_share,
        message_bytes: usize::try_from(flags.message_size.0).unwrap_or(usize::MAX),
        load: match flags.load {
            LoadFlag::Uniform => Load::Uniform,
            LoadFlag::Zipf => Load::Zipf,
        },
        first_exporter: flags.first_exporter,
        ..GenerateConfig::default()
    };
    if let Some(Rate(rate)) = flags.rate {
        config.flows_per_sec = rate as f64;
    }
    if flags.to.is_some() {
        config.start_ns = clock::unix_ns();
    }
    config
        .check()
        .map_err(|error| usage(SendError::Config(error)))?;
    Ok(config)
}

/// A configuration that cannot be generated was asked for by flags.
fn usage(error: SendError) -> anyhow::Error {
    match error {
        SendError::Config(error) => WrongUsage(in_flags(&error)).into(),
        SendError::Pace { .. } | SendError::BeyondLoopback { .. } => {
            WrongUsage(error.to_string()).into()
        }
        other => other.into(),
    }
}

/// The settings by their names as flags.
fn in_flags(error: &ConfigError) -> String {
    let text = error.to_string();
    text.replace("`message_bytes`", "--message-size")
        .replace("`ipv6_share`", "--ipv6-share")
        .replace("`flows_per_sec`", "--rate")
        .replace("`exporters`", "--exporters")
        .replace("`flows`", "--flows")
        .replace("`keys`", "--keys")
}

fn report(sent: &Sent, target: SocketAddr) -> Result<Outcome> {
    let report = &sent.report;
    writeln!(
        io::stdout(),
        "{target}: {} flows in {} datagrams sent in {:.2} s, {} flows/s",
        thousands(report.flows),
        thousands(report.datagrams),
        report.elapsed.as_secs_f64(),
        thousands(report.flows_per_sec() as u64)
    )?;
    if report.unsent_datagrams > 0 || report.send_errors > 0 {
        anyhow::bail!(
            "the system refused {} times to send, and {} datagrams were not sent: is something listening on {target}?",
            report.send_errors,
            report.unsent_datagrams
        );
    }
    Ok(Outcome::Done)
}

fn totals(truth: &Truth) -> String {
    let total = &truth.total;
    format!(
        "{} flows in {} datagrams of {} exporters, {} packets, {} bytes",
        thousands(total.flows),
        thousands(total.datagrams),
        truth.exporters.len(),
        thousands(total.packets),
        thousands(total.bytes)
    )
}
