//! Where the exporters' loads come from.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Error, Result};
use forebay_router::balance::{Counter, Load, RecordCounter};
use forebay_udp::capture::{CaptureError, CaptureReader};
use forebay_wire::Message;

use super::rates::{self, Columns};
use super::stats::{self, Origin};
use crate::outcome::WrongUsage;
use crate::progress::{StatusLine, counted, thousands};

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
    /// Captures that were not read to their end, and why.
    pub(super) torn: Vec<String>,
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

/// Why there is nothing to balance in inputs of which no exporter was counted.
pub(super) fn nothing(kind: Kind, inputs: &[PathBuf], versions: &[u8], tally: &Tally) -> String {
    let names: Vec<String> = inputs
        .iter()
        .map(|input| input.display().to_string())
        .collect();
    let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
    let versions = versions.join(", ");
    let why = match (kind, tally.other_datagrams) {
        (Kind::Capture, 0) => "no UDP datagram is in it".to_owned(),
        (Kind::Capture, datagrams) => format!(
            "none of its {} is a message of the versions that count ({versions})",
            counted(datagrams, "UDP datagram")
        ),
        (Kind::Status, _) => {
            format!("no exporter was heard yet, or none with the versions that count ({versions})")
        }
        (Kind::Rates, _) => "no exporter with a rate above 0 is in it".to_owned(),
    };
    let mut text = format!("nothing to balance in {}: {why}", names.join(", "));
    for torn in &tally.torn {
        text.push_str(&format!("; {torn}"));
    }
    text
}

/// Counts all inputs.
///
/// # Errors
/// One cannot be read, or they do not add up.
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
    let mut first = None;
    for input in inputs {
        let content = match kind {
            Kind::Capture => {
                capture(input, versions, &mut records, counter, &mut tally)?;
                Content::Capture
            }
            Kind::Status => {
                let origin = stats::read(&input.to_string_lossy(), versions, counter)?;
                Content::Status(origin)
            }
            Kind::Rates => match rates::read(input, counter)? {
                Some(columns) => Content::Rates(columns),
                // It is empty.
                None => continue,
            },
        };
        let (first_input, first) = first.get_or_insert_with(|| (input, content.clone()));
        content.check_beside(input, first, first_input)?;
        counter.next_input();
    }
    Ok(tally)
}

/// What an input says of exporters. Where inputs say different things, one half of a sum would be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Capture,
    Status(Origin),
    Rates(Columns),
}

impl Content {
    fn check_beside(&self, input: &Path, other: &Self, other_input: &Path) -> Result<()> {
        let (input, other_input) = (input.display(), other_input.display());
        let what = match (other, self) {
            (Self::Status(other), Self::Status(own)) if other != own => format!(
                "{other_input} is a {other} and {input} a {own}: what one sends, the other receives, so that it would count \
                 twice: give addresses of routers or of collectors"
            ),
            (Self::Rates(other), Self::Rates(own)) if other != own => format!(
                "{other_input} has {other} and {input} has {own}: they do not add up: give lists of the same columns"
            ),
            _ => return Ok(()),
        };
        Err(WrongUsage(what).into())
    }
}

/// Whether somebody left out `http://`.
fn is_address(input: &str) -> bool {
    input.starts_with("localhost:") || input.parse::<SocketAddr>().is_ok()
}

fn capture(
    path: &Path,
    versions: &[u8],
    records: &mut RecordCounter,
    counter: &mut Counter<'_>,
    tally: &mut Tally,
) -> Result<()> {
    let mut capture = CaptureReader::open(path).map_err(|error| match error {
        CaptureError::NotACapture { .. } if path != Path::new("-") => {
            Error::msg(format!("{error}; a list of exporters is named .csv"))
        }
        CaptureError::Open { .. } if path.to_str().is_some_and(is_address) => Error::msg(format!(
            "{error}; a status address is written http://{}",
            path.display()
        )),
        error => error.into(),
    })?;
    let mut line = StatusLine::new();
    let mut datagrams: u64 = 0;
    loop {
        let datagram = match capture.next() {
            Ok(Some(datagram)) => datagram,
            Ok(None) => return Ok(()),
            // What comes before that counts, as wherever captures are read whole.
            Err(error @ (CaptureError::TornTail { .. } | CaptureError::Damaged { .. })) => {
                tally.torn.push(error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
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
