//! What a recording tells people: on the status line, at the end.

use std::time::Instant;

use forebay_replay::record::{RecordCounts, Recorder};

use crate::progress::{Rates, counted, thousands};

/// The line at the bottom of the terminal.
pub(super) fn status_line(recorder: &Recorder, rates: &mut Rates, now: Instant) -> String {
    let counts = recorder.counts();
    let mut text = format!(
        "{} datagrams/s  {}  {}",
        thousands(rates.per_second(counts.recorded, now)),
        counted(counts.recorded, "datagram"),
        losses(counts)
    );
    if let Some(name) = recorder.open_file().and_then(std::path::Path::file_name) {
        text.push_str("  ");
        text.push_str(&name.to_string_lossy());
    }
    text
}

/// What has happened. `primes` is whether templates were to be put in, `rejected` how many packets made no datagram.
pub(super) fn ended(counts: &RecordCounts, primes: bool, rejected: u64) -> String {
    let mut text = format!(
        "{} recorded in {}",
        counted(counts.recorded, "datagram"),
        counted(counts.files, "file")
    );
    if counts.removed > 0 {
        text.push_str(&format!(
            "; {} removed by retention",
            counted(counts.removed, "file")
        ));
    }
    if primes {
        let messages = counted(counts.primed, "message");
        text.push_str(&format!("; {messages} with templates put in"));
    }
    if counts.forgotten > 0 {
        let templates = counted(counts.forgotten, "template");
        text.push_str(&format!("; {templates} too many to keep for later files"));
    }
    text.push_str("; ");
    text.push_str(&losses(counts));
    if counts.dropped > 0 {
        text.push_str(&format!(
            " ({} received = {} recorded + {} dropped)",
            thousands(counts.received()),
            thousands(counts.recorded),
            thousands(counts.dropped)
        ));
    }
    if rejected > 0 {
        text.push_str(&format!(
            "; {} made no whole datagram",
            counted(rejected, "packet")
        ));
    }
    text
}

/// What had happened when it came to an end of its own.
pub(super) fn failed(counts: &RecordCounts) -> String {
    format!(
        "{} taken before it failed, {} whole; the open one keeps its hidden name; {}",
        counted(counts.recorded, "datagram"),
        counted(counts.files, "file"),
        losses(counts)
    )
}

fn losses(counts: &RecordCounts) -> String {
    match counts.dropped {
        0 => "nothing lost".to_owned(),
        dropped => format!("{} dropped here", counted(dropped, "datagram")),
    }
}
