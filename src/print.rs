//! `forebay print`: flows as a table, JSON lines or CSV.

use std::io::{self, BufWriter, Write};
use std::ops::Range;

use anyhow::Result;
use clap::{Args, ValueEnum};
use forebay_store::{FlowFile, find_inputs};

use crate::outcome::Outcome;

mod cells;
mod choice;
mod csv;
mod json;
mod table;

use cells::Batch;
use choice::Choice;

/// Show flows: from flow files, segments, folders of them, or patterns.
///
/// Times are in UTC. Addresses of either family are src_addr, dst_addr, next_hop and bgp_next_hop.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Flow files, segments, folders, or patterns such as 'flows/family=ipv4/date=2026-11-*'
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,

    /// How flows are shown; json and csv show every column
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Stop after so many flows
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// Only these columns, in this order
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    columns: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One object per flow and line, without what is null
    Json,
    /// With a header; null is empty
    Csv,
}

/// A format at work.
enum Printer {
    Table(table::Table),
    Json,
    Csv,
}

pub(crate) fn run(flags: &Flags) -> Result<Outcome> {
    let paths = find_inputs(&flags.inputs)?;
    let choice = match (flags.format, flags.columns.as_slice()) {
        (Format::Table, []) => Choice::named(table::DEFAULT_COLUMNS),
        (Format::Json, []) => Choice::All,
        // A header names every column before the first flow is read.
        (Format::Csv, []) => Choice::every_column_of(&paths)?,
        (_, names) => Choice::checked(names, &paths)?,
    };
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut printer = match flags.format {
        Format::Table if flags.columns.is_empty() => Printer::Table(table::Table::readable()),
        Format::Table => Printer::Table(table::Table::of(&flags.columns)),
        Format::Json => Printer::Json,
        Format::Csv => {
            csv::write_header(&choice, &mut out)?;
            Printer::Csv
        }
    };
    let mut left = flags.limit.unwrap_or(u64::MAX);
    for path in &paths {
        if left == 0 {
            break;
        }
        let projection = choice.projection();
        let file = FlowFile::open(path, projection.as_deref())?;
        let family = file.family();
        for batch in file {
            let batch = batch?;
            let rows =
                usize::try_from(left).map_or(batch.num_rows(), |left| left.min(batch.num_rows()));
            left -= rows as u64;
            let batch = Batch::new(&batch, family, &choice, path)?;
            printer.write(&batch, 0..rows, &mut out)?;
            if left == 0 {
                break;
            }
        }
    }
    printer.finish(&mut out)?;
    out.flush()?;
    Ok(Outcome::Done)
}

impl Printer {
    fn write(
        &mut self,
        batch: &Batch<'_>,
        rows: Range<usize>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut line = Vec::with_capacity(1 << 10);
        match self {
            Self::Table(table) => table.write(batch, rows, out),
            Self::Json => rows.into_iter().try_for_each(|row| {
                line.clear();
                json::write(batch, row, &mut line);
                out.write_all(&line)
            }),
            Self::Csv => rows.into_iter().try_for_each(|row| {
                line.clear();
                csv::write(batch, row, &mut line);
                out.write_all(&line)
            }),
        }
    }

    fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Table(table) => table.finish(out),
            Self::Json | Self::Csv => Ok(()),
        }
    }
}
