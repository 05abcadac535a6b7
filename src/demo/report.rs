//! What `demo` prints.

use std::io::{Result, Write};

use super::Run;
use super::tally::{Sums, Tally};
use crate::progress::thousands;
use crate::units::Size;

const TOP_TALKERS: usize = 10;
/// More differences than this tell nothing more.
const DIFFERENCES_SHOWN: usize = 20;

pub(super) fn write(
    run: &Run,
    tally: &Tally,
    differences: &[String],
    out: &mut impl Write,
) -> Result<()> {
    write_figures(run, tally, out)?;
    write_versions(run, tally, out)?;
    write_talkers(tally, out)?;
    write_verdict(run, differences, out)
}

fn write_figures(run: &Run, tally: &Tally, out: &mut impl Write) -> Result<()> {
    let report = &run.sent.report;
    let total = tally.total();
    let bytes_per_flow = tally.file_bytes as f64 / total.flows.max(1) as f64;
    writeln!(
        out,
        "collected {} flows/s for {:.1} s, then settled in {:.1} s: {} files, {:.1} bytes per flow",
        thousands((total.flows as f64 / report.elapsed.as_secs_f64()) as u64),
        report.elapsed.as_secs_f64(),
        run.settling.as_secs_f64(),
        tally.files,
        bytes_per_flow
    )
}

fn write_versions(run: &Run, tally: &Tally, out: &mut impl Write) -> Result<()> {
    writeln!(out)?;
    writeln!(
        out,
        "{:<10}{:>10}{:>12}{:>14}{:>14}{:>18}{:>20}",
        "version",
        "exporters",
        "datagrams",
        "flows sent",
        "flows stored",
        "packets stored",
        "bytes stored"
    )?;
    for version in &run.sent.truth.versions {
        let mut stored = Sums::default();
        let senders = tally.senders.iter();
        for (_, sums) in senders.filter(|((_, of), _)| *of == version.version) {
            stored.add(sums);
        }
        let name = if version.version == 10 {
            "IPFIX".to_owned()
        } else {
            format!("v{}", version.version)
        };
        writeln!(
            out,
            "{name:<10}{:>10}{:>12}{:>14}{:>14}{:>18}{:>20}",
            version.exporters,
            thousands(version.counts.datagrams),
            thousands(version.counts.flows),
            thousands(stored.flows),
            thousands(stored.packets),
            thousands(stored.bytes)
        )?;
    }
    Ok(())
}

fn write_talkers(tally: &Tally, out: &mut impl Write) -> Result<()> {
    writeln!(out)?;
    writeln!(
        out,
        "{:<40}{:>12}{:>16}{:>20}",
        "top talkers", "flows", "packets", "bytes"
    )?;
    for (address, sums) in tally.top_talkers(TOP_TALKERS) {
        writeln!(
            out,
            "{:<40}{:>12}{:>16}{:>20}",
            address.to_string(),
            thousands(sums.flows),
            thousands(sums.packets),
            thousands(sums.bytes)
        )?;
    }
    writeln!(out)
}

fn write_verdict(run: &Run, differences: &[String], out: &mut impl Write) -> Result<()> {
    let (truth, dropped) = (&run.sent.truth, run.status.kernel_drops());
    for difference in differences.iter().take(DIFFERENCES_SHOWN) {
        writeln!(out, "DIFFERENT  {difference}")?;
    }
    if differences.len() > DIFFERENCES_SHOWN {
        writeln!(out, "and {} more", differences.len() - DIFFERENCES_SHOWN)?;
    }
    if dropped > 0 {
        writeln!(
            out,
            "lost: the kernel dropped exactly {} of {} datagrams, because a receive buffer of {} was full; \
             raise it with sudo sysctl -w net.core.rmem_max=67108864, or lower --rate",
            thousands(dropped),
            thousands(truth.total.datagrams),
            Size(run.receive_buffer_bytes as u64)
        )?;
    }
    match (differences, dropped) {
        ([], 0) => writeln!(
            out,
            "verified: nothing lost; datagrams, flows, packets and bytes of all {} exporters are as sent",
            truth.exporters.len()
        ),
        ([], _) => writeln!(
            out,
            "verified: every other datagram and all its flows are accounted for"
        ),
        _ => writeln!(out, "NOT verified: what was stored is not what was sent"),
    }
}
