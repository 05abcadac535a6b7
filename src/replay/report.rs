//! What was reached, for people and for programs.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use forebay_replay::{Ended, Recording, Report, Source};
use serde::Serialize;

use crate::progress::{counted, thousands};

/// What was sent, where to, and what became of it.
pub(super) struct Run<'r> {
    pub(super) target: SocketAddr,
    pub(super) source: Source,
    pub(super) recording: &'r Recording,
    pub(super) report: &'r Report,
}

#[derive(Serialize)]
struct Json<'r> {
    capture: &'r Path,
    to: SocketAddr,
    source: &'static str,
    recording: JsonRecording,
    sent: &'r Report,
    datagrams_per_sec: f64,
    flows_per_sec: f64,
    bits_per_sec: f64,
}

#[derive(Serialize)]
struct JsonRecording {
    datagrams: u64,
    flows: u64,
    bytes: u64,
    seconds: f64,
    exporters: usize,
    no_messages: u64,
    filtered: u64,
    uncounted_sets: u64,
    torn: Option<String>,
}

impl Run<'_> {
    pub(super) fn json(&self, out: &mut impl Write) -> Result<()> {
        let (recording, report) = (self.recording, self.report);
        let left_out = recording.left_out();
        let json = Json {
            capture: recording.path(),
            to: self.target,
            source: match self.source {
                Source::Recorded => "recorded",
                Source::Bound => "bound",
                Source::Own => "own",
            },
            recording: JsonRecording {
                datagrams: recording.datagrams(),
                flows: recording.flows(),
                bytes: recording.bytes(),
                seconds: recording.span().as_secs_f64(),
                exporters: recording.sources().len(),
                no_messages: left_out.no_messages,
                filtered: left_out.filtered,
                uncounted_sets: left_out.uncounted_sets,
                torn: recording.torn().map(ToString::to_string),
            },
            sent: report,
            datagrams_per_sec: report.datagrams_per_sec(),
            flows_per_sec: report.flows_per_sec(),
            bits_per_sec: report.bits_per_sec(),
        };
        let text = serde_json::to_string_pretty(&json)?;
        writeln!(out, "{text}")?;
        Ok(())
    }

    pub(super) fn text(&self, out: &mut impl Write) -> Result<()> {
        let report = self.report;
        let from = match self.source {
            Source::Recorded => "the recorded addresses",
            Source::Bound => "the recorded addresses, bound",
            Source::Own => "this machine's own address",
        };
        writeln!(
            out,
            "{} to {} from {from}",
            self.recording.path().display(),
            self.target
        )?;
        let ended = match report.ended {
            Ended::Recording => "",
            Ended::Time => ", as long as asked for",
            Ended::Stopped => ", until interrupted",
        };
        writeln!(
            out,
            "sent      {}, {}, {} bytes in {:.3} s{ended}",
            counted(report.datagrams, "datagram"),
            counted(report.flows, "flow"),
            thousands(report.bytes),
            report.seconds
        )?;
        writeln!(
            out,
            "rate      {} datagrams/s, {} flows/s, {:.3} Mbit/s",
            thousands(report.datagrams_per_sec().round() as u64),
            thousands(report.flows_per_sec().round() as u64),
            report.bits_per_sec() / 1e6
        )?;
        let late = &report.lateness;
        if late.max_us > 0.0 {
            writeln!(
                out,
                "lateness  mean {}, half ≤ {}, 99 % ≤ {}, 99.9 % ≤ {}, at most {}",
                duration(late.mean_us),
                duration(late.p50_us),
                duration(late.p99_us),
                duration(late.p999_us),
                duration(late.max_us)
            )?;
        }
        for failure in &report.errors.reasons {
            let datagrams = counted(failure.datagrams, "datagram");
            writeln!(out, "not sent  {datagrams}: {}", failure.error)?;
        }
        self.left_out(out)
    }

    fn left_out(&self, out: &mut impl Write) -> Result<()> {
        let left_out = self.recording.left_out();
        for (count, noun, why) in [
            (left_out.no_messages, "datagram", "no export messages"),
            (
                left_out.filtered,
                "datagram",
                "of other exporters or versions",
            ),
        ] {
            if count > 0 {
                writeln!(out, "left out  {}: {why}", counted(count, noun))?;
            }
        }
        if left_out.uncounted_sets > 0 {
            writeln!(
                out,
                "uncounted {} in each loop: no template in the capture says how many flows they hold",
                counted(left_out.uncounted_sets, "data set")
            )?;
        }
        Ok(())
    }

    /// What makes it a failure.
    pub(super) fn complaint(&self) -> Option<String> {
        let (errors, target) = (&self.report.errors, self.target);
        if let Some(first) = errors.reasons.iter().max_by_key(|of| of.datagrams) {
            return Some(format!(
                "{} to {target} were not sent: {}",
                counted(errors.datagrams, "datagram"),
                first.error
            ));
        }
        (errors.refused > 0).then(|| {
            format!(
                "{target} refused {}: is something listening there?",
                counted(errors.refused, "datagram")
            )
        })
    }
}

/// Microseconds in a unit that suits them.
fn duration(us: f64) -> String {
    match us {
        ..1e3 => format!("{us:.1} us"),
        1e3..1e6 => format!("{:.1} ms", us / 1e3),
        _ => format!("{:.1} s", us / 1e6),
    }
}
