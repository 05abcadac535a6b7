//! `forebay inspect`: every message of a capture, as a tree or as JSON.

use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use forebay_udp::Datagram;
use forebay_udp::capture::{CaptureCounts, CaptureReader};

use crate::outcome::Outcome;
use crate::progress::counted;
use crate::time::Rfc3339;

mod json;
mod message;
mod rows;
mod templates;
mod tree;
mod value;

use message::MessageView;
use templates::Templates;

/// Show every message of a capture: headers, templates, records, and each problem at its offset.
///
/// Templates are remembered from message to message, and from capture to capture, as the collector does.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Capture files (pcap or pcapng); - is standard input
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,

    /// One JSON object per message and line
    #[arg(long)]
    json: bool,

    /// Stop after so many messages
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// Only messages from this address
    #[arg(long, value_name = "ADDR")]
    exporter: Option<IpAddr>,
}

/// A datagram, where it came from, and what it holds.
struct Shown<'a> {
    capture: &'a str,
    /// From 0, among the UDP datagrams of the capture.
    number: u64,
    datagram: Datagram<'a>,
    message: MessageView<'a>,
}

impl Shown<'_> {
    fn time(&self) -> Rfc3339 {
        let ns = self.datagram.received_ns;
        let seconds = i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX);
        Rfc3339::from_s_ns(seconds, (ns % 1_000_000_000) as u32)
    }
}

pub(crate) fn run(flags: &Flags) -> Result<Outcome> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut templates = Templates::default();
    let mut left = flags.limit.unwrap_or(u64::MAX);
    for path in &flags.captures {
        if left == 0 {
            break;
        }
        let name = path.display().to_string();
        let mut capture = CaptureReader::open(path)?;
        let shown = show(
            &name,
            &mut capture,
            flags,
            &mut templates,
            &mut left,
            &mut out,
        );
        // What was shown stands, whatever the rest of the capture is like.
        out.flush()?;
        shown?;
        if !flags.json {
            let line = summary(&name, capture.counts());
            writeln!(out, "{line}")?;
        }
    }
    out.flush()?;
    Ok(Outcome::Done)
}

fn show(
    name: &str,
    capture: &mut CaptureReader,
    flags: &Flags,
    templates: &mut Templates,
    left: &mut u64,
    out: &mut impl Write,
) -> Result<()> {
    let mut number = 0;
    while *left > 0
        && let Some(datagram) = capture.next()?
    {
        number += 1;
        if flags
            .exporter
            .is_some_and(|exporter| exporter != datagram.source.ip())
        {
            continue;
        }
        *left -= 1;
        let shown = Shown {
            capture: name,
            number: number - 1,
            datagram,
            message: MessageView::read(&datagram, templates),
        };
        if flags.json {
            serde_json::to_writer(&mut *out, &shown)
                .map_err(io::Error::from)
                .context("cannot write to standard output")?;
            writeln!(out)?;
        } else {
            tree::write(&shown, out)?;
        }
    }
    Ok(())
}

/// What the capture held besides the messages shown, so that nothing is left out silently.
fn summary(name: &str, counts: &CaptureCounts) -> String {
    let mut text = format!(
        "{name}: {} read, {}",
        counted(counts.packets, "packet"),
        counted(counts.datagrams, "UDP datagram")
    );
    for (count, what) in [
        (counts.not_ip, "packets without IP"),
        (counts.not_udp, "packets of other protocols"),
        (counts.malformed, "malformed packets"),
        (counts.truncated, "packets cut short by the capture"),
        (counts.unsupported_link, "packets of unsupported link types"),
        (
            counts.fragments_malformed,
            "datagrams of malformed fragments",
        ),
        (counts.fragments_expired, "datagrams with fragments missing"),
        (
            counts.fragments_over_limit,
            "datagrams with too many fragments waiting",
        ),
    ] {
        if count > 0 {
            text.push_str(&format!("; {count} {what}"));
        }
    }
    text
}
