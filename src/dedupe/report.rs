//! What came in, what is kept and what was removed, for people or as JSON.

use std::io::{self, Write};

use forebay_analyze::{DedupeOptions, DedupeReport};
use serde_json::json;

use crate::progress::{counted, thousands};

/// So many pairs of exporters are told to people.
const PAIRS: usize = 20;

pub(super) fn write(report: &DedupeReport, options: &DedupeOptions, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let is_merge = options.key.is_none();
    if json {
        return writeln!(out, "{}", as_json(report, is_merge));
    }
    writeln!(out, "{:>15}  flows read", thousands(report.rows_in))?;
    if !is_merge {
        writeln!(out, "{:>15}  kept", thousands(report.rows_kept()))?;
        writeln!(
            out,
            "{:>15}  removed: {} told several times",
            thousands(report.rows_removed),
            counted(report.flows_seen_again, "flow")
        )?;
        if report.rows_not_compared > 0 {
            let rows = thousands(report.rows_not_compared);
            writeln!(
                out,
                "{rows:>15}  kept without comparing: no counters, or no key"
            )?;
        }
        if report.rows_compared_in_part > 0 {
            let rows = thousands(report.rows_compared_in_part);
            writeln!(
                out,
                "{rows:>15}  compared only with the nearest of very many alike"
            )?;
        }
        write_pairs(report, &mut out)?;
    }
    if let Some((dir, _)) = &options.output {
        writeln!(
            out,
            "{}: {} in {}, {} bytes",
            dir.display(),
            counted(report.rows_kept(), "flow"),
            counted(report.files_written, "file"),
            thousands(report.bytes_written)
        )?;
    }
    Ok(())
}

fn write_pairs(report: &DedupeReport, out: &mut impl Write) -> io::Result<()> {
    if report.pairs.is_empty() {
        return Ok(());
    }
    writeln!(out, "{:>15}  kept of, removed of", "flows")?;
    for pair in report.pairs.iter().take(PAIRS) {
        let rows = thousands(pair.rows);
        writeln!(out, "{rows:>15}  {}, {}", pair.kept, pair.removed)?;
    }
    let others = report.pairs.get(PAIRS..).unwrap_or_default();
    if !others.is_empty() {
        let rows = others.iter().map(|pair| pair.rows).sum();
        writeln!(
            out,
            "{:>15}  {} more (all with --json)",
            thousands(rows),
            counted(others.len() as u64, "pair")
        )?;
    }
    Ok(())
}

fn as_json(report: &DedupeReport, is_merge: bool) -> serde_json::Value {
    let skipped = report
        .skipped
        .iter()
        .map(|file| json!({ "path": file.path.to_string_lossy(), "reason": file.reason }));
    let mut told = json!({
        "flows_in": report.rows_in,
        "flows_kept": report.rows_kept(),
        "flows_removed": report.rows_removed,
        "files_skipped": skipped.collect::<Vec<_>>(),
        "files_written": report.files_written,
        "bytes_written": report.bytes_written,
        "spilled_bytes": report.spilled_bytes,
        "peak_row_memory": report.peak_memory,
    });
    // Nothing is compared where all is merged: no numbers of that either.
    if !is_merge {
        let pairs = report
            .pairs
            .iter()
            .map(|pair| json!({ "kept": pair.kept, "removed": pair.removed, "flows": pair.rows }));
        told["flows_seen_again"] = report.flows_seen_again.into();
        told["flows_not_compared"] = report.rows_not_compared.into();
        told["flows_compared_in_part"] = report.rows_compared_in_part.into();
        told["pairs"] = pairs.collect();
    }
    told
}
