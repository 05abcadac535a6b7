//! `forebay summarize`: flows in groups.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use arrow_schema::SchemaRef;
use clap::{Args, ValueEnum};
use forebay_analyze::{
    AnalyzeError, Answer, Control, Counts, Filter, Inputs, Key, Sort, Summary, SummaryError, Value,
    columns_of, parse_time, summarize,
};
use forebay_store::{FlowParts, find_inputs, received_us};
use serde_json::json;

use crate::analysis::{Limits, end_by_signals, tell_skipped, with_progress};
use crate::outcome::{Outcome, WrongUsage, tell};
use crate::progress::counted;
use crate::units::{Count, Period, Size};
use crate::{clock, condition};

mod output;

use output::Output;

/// Group flows by a key, and add up what they carried: from flow files, segments, folders of them, or patterns.
///
/// By default the 5-tuples, with flows, packets, bytes, first and last. Times are UTC. docs/summarize.md has all columns
/// and the filter.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Flow files, segments, folders, or patterns such as 'flows/family=ipv4/date=2026-11-*'
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,

    /// What groups have in common: columns, src_addr, dst_addr, next_hop, src_prefix/24, dst_prefix/24/64, hour, minute,
    /// bucket:5m, date, src_port_class, dst_port_class, family [default: the 5-tuple]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    by: Vec<String>,

    /// What is told of each group: flows, packets, bytes, duration, first, last, tcp_flags, icmp_type, icmp_code,
    /// exporters, src_count, dst_count [default: flows,packets,bytes,first,last]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    values: Vec<String>,

    /// Only flows for which this holds, such as 'protocol = tcp and dst_port in (80, 443)'
    #[arg(long, value_name = "FILTER")]
    r#where: Option<String>,

    /// Only flows received from this time on, such as '2026-11-21 10:00'
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<i64>,

    /// Only flows received before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<i64>,

    /// Only groups that have at least so much: flows=10, duration=5s
    #[arg(long, value_name = "VALUE=N,…", value_delimiter = ',')]
    min: Vec<String>,

    /// Only the first so many groups; by the first value from the greatest down, if --sort says nothing else
    #[arg(long, value_name = "N")]
    top: Option<usize>,

    /// In this order: a value from the greatest down, a key from the least up; :asc and :desc say otherwise, and -NAME is
    /// NAME:desc
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        allow_hyphen_values = true,
        value_parser = sort_name
    )]
    sort: Vec<String>,

    /// Multiply packets and bytes by each flow's sampling rate
    #[arg(long)]
    scale_sampling: bool,

    /// Estimate exporters, src_count and dst_count, within a few percent and in little memory
    #[arg(long)]
    approx: bool,

    /// How the answer is written [default: table, or as the ending of --output says]
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// Write to this file: .csv, .jsonl, .parquet, .arrow or .txt
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    limits: Limits,

    /// Tell on standard error, as a line of JSON, what was read and how long it took
    #[arg(long)]
    stats: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One object per group and line, without what is null
    Json,
    /// With a header; null is empty
    Csv,
}

/// What may begin with a hyphen may be the next flag, where the name was forgotten.
fn sort_name(text: &str) -> Result<String, String> {
    match text.starts_with("--") {
        true => Err("a name such as bytes or -bytes is expected there".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn time(text: &str) -> Result<i64, String> {
    parse_time(text).ok_or_else(|| {
        format!("\"{text}\" is no time: write it in UTC as '2026-11-21 10:00', 2026-11-21T10:00:00Z or 2026-11-21")
    })
}

pub(crate) fn run(flags: &Flags) -> Result<Outcome> {
    let started = clock::now();
    if let (Some(from), Some(to)) = (flags.from, flags.to)
        && from >= to
    {
        let what = "--from is not before --to: no flow is received between them";
        return Err(WrongUsage(what.to_owned()).into());
    }
    let paths = find_inputs(&flags.inputs)?;
    if let Some(output) = &flags.output {
        refuse_input(output, &paths)?;
    }
    let (paths, left_out) = within(paths, flags.from, flags.to);
    let control = Arc::new(Control::default());
    end_by_signals(&control)?;
    let output = Output::new(flags.format, flags.output.as_deref())?;
    let mut inputs = Inputs::open(&paths, flags.limits.input_options()?, &control)?;
    let summary = match summary(flags, &schemas(&inputs)) {
        // It may be about a column that none of the files has.
        Err(error) if !left_out.is_empty() => {
            let others = Inputs::open(&left_out, flags.limits.input_options()?, &control);
            let others = others.map_err(|_| error)?;
            summary(flags, &[schemas(&inputs), schemas(&others)].concat())?
        }
        summary => summary?,
    };
    let answer = with_progress(&control, || summarize(&mut inputs, &summary, &control));
    let answer = answer.map_err(usage)?;
    tell_skipped(inputs.skipped());
    let told = Told::new(&answer, &inputs, left_out.len());
    let schema = answer.schema();
    let batches = answer.map(|batch| {
        if control.is_stopped() {
            return Err(AnalyzeError::Stopped.into());
        }
        Ok(batch?)
    });
    output.write(&schema, batches, inputs.threads())?;
    if let Some(path) = &flags.output {
        let groups = counted(told.counts.groups, "group");
        let flows = counted(told.counts.rows_chosen, "flow");
        writeln!(io::stdout(), "{}: {groups} of {flows}", path.display())?;
    }
    if flags.stats {
        let took = clock::now().duration_since(started);
        tell(&told.json(took));
    }
    Ok(Outcome::Done)
}

/// Flows that are summarized must not be replaced by their summary.
fn refuse_input(output: &Path, inputs: &[PathBuf]) -> Result<(), WrongUsage> {
    let Ok(place) = output.canonicalize() else {
        // It is not there yet.
        return Ok(());
    };
    let is_place = |input: &PathBuf| input.canonicalize().is_ok_and(|input| input == place);
    if inputs.iter().any(is_place) {
        let what = format!(
            "--output {} is one of the inputs: choose another name",
            output.display()
        );
        return Err(WrongUsage(what));
    }
    Ok(())
}

/// The files that may have flows received from `from` on and before `to`, and those that need not be opened.
fn within(paths: Vec<PathBuf>, from: Option<i64>, to: Option<i64>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    if from.is_none() && to.is_none() {
        return (paths, Vec::new());
    }
    paths.into_iter().partition(|path| {
        received_us(path).is_none_or(|hour| {
            from.is_none_or(|from| hour.end > from) && to.is_none_or(|to| hour.start < to)
        })
    })
}

fn schemas(inputs: &Inputs) -> Vec<SchemaRef> {
    inputs.files().iter().map(FlowParts::schema).collect()
}

/// What is asked, checked whole.
fn summary(flags: &Flags, schemas: &[SchemaRef]) -> Result<Summary> {
    let columns = columns_of(schemas.iter().map(AsRef::as_ref));
    let default = Summary::default();
    let by: Result<Vec<Key>, SummaryError> = flags
        .by
        .iter()
        .map(|name| Key::parse(name, &columns))
        .collect();
    let values: Result<Vec<Value>, SummaryError> =
        flags.values.iter().map(|name| Value::parse(name)).collect();
    let (by, values) = (by.map_err(asked)?, values.map_err(asked)?);
    let condition = match &flags.r#where {
        Some(text) => Some(condition::read(text, || Ok(schemas.to_vec()))?),
        None => None,
    };
    let times = (flags.from.is_some() || flags.to.is_some())
        .then(|| Filter::received(flags.from, flags.to));
    let filter = match (times, condition) {
        (Some(times), Some(condition)) => Some(times.and(condition)),
        (times, condition) => times.or(condition),
    };
    let values = if values.is_empty() {
        default.values
    } else {
        values
    };
    let mut sort: Vec<Sort> = flags.sort.iter().map(|text| Sort::parse(text)).collect();
    if flags.top.is_some() && sort.is_empty() {
        sort.extend(values.first().map(|value| Sort::parse(value.name())));
    }
    Ok(Summary {
        by: if by.is_empty() { default.by } else { by },
        values,
        filter,
        least: flags
            .min
            .iter()
            .map(|text| least(text))
            .collect::<Result<_>>()?,
        sort,
        top: flags.top,
        scale_sampling: flags.scale_sampling,
        approx: flags.approx,
        memory: flags.limits.memory()?,
        temp_dir: flags.limits.temp(),
    })
}

/// `flows=10`, `bytes=5MiB`, `duration=1.5s`.
fn least(text: &str) -> Result<(Value, u64)> {
    let wrong = || {
        let what = format!(
            "--min \"{text}\" is no value and number: write flows=10, bytes=5MiB or duration=1.5s"
        );
        anyhow::Error::new(WrongUsage(what))
    };
    let (name, least) = text.split_once('=').ok_or_else(wrong)?;
    let value = Value::parse(name.trim()).map_err(asked)?;
    let number = if value == Value::Duration {
        let Period(period) = least.parse().map_err(|_| wrong())?;
        u64::try_from(period.as_micros()).unwrap_or(u64::MAX)
    } else {
        let size = least.parse().map(|Size(bytes)| bytes);
        let count = least.parse().map(|Count(count)| count);
        size.or(count).map_err(|_| wrong())?
    };
    Ok((value, number))
}

fn asked(error: SummaryError) -> anyhow::Error {
    WrongUsage(error.to_string()).into()
}

/// What was asked may turn out to make no sense only when it is put together.
fn usage(error: AnalyzeError) -> anyhow::Error {
    match error {
        AnalyzeError::Summary(error) => asked(error),
        other => other.into(),
    }
}

/// What is told of the work.
struct Told {
    counts: Counts,
    files: usize,
    left_out: usize,
    skipped: usize,
    rows: u64,
}

impl Told {
    fn new(answer: &Answer, inputs: &Inputs, left_out: usize) -> Self {
        Self {
            counts: answer.counts(),
            files: inputs.files().len(),
            left_out,
            skipped: inputs.skipped().len(),
            rows: inputs.rows(),
        }
    }

    fn json(&self, took: Duration) -> String {
        let Self { counts, .. } = self;
        json!({
            "files": self.files,
            "files_left_out": self.left_out,
            "files_passed_over": self.skipped,
            "parts": counts.parts,
            "parts_left_out": counts.parts_left_out,
            "rows": self.rows,
            "rows_read": counts.rows_read,
            "rows_chosen": counts.rows_chosen,
            "groups": counts.groups,
            "spilled_bytes": counts.spilled_bytes,
            "peak_bytes": counts.peak_bytes,
            "seconds": took.as_secs_f64(),
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_input_is_not_written_over_however_it_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let input = folder.path().join("flows.parquet");
        fs::write(&input, "flows").expect("writes");
        fs::create_dir(folder.path().join("sub")).expect("makes");
        let inputs = [input.clone()];
        let refused = |output: &Path| refuse_input(output, &inputs).is_err();
        assert!(refused(&input));
        assert!(refused(&folder.path().join("sub/../flows.parquet")));
        assert!(!refused(&folder.path().join("other.parquet")));
    }
}
