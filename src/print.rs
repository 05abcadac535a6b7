//! `forebay print`: flows as a table, JSON lines or CSV.

use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, Result};
use arrow_schema::SchemaRef;
use clap::{Args, ValueEnum};
use forebay_analyze::Filter;
use forebay_store::{FlowFile, find_inputs};

use crate::condition;
use crate::outcome::Outcome;
use crate::show::cells::Batch;
use crate::show::table::{Source, Table};
use crate::show::{csv, json};

mod choice;

use choice::Choice;

/// The columns that the table is made of unless others are asked for.
const TABLE_COLUMNS: &[&str] = &[
    "first", "last", "protocol", "src_addr", "src_port", "dst_addr", "dst_port", "packets",
    "bytes", "exporter",
];

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

    /// Only flows for which this holds, such as 'protocol = tcp and dst_port in (80, 443)' (see docs/summarize.md)
    #[arg(long, value_name = "FILTER")]
    r#where: Option<String>,

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
    Table(Table),
    Json,
    Csv,
}

pub(crate) fn run(flags: &Flags) -> Result<Outcome> {
    let paths = find_inputs(&flags.inputs)?;
    let choice = match (flags.format, flags.columns.as_slice()) {
        (Format::Table, []) => Choice::named(TABLE_COLUMNS),
        (Format::Json, []) => Choice::All,
        // A header names every column before the first flow is read.
        (Format::Csv, []) => Choice::every_column_of(&paths)?,
        (_, names) => Choice::checked(names, &paths)?,
    };
    let filter = match &flags.r#where {
        Some(text) => Some(condition::read(text, || schemas_of(&paths))?),
        None => None,
    };
    let projection = choice.projection().map(|mut names| {
        names.extend(filter.iter().flat_map(Filter::columns));
        names
    });
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut printer = match flags.format {
        Format::Table if flags.columns.is_empty() => Printer::Table(readable_table()),
        Format::Table => Printer::Table(Table::new(
            (flags.columns.iter()).map(|name| (name.clone(), Source::Column, false)),
        )),
        Format::Json => Printer::Json,
        Format::Csv => {
            csv::write_header(choice.names(), &mut out)?;
            Printer::Csv
        }
    };
    let mut left = flags.limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    for path in &paths {
        if left == 0 {
            break;
        }
        let file = FlowFile::open(path, projection.as_deref())?;
        let family = file.family();
        for batch in file {
            let batch = batch?;
            let chosen = match &filter {
                Some(filter) => {
                    let chosen = filter.select(&batch, family);
                    let chosen = chosen.with_context(|| path.display().to_string())?;
                    chosen.set_slices().collect()
                }
                None => vec![(0, batch.num_rows())],
            };
            let shown = choice.shown(&batch.schema(), family);
            let batch = Batch::new(&batch, shown, path.display())?;
            for (start, end) in chosen {
                let rows = left.min(end - start);
                left -= rows;
                printer.write(&batch, start..start + rows, &mut out)?;
            }
            if left == 0 {
                break;
            }
        }
    }
    printer.finish(&mut out)?;
    out.flush()?;
    Ok(Outcome::Done)
}

fn schemas_of(paths: &[PathBuf]) -> Result<Vec<SchemaRef>> {
    let schema = |path: &PathBuf| Ok(FlowFile::open(path, None)?.schema());
    paths.iter().map(schema).collect()
}

/// The table that fits a terminal.
fn readable_table() -> Table {
    let endpoint = |address, port| Source::Endpoint { address, port };
    Table::new(
        [
            ("first", Source::Column, false),
            ("duration", Source::Duration, true),
            ("proto", Source::Protocol, false),
            ("source", endpoint("src_addr", "src_port"), false),
            ("destination", endpoint("dst_addr", "dst_port"), false),
            ("packets", Source::Column, true),
            ("bytes", Source::Column, true),
            ("exporter", Source::Column, false),
        ]
        .map(|(title, source, right)| (title.to_owned(), source, right)),
    )
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
