//! What a router tells people: on the status line, and at the end.

use std::time::Instant;

use forebay_router::{Counters, Status};

use crate::progress::{Rates, counted, thousands};

/// The line at the bottom of the terminal.
pub(super) fn status_line(status: &Status, rates: &mut Rates, now: Instant) -> String {
    let total = status.total();
    let mut text = format!(
        "{} datagrams/s  {} of {}  {}",
        thousands(rates.per_second(total.received.datagrams, now)),
        counted(total.received.datagrams, "datagram"),
        counted(status.exporter_count() as u64, "exporter"),
        losses(status, &total)
    );
    let down = status.up.iter().filter(|(_, up)| !up).count();
    if down > 0 {
        text.push_str(&format!("  {} down", counted(down as u64, "collector")));
    }
    if total.waiting.datagrams > 0 {
        text.push_str(&format!("  {} waiting", thousands(total.waiting.datagrams)));
    }
    text
}

/// What has happened.
pub(super) fn ended(status: &Status) -> String {
    let total = status.total();
    let mut text = format!(
        "{} of {}, {} forwarded; {}",
        counted(total.received.datagrams, "datagram"),
        counted(status.exporter_count() as u64, "exporter"),
        thousands(total.forwarded.datagrams),
        losses(status, &total)
    );
    if total.recovered.datagrams > 0 {
        let recovered = counted(total.recovered.datagrams, "datagram");
        text.push_str(&format!("; {recovered} of an earlier run"));
    }
    if total.waiting.datagrams > 0 {
        let waiting = counted(total.waiting.datagrams, "datagram");
        text.push_str(&format!("; {waiting} wait for the next start"));
    }
    text
}

/// As [`ended`], in fields.
pub(super) fn log(status: &Status) {
    let total = status.total();
    tracing::info!(
        received = total.received.datagrams,
        recovered = total.recovered.datagrams,
        forwarded = total.forwarded.datagrams,
        rejected = total.rejected.total(),
        failed = total.failed.total(),
        sent_while_down = total.sent_while_down,
        waiting = total.waiting.datagrams,
        kernel_drops = status.kernel_drops(),
        unreadable = status.unreadable_here().total(),
        "ended"
    );
}

/// What was lost, where, and why; or that nothing was.
fn losses(status: &Status, total: &Counters) -> String {
    let mut parts = Vec::new();
    if status.kernel_drops() > 0 {
        let drops = counted(status.kernel_drops(), "datagram");
        parts.push(format!("{drops} dropped here"));
    }
    for (what, reasons) in [
        ("unreadable", &status.unreadable_here()),
        ("rejected", &total.rejected),
        ("not sent", &total.failed),
    ] {
        if reasons.total() > 0 {
            let names: Vec<&str> = reasons.iter().map(|(reason, _)| reason).collect();
            let count = counted(reasons.total(), "datagram");
            parts.push(format!("{count} {what} ({})", names.join(", ")));
        }
    }
    let lost = (!parts.is_empty()).then(|| format!("lost: {}", parts.join(", ")));
    let doubtful = (total.sent_while_down > 0).then(|| {
        let count = counted(total.sent_while_down, "datagram");
        format!("may be lost: {count} sent while the collector was down")
    });
    let told: Vec<String> = lost.into_iter().chain(doubtful).collect();
    if told.is_empty() {
        return "nothing lost".to_owned();
    }
    told.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_with_their_reasons() {
        let mut status = Status::default();
        assert_eq!(
            ended(&status),
            "0 datagrams of 0 exporters, 0 forwarded; nothing lost"
        );
        status.threads.resize_with(1, Default::default);
        let thread = status.threads.first_mut().expect("one thread");
        thread.kernel_drops = 1_234;
        thread.unreadable = vec![("truncated", 3), ("malformed", 9)];
        thread.counters.rejected.add("unknown_version", 2);
        thread.counters.failed.add("no_buffer", 1);
        thread.counters.waiting.datagrams = 5;
        assert_eq!(
            ended(&status),
            "0 datagrams of 0 exporters, 0 forwarded; lost: 1,234 datagrams dropped here, 3 datagrams unreadable \
             (truncated), 2 datagrams rejected (unknown_version), 1 datagram not sent (no_buffer); 5 datagrams wait for the next start"
        );
    }

    #[test]
    fn what_was_sent_to_a_collector_that_is_down_may_be_lost() {
        let mut status = Status::default();
        status.threads.resize_with(1, Default::default);
        let thread = status.threads.first_mut().expect("one thread");
        thread.counters.sent_while_down = 1;
        assert_eq!(
            ended(&status),
            "0 datagrams of 0 exporters, 0 forwarded; may be lost: 1 datagram sent while the collector was down"
        );
        let thread = status.threads.first_mut().expect("one thread");
        thread.counters.failed.add("no_buffer", 1);
        thread.counters.sent_while_down = 1_000;
        assert_eq!(
            ended(&status),
            "0 datagrams of 0 exporters, 0 forwarded; lost: 1 datagram not sent (no_buffer); \
             may be lost: 1,000 datagrams sent while the collector was down"
        );
    }
}
