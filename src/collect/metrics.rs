//! The counters in Prometheus's text format.
//!
//! Written by hand: what is told is a snapshot of counters that others keep, so there is nothing to register. Exporters
//! are not labels, because the network could make any number of them: `/stats` tells by exporter.

use forebay_collector::Status;

use crate::prometheus::{counter, header, line};

/// All metrics.
pub(super) fn text(status: &Status) -> String {
    let total = status.total();
    let mut out = String::with_capacity(1 << 13);
    for (name, count) in total.named() {
        let stage = if matches!(name, "datagrams" | "octets") {
            "receive"
        } else {
            "decode"
        };
        if name == "sequence_lost" {
            // What comes late is taken off again, which no counter may do.
            header(&mut out, "decode_sequence_lost", "gauge", help(name));
            line(&mut out, "decode_sequence_lost", count);
        } else {
            counter(&mut out, &format!("{stage}_{name}"), help(name), count);
        }
    }
    counter(
        &mut out,
        "receive_kernel_drops",
        "Datagrams that the kernel dropped because a receive buffer was full.",
        status.kernel_drops(),
    );
    header(
        &mut out,
        "decode_reasons_total",
        "counter",
        "What was not decoded or not stored, by what it is and why.",
    );
    for (scope, reason, count) in total.reasons.iter() {
        let scope = scope.name();
        line(
            &mut out,
            &format!("decode_reasons_total{{scope=\"{scope}\",reason=\"{reason}\"}}"),
            count,
        );
    }
    let files = &status.files;
    for (name, help, count) in [
        ("segment_flows", "Flows written to segments.", files.stored),
        (
            "segment_bytes",
            "Bytes written to segments.",
            files.segment_bytes,
        ),
        ("settle_files", "Flow files made.", files.files),
        ("settle_bytes", "Their bytes.", files.file_bytes),
        ("settle_flows", "Flows in them.", files.file_flows),
        (
            "settle_recovered_flows",
            "Flows of an earlier run in segments left behind.",
            files.recovered_flows,
        ),
        (
            "settle_torn_bytes",
            "Bytes behind the last whole batch of such segments.",
            files.torn_bytes,
        ),
        (
            "settle_failed_segments",
            "Segments that could not be settled.",
            files.segments_failed,
        ),
        (
            "retain_files_removed",
            "Files that retention removed.",
            files.files_removed,
        ),
    ] {
        counter(&mut out, name, help, count);
    }
    let tables = status.shards.iter().map(|shard| shard.tables);
    let (templates, pending) = tables.fold((0, 0), |(templates, pending), tables| {
        (templates + tables.templates, pending + tables.pending_bytes)
    });
    for (name, help, value) in [
        (
            "decode_exporters",
            "Exporter addresses known.",
            status.exporters(),
        ),
        ("decode_templates", "Templates known.", templates),
        (
            "decode_pending_bytes",
            "Bytes of data sets that wait for their template.",
            pending,
        ),
        (
            "batch_queue_bytes",
            "Bytes of batches that wait to be written.",
            status.queue_bytes,
        ),
        (
            "settle_segments_waiting",
            "Closed segments that wait to be settled.",
            files.segments_waiting,
        ),
        (
            "settle_paused",
            "1 while settling waits for space.",
            usize::from(files.paused),
        ),
        (
            "segment_failing_writers",
            "Shards whose last flows could not be written.",
            files.failing_writers,
        ),
    ] {
        header(&mut out, name, "gauge", help);
        line(&mut out, name, value as u64);
    }
    out
}

fn help(name: &str) -> &'static str {
    match name {
        "datagrams" => "Datagrams received.",
        "octets" => "Their bytes, without headers of UDP and IP.",
        "messages" => "Messages of an accepted version.",
        "records" => "Data records decoded into flows.",
        "options_records" => "Options data records.",
        "templates" => "Template records accepted, repeated ones too.",
        "templates_changed" => "Template records that changed a known template.",
        "withdrawals" => "Template withdrawals, which are ignored over UDP.",
        "sets_by_sibling" => "Data sets decoded by a template of another session of the exporter.",
        "sets_waited" => "Data sets that were kept until their template came.",
        "sets_recovered" => "Of those, the ones that were decoded then.",
        "sequence_lost" => {
            "Messages (v9), flows (v5) or records (IPFIX) that never came, by sequence numbers."
        }
        "sequence_late" => "Those that were missed and came late.",
        "sequence_repeated" => "Messages that came twice.",
        _ => "Times that an exporter began to count anew.",
    }
}

#[cfg(test)]
mod tests {
    use forebay_collector::Scope;

    use super::*;
    use crate::prometheus;

    #[test]
    fn every_line_is_one_of_the_format() {
        let mut status = Status::default();
        status.shards.resize_with(1, Default::default);
        let shard = status.shards.first_mut().expect("one shard");
        shard.unassigned.reasons.add(Scope::Set, "set_too_long", 4);
        shard.unassigned.datagrams = 9;
        let text = text(&status);
        assert!(
            text.contains(
                "\nforebay_decode_reasons_total{scope=\"set\",reason=\"set_too_long\"} 4\n"
            )
        );
        assert!(text.contains(
            "# TYPE forebay_receive_datagrams_total counter\nforebay_receive_datagrams_total 9\n"
        ));
        assert!(prometheus::check(&text) > 25);
    }
}
