//! `forebay generate`: export traffic whose content is known beforehand.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use clap::{ArgGroup, Args, ValueEnum};
use forebay_replay::generate::{
    ConfigError, GenerateConfig, Load, Pace, Progress, SendError, Sent, Truth, VersionShares,
    to_capture, to_socket, write_truth,
};

use crate::clock;
use crate::outcome::{Outcome, WrongUsage};
use crate::progress::{StatusLine, counted, thousands};
use crate::signals;
use crate::units::{Count, Rate, Size, export_version, target_address};

mod prefix;

use prefix::Prefix;

/// Generate export traffic of known content, to a capture file or to a collector.
///
/// The same flags give the same traffic. Beside a capture, its truth is written to CAPTURE.truth.json. Interrupting it tells
/// what was sent so far; a capture that is not whole is not kept.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("sink").required(true).args(["output", "to"])))]
#[command(allow_negative_numbers = true)]
pub(crate) struct Flags {
    /// Write a capture file: pcap, or by the ending of its name pcapng, and compressed with .zst
    #[arg(long, value_name = "CAPTURE")]
    output: Option<PathBuf>,

    /// Send to a collector, each exporter from its own address
    #[arg(long, value_name = "ADDR:PORT", value_parser = target_address)]
    to: Option<SocketAddr>,

    /// How many exporters; each sends one version [default: 50, or all of --exporter-list]
    #[arg(long, value_name = "N")]
    exporters: Option<usize>,

    /// How many flows in all
    #[arg(long, value_name = "N", default_value = "1M")]
    flows: Count,

    /// The versions, shared evenly among the exporters, or by parts: 5:1,9:3
    #[arg(
        long,
        value_name = "N[:PARTS],…",
        value_delimiter = ',',
        default_value = "5,9,10"
    )]
    versions: Vec<VersionShare>,

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

    /// Which part of the flows repeats one that another exporter told shortly before
    #[arg(long, value_name = "0..0.75", default_value_t = 0.0)]
    duplicates: f64,

    /// How many flows a message has, if they fit
    #[arg(long, value_name = "N", default_value_t = 25)]
    flows_per_message: usize,

    /// How many bytes a message has at most
    #[arg(long, value_name = "SIZE", default_value = "1450")]
    message_size: Size,

    /// How the messages are divided among the exporters
    #[arg(long, value_enum, default_value_t = LoadFlag::Uniform)]
    load: LoadFlag,

    /// The first exporter's address; the others follow [default: 127.0.1.1]
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["exporter_prefix", "exporter_list"])]
    first_exporter: Option<IpAddr>,

    /// The prefix that all exporters are of, from its second address on
    #[arg(long, value_name = "ADDR/BITS", conflicts_with = "exporter_list")]
    exporter_prefix: Option<Prefix>,

    /// From one exporter's address to the next
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        conflicts_with = "exporter_list"
    )]
    exporter_step: u32,

    /// The exporters' addresses
    #[arg(long, value_name = "ADDR,…", value_delimiter = ',')]
    exporter_list: Vec<IpAddr>,

    /// Write the truth of what is sent here; that of a capture is beside it
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    truth: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LoadFlag {
    /// Each sends about as many
    Uniform,
    /// The k-th sends about 1/k of what the first sends
    Zipf,
}

/// A version, and how many parts of the exporters send it.
#[derive(Debug, Clone, Copy)]
struct VersionShare {
    version: u8,
    parts: u32,
}

impl FromStr for VersionShare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (version, parts) = text.split_once(':').unwrap_or((text, "1"));
        let parts = parts
            .parse()
            .map_err(|_| format!("\"{parts}\" is no number of parts: write 9:3, say"))?;
        Ok(Self {
            version: export_version(version)?,
            parts,
        })
    }
}

pub(crate) fn run(flags: &Flags) -> Result<Outcome> {
    let config = config(flags)?;
    let stop = signals::stop()?;
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
        let sent = to_socket(config, target, pace, &stop, &mut progress).map_err(usage)?;
        drop(line);
        if let Some(path) = &flags.truth {
            write_truth(&sent.truth, path)?;
        }
        return report(&sent, target, stop.load(Ordering::Relaxed));
    }
    let output = flags
        .output
        .as_deref()
        .context("neither --output nor --to was given")?;
    let truth = to_capture(config, output, &stop, &mut progress)?;
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
    for &VersionShare { version, parts } in &flags.versions {
        match version {
            5 => versions.v5 = parts,
            9 => versions.v9 = parts,
            10 => versions.ipfix = parts,
            other => {
                let what = format!(
                    "--versions: version {other} cannot be generated: choose from 5, 9 and 10"
                );
                return Err(WrongUsage(what).into());
            }
        }
    }
    let default = GenerateConfig::default();
    let listed = Some(flags.exporter_list.len()).filter(|&listed| listed > 0);
    let mut config = GenerateConfig {
        exporters: flags.exporters.or(listed).unwrap_or(default.exporters),
        flows: flags.flows.0,
        versions,
        seed: flags.seed,
        keys: u32::try_from(flags.keys.0).unwrap_or(u32::MAX),
        ipv6_share: flags.ipv6_share,
        duplicates: flags.duplicates,
        flows_per_message: flags.flows_per_message,
        message_bytes: usize::try_from(flags.message_size.0).unwrap_or(usize::MAX),
        load: match flags.load {
            LoadFlag::Uniform => Load::Uniform,
            LoadFlag::Zipf => Load::Zipf,
        },
        first_exporter: flags.first_exporter.unwrap_or(default.first_exporter),
        exporter_step: flags.exporter_step,
        exporter_list: flags.exporter_list.clone(),
        ..default
    };
    if let Some(prefix) = &flags.exporter_prefix {
        // The first is the network's own.
        let steps = (config.exporters as u64).saturating_sub(1);
        let last = steps.saturating_mul(flags.exporter_step.into());
        let ends = [1, last.saturating_add(1)].map(|offset| prefix.address(offset));
        if let [Some(first), Some(_)] = ends {
            config.first_exporter = first;
        } else {
            let what = format!(
                "--exporter-prefix {prefix} has no room for {} exporters by steps of {}",
                config.exporters, flags.exporter_step
            );
            return Err(WrongUsage(what).into());
        }
    }
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
        SendError::Pace { .. } | SendError::BeyondLoopback { .. } | SendError::Families { .. } => {
            WrongUsage(error.to_string()).into()
        }
        other => other.into(),
    }
}

/// The settings by their names as flags.
fn in_flags(error: &ConfigError) -> String {
    let text = error.to_string();
    text.replace("`message_bytes`", "--message-size")
        .replace("`flows_per_message`", "--flows-per-message")
        .replace("`exporter_list`", "--exporter-list")
        .replace("`exporter_step`", "--exporter-step")
        .replace("`duplicates`", "--duplicates")
        .replace("`versions.v5`", "--versions 5")
        .replace("`versions.v9`", "--versions 9")
        .replace("`versions.ipfix`", "--versions 10")
        .replace("`versions`", "--versions")
        .replace("`ipv6_share`", "--ipv6-share")
        .replace("`flows_per_sec`", "--rate")
        .replace("`exporters`", "--exporters")
        .replace("`flows`", "--flows")
        .replace("`keys`", "--keys")
}

fn report(sent: &Sent, target: SocketAddr, interrupted: bool) -> Result<Outcome> {
    let report = &sent.report;
    writeln!(
        io::stdout(),
        "{target}: {} in {} sent in {:.2} s, {} flows/s{}",
        counted(report.flows, "flow"),
        counted(report.datagrams, "datagram"),
        report.elapsed.as_secs_f64(),
        thousands(report.flows_per_sec() as u64),
        if interrupted {
            ", until interrupted"
        } else {
            ""
        }
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
        "{} in {} of {}, {} packets, {} bytes",
        counted(total.flows, "flow"),
        counted(total.datagrams, "datagram"),
        counted(truth.exporters.len() as u64, "exporter"),
        thousands(total.packets),
        thousands(total.bytes)
    )
}
