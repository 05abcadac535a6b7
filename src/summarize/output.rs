//! Where an answer goes, and in which form.

use std::io::{self, BufWriter, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use forebay_store::{TableFormat, TableWriter};

use super::Format;
use crate::outcome::WrongUsage;
use crate::show::cells::Batch;
use crate::show::table::{Source, Table};
use crate::show::{csv, json};
use crate::whole_file::WholeFile;

const BUFFER: usize = 1 << 16;
/// So many batches at most are made into text at once: their lines are in memory.
const ASIDE_MAX: usize = 16;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text(Format),
    Columns(TableFormat),
}

/// Where an answer goes, before there is one.
pub(super) enum Output {
    Standard(Format),
    File {
        whole: WholeFile,
        path: PathBuf,
        form: Form,
    },
}

impl Output {
    /// A file of the form that its name tells, or standard output. The file is begun at once: a place that cannot be
    /// written to is known before anything is read.
    pub(super) fn new(format: Option<Format>, path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::Standard(format.unwrap_or(Format::Table)));
        };
        let form = match format {
            Some(format) => Form::Text(format),
            None => form_of(path)?,
        };
        Ok(Self::File {
            whole: WholeFile::create(path)?,
            path: path.to_owned(),
            form,
        })
    }

    /// Writes the answer, which so many threads bring into its form: how many rows it has. A file has its name only then.
    pub(super) fn write(
        self,
        schema: &SchemaRef,
        batches: impl Iterator<Item = Result<RecordBatch>>,
        threads: usize,
    ) -> Result<u64> {
        match self {
            Self::Standard(format) => {
                let out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
                write_text(format, out, schema, batches, threads, Into::into)
            }
            Self::File { whole, path, form } => {
                let rows = match form {
                    Form::Text(format) => {
                        let out = BufWriter::with_capacity(BUFFER, whole.file()?);
                        let told = |error: io::Error| {
                            let what = format!("cannot write {}", path.display());
                            anyhow::Error::new(error).context(what)
                        };
                        write_text(format, out, schema, batches, threads, told)?
                    }
                    Form::Columns(format) => {
                        let mut writer =
                            TableWriter::new(whole.file()?, &path, format, schema, threads)?;
                        let mut rows = 0;
                        for batch in batches {
                            let batch = batch?;
                            rows += batch.num_rows() as u64;
                            writer.write(&batch)?;
                        }
                        writer.finish()?;
                        rows
                    }
                };
                whole.finish()?;
                Ok(rows)
            }
        }
    }
}

fn form_of(path: &Path) -> Result<Form> {
    let extension = path.extension().unwrap_or_default();
    Ok(match extension.to_str().unwrap_or_default() {
        "csv" => Form::Text(Format::Csv),
        "json" | "jsonl" | "ndjson" => Form::Text(Format::Json),
        "txt" => Form::Text(Format::Table),
        "parquet" => Form::Columns(TableFormat::Parquet),
        "arrow" => Form::Columns(TableFormat::Arrow),
        _ => {
            let what = format!(
                "{} tells no form by its ending: use .csv, .jsonl, .parquet, .arrow or .txt, or --format",
                path.display()
            );
            return Err(WrongUsage(what).into());
        }
    })
}

fn write_text(
    format: Format,
    mut out: impl Write,
    schema: &SchemaRef,
    mut batches: impl Iterator<Item = Result<RecordBatch>>,
    threads: usize,
    told: impl Fn(io::Error) -> anyhow::Error,
) -> Result<u64> {
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    if format == Format::Csv {
        csv::write_header(&names, &mut out).map_err(&told)?;
    }
    let mut table = table(schema);
    let mut rows = 0;
    loop {
        let some = batches.by_ref().take(threads.clamp(1, ASIDE_MAX));
        let some: Vec<RecordBatch> = some.collect::<Result<_>>()?;
        if some.is_empty() {
            break;
        }
        rows += some
            .iter()
            .map(|batch| batch.num_rows() as u64)
            .sum::<u64>();
        if format == Format::Table {
            for batch in &some {
                let count = batch.num_rows();
                let batch = shown(batch, &names)?;
                table.write(&batch, 0..count, &mut out).map_err(&told)?;
            }
            continue;
        }
        for lines in lines_of(format, &some, &names) {
            out.write_all(&lines?).map_err(&told)?;
        }
    }
    if format == Format::Table {
        table.finish(&mut out).map_err(&told)?;
    }
    out.flush().map_err(&told)?;
    Ok(rows)
}

fn shown<'b>(batch: &'b RecordBatch, names: &[&str]) -> Result<Batch<'b>> {
    let shown = names
        .iter()
        .map(|&name| (name.to_owned(), vec![name.to_owned()]));
    Batch::new(batch, shown, "the answer")
}

/// The lines of batches, in their order, each made by a thread.
fn lines_of(format: Format, batches: &[RecordBatch], names: &[&str]) -> Vec<Result<Vec<u8>>> {
    let lines = |batch: &RecordBatch| {
        let rows = 0..batch.num_rows();
        let batch = shown(batch, names)?;
        let mut lines = Vec::with_capacity(BUFFER);
        match format {
            Format::Json => rows.for_each(|row| json::write(&batch, row, &mut lines)),
            Format::Csv | Format::Table => {
                rows.for_each(|row| csv::write(&batch, row, &mut lines));
            }
        }
        Ok(lines)
    };
    let Some((first, others)) = batches.split_first() else {
        return Vec::new();
    };
    thread::scope(|scope| {
        let aside = |batch| {
            let aside = thread::Builder::new().spawn_scoped(scope, move || lines(batch));
            // Where there are no more threads, this one does it.
            aside.map_err(|_| batch)
        };
        let others: Vec<_> = others.iter().map(aside).collect();
        let mut made = vec![lines(first)];
        for other in others {
            made.push(match other.map(thread::ScopedJoinHandle::join) {
                Ok(lines) => lines.unwrap_or_else(|panic| panic::resume_unwind(panic)),
                Err(batch) => lines(batch),
            });
        }
        made
    })
}

/// The table of an answer: numbers stand on the right, large ones with their thousands apart.
fn table(schema: &SchemaRef) -> Table {
    let columns = schema.fields().iter().map(|field| {
        let name = field.name().clone();
        let (source, right) = match field.data_type() {
            DataType::UInt64 => (Source::Count, true),
            DataType::Float64 => (Source::Seconds, true),
            DataType::UInt8 if name == "protocol" => (Source::Protocol, false),
            kind => (Source::Column, kind.is_integer()),
        };
        (name, source, right)
    });
    Table::new(columns)
}
