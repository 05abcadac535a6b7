//! Where the exporters' loads come from.

use std::path::{Path, PathBuf};

use anyhow::Result;
use forebay_router::balance::{Counter, Load, RecordCounter};
use forebay_udp::capture::CaptureReader;
use forebay_wire::Message;

use super::{rates, stats};
use crate::outcome::WrongUsage;
use crate::progress::{StatusLine, thousands};

/// What an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A capture: what was sent, and when.
    Capture,
    /// The `/stats` of a router or collector: what was received since it started.
    Status,
    /// Exporters with their rates.
    Rates,
}

impl Kind {
    fn of(input: &Path) -> Self {
        if input.to_str().is_some_and(stats::is_url) {
            Self::Status
        } else if input
            .extension()
            .is_some_and(|is| is.eq_ignore_ascii_case("csv"))
        {
            Self::Rates
        } else {
            Self::Capture
        }
    }
}

/// What was read besides loads.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Whether the loads are per second.
    pub(super) rates: bool,
    /// Records that are an estimate because their template was not seen.
    pub(super) estimated_records: u64,
    /// Datagrams that are no message of a version that is counted.
    pub(super) other_datagrams: u64,
}

/// The kind of all inputs.
///
/// # Errors
/// They are of several kinds, which do not add up.
pub(super) fn kind(inputs: &[PathBuf]) -> Result<Kind> {
    let mut kinds = inputs.iter().map(|input| Kind::of(input));
    let first = kinds.next().unwrap_or(Kind::Capture);
    if kinds.any(|kind| kind != first) {
        let what = "captures, status addresses and rates do not add up: give inputs of one kind";
        return Err(WrongUsage(what.to_owned()).into());
    }
    Ok(first)
}

/// Counts all inputs.
pub(super) fn read(
    kind: Kind,
    inputs: &[PathBuf],
    versions: &[u8],
    counter: &mut Counter<'_>,
) -> Result<Tally> {
    let mut tally = Tally {
        rates: kind == Kind::Rates,
        ..Tally::default()
    };
    let mut records = RecordCounter::default();
    for input in inputs {
        match kind {
            Kind::Capture => capture(input, versions, &mut records, counter, &mut tally)?,
            Kind::Status => stats::read(&input.to_string_lossy(), versions, counter)?,
            Kind::Rates => rates::read(input, counter)?,
        }
        counter.next_input();
    }
    Ok(tally)
}

fn capture(
    path: &Path,
    versions: &[u8],
    records: &mut RecordCounter,
    counter: &mut Counter<'_>,
    tally: &mut Tally,
) -> Result<()> {
    let mut capture = CaptureReader::open(path)?;
    let mut line = StatusLine::new();
    let mut datagrams: u64 = 0;
    while let Some(datagram) = capture.next()? {
        datagrams += 1;
        if datagrams.is_multiple_of(1 << 16) {
            line.show(|| format!("{}: {} datagrams", path.display(), thousands(datagrams)));
        }
        let message = Message::parse(datagram.payload).ok();
        let Some(message) = message.filter(|message| versions.contains(&message.version())) else {
            tally.other_datagrams += 1;
            continue;
        };
        let count = records.count(datagram.source, &message);
        tally.estimated_records += count.estimated;
        let load = Load {
            datagrams: 1,
            records: count.records,
            bytes: datagram.payload.len() as u64,
        };
        let second = datagram.received_ns / 1_000_000_000;
        counter.add(datagram.source.ip(), Some(second), &load);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_told_apart_and_not_mixed() {
        let kind = |inputs: &[&str]| {
            let inputs: Vec<PathBuf> = inputs.iter().map(PathBuf::from).collect();
            super::kind(&inputs)
        };
        assert_eq!(kind(&["-", "a.pcap", "b"]).ok(), Some(Kind::Capture));
        assert_eq!(kind(&["http://127.0.0.1:9180"]).ok(), Some(Kind::Status));
        assert_eq!(kind(&["a.csv", "b.CSV"]).ok(), Some(Kind::Rates));
        let error = kind(&["a.csv", "a.pcap"]).expect_err("mixed");
        assert!(error.is::<WrongUsage>(), "{error}");
    }
}
