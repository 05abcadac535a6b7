//! `forebay dedupe` and `forebay merge`: flows that several exporters saw, told once; and all in the order of time.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use forebay_analyze::{
    Agreement, Control, DedupeError, DedupeOptions, DedupeReport, Inputs, Keep, Rules, dedupe,
};
use forebay_store::{Compression, FileFormat, find_inputs};

use crate::analysis::{Limits, end_by_signals, tell_skipped, with_progress};
use crate::outcome::{Outcome, WrongUsage};
use crate::units::{Count, Period};

mod report;

/// Remove the flows that another exporter has told too, and write what is left in the order of time.
///
/// Flows are the same if their keys are, other exporters or observation domains tell them, they begin and last about
/// as long, and their counters agree. The one that is kept tells who saw it: seen_by and seen_exporters. Inputs are flow
/// files, segments, folders of them, or patterns, in any order; they stay as they are. docs/dedupe.md has the rule.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Flow files, segments, folders, or patterns such as 'flows/family=ipv4/date=2026-11-*'
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,

    #[command(flatten)]
    output: Output,

    /// Only report what would be removed
    #[arg(long, conflicts_with_all = ["output", "format", "compression"])]
    dry_run: bool,

    /// The columns that are the same, or none to keep all [default: src_addr, dst_addr, src_port, dst_port, protocol
    /// and tos; of ICMP, type and code for the ports]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    key: Vec<String>,

    /// Remove repeats of the same exporter and observation domain too
    #[arg(long)]
    within: bool,

    /// How far apart they may begin
    #[arg(long, value_name = "TIME", default_value = "2s")]
    start_delta: Period,

    /// How far apart their durations may be
    #[arg(long, value_name = "TIME", default_value = "2s")]
    duration_delta: Period,

    /// How far apart their packets, and their bytes, may be: a number, or a part of the greater such as 1%
    #[arg(long, value_name = "N", default_value = "0", value_parser = count_delta)]
    count_delta: Agreement,

    /// What is not compared
    #[arg(long, value_enum, value_name = "WHAT,…", value_delimiter = ',')]
    ignore: Vec<Ignored>,

    /// Which one is kept: first, most-bytes, or exporter-order:FILE with an exporter's address per line, the best first
    #[arg(long, value_name = "WHICH", default_value = "first", value_parser = keep)]
    keep: KeepFlag,

    #[command(flatten)]
    limits: Limits,

    /// Report as a JSON object
    #[arg(long)]
    json: bool,
}

/// Merge flows into one dataset in the order of time, all of them.
///
/// It is dedupe with --key none: inputs in any order, output in the layout of the collector's.
#[derive(Debug, Args)]
pub(crate) struct MergeFlags {
    /// Flow files, segments, folders, or patterns such as 'flows/family=ipv4/date=2026-11-*'
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    limits: Limits,

    /// Report as a JSON object
    #[arg(long)]
    json: bool,
}

/// Where flows go.
#[derive(Debug, Args)]
struct Output {
    /// The folder of the new dataset, which appears when all is written; it is not there yet, or empty
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// What the files are
    #[arg(long, value_enum, default_value_t = FormatName::Parquet)]
    format: FormatName,

    /// How Parquet files are compressed [default: zstd]
    #[arg(long, value_enum)]
    compression: Option<CompressionName>,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    /// Parquet: for any analytics engine
    Parquet,
    /// Segments: Arrow IPC streams
    Arrow,
}

/// `--compression`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompressionName {
    /// The smallest files
    Zstd,
    /// The least work
    Lz4,
    /// Encodings only
    None,
}

/// `--ignore`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ignored {
    /// The number of packets
    Packets,
    /// The number of bytes
    Bytes,
    /// How long a flow lasts
    Duration,
}

/// `--keep`
#[derive(Debug, Clone, PartialEq, Eq)]
enum KeepFlag {
    First,
    MostBytes,
    ExporterOrder(PathBuf),
}

fn keep(text: &str) -> Result<KeepFlag, String> {
    match text {
        "first" => Ok(KeepFlag::First),
        "most-bytes" => Ok(KeepFlag::MostBytes),
        _ => match text.strip_prefix("exporter-order:") {
            Some(file) if !file.is_empty() => Ok(KeepFlag::ExporterOrder(file.into())),
            _ => Err("write first, most-bytes or exporter-order:FILE".to_owned()),
        },
    }
}

/// A number, or a percentage with at most four decimal places.
fn count_delta(text: &str) -> Result<Agreement, String> {
    let wrong =
        || format!("\"{text}\" is no number and no percentage: write 10, 1k, 1% or 0.5%, say");
    let Some(percent) = text.strip_suffix('%') else {
        let Count(number) = text.parse().map_err(|_| wrong())?;
        return Ok(Agreement::Within(number));
    };
    let (whole, decimals) = percent.split_once('.').unwrap_or((percent, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || decimals.len() > 4 || !is_number(whole) || !is_number(decimals) {
        return Err(wrong());
    }
    let digits = format!("{whole}{decimals:0<4}");
    let millionths = digits
        .parse()
        .ok()
        .filter(|&millionths| millionths <= 1_000_000);
    Ok(Agreement::WithinShare(millionths.ok_or_else(wrong)?))
}

pub(crate) fn run(flags: &Flags) -> Result<Outcome> {
    let us = |Period(period): Period| u64::try_from(period.as_micros()).unwrap_or(u64::MAX);
    let compared = |what, agreement| match flags.ignore.contains(&what) {
        true => Agreement::Any,
        false => agreement,
    };
    let default = DedupeOptions::default();
    let options = DedupeOptions {
        key: match flags.key.as_slice() {
            [] => default.key,
            [none] if none == "none" => None,
            names => Some(each_once(names)?),
        },
        rules: Rules {
            within: flags.within,
            start_delta_us: us(flags.start_delta),
            duration: compared(
                Ignored::Duration,
                Agreement::Within(us(flags.duration_delta)),
            ),
            packets: compared(Ignored::Packets, flags.count_delta),
            bytes: compared(Ignored::Bytes, flags.count_delta),
        },
        keep: match &flags.keep {
            KeepFlag::First => Keep::First,
            KeepFlag::MostBytes => Keep::MostBytes,
            KeepFlag::ExporterOrder(file) => Keep::ExporterOrder(exporter_order(file)?),
        },
        output: match flags.dry_run {
            true => None,
            false => Some(flags.output.checked("dedupe")?),
        },
        memory: flags.limits.memory()?,
        temp: flags.limits.temp(),
    };
    dedupe_inputs(&flags.inputs, &options, &flags.limits, flags.json)
}

pub(crate) fn merge(flags: &MergeFlags) -> Result<Outcome> {
    let options = DedupeOptions {
        key: None,
        output: Some(flags.output.checked("merge")?),
        memory: flags.limits.memory()?,
        temp: flags.limits.temp(),
        ..DedupeOptions::default()
    };
    dedupe_inputs(&flags.inputs, &options, &flags.limits, flags.json)
}

/// The columns of a key; one that stands there twice may have been meant to be another.
fn each_once(names: &[String]) -> Result<Vec<String>, WrongUsage> {
    for (place, name) in names.iter().enumerate() {
        if names[..place].contains(name) {
            let what = format!("--key: \"{name}\" is asked for twice: leave one out");
            return Err(WrongUsage(what));
        }
    }
    Ok(names.to_vec())
}

impl Output {
    fn checked(&self, command: &str) -> Result<(PathBuf, FileFormat)> {
        let Some(dir) = &self.output else {
            let or = if command == "dedupe" {
                ", or --dry-run"
            } else {
                ""
            };
            let what = format!("{command} needs --output, the folder of the new dataset{or}");
            return Err(WrongUsage(what).into());
        };
        let format = match (self.format, self.compression) {
            (FormatName::Arrow, None) => FileFormat::Segment,
            (FormatName::Arrow, Some(_)) => {
                let what = "--compression is for Parquet: leave it out with --format arrow";
                return Err(WrongUsage(what.to_owned()).into());
            }
            (FormatName::Parquet, compression) => FileFormat::Parquet(match compression {
                None | Some(CompressionName::Zstd) => Compression::Zstd,
                Some(CompressionName::Lz4) => Compression::Lz4,
                Some(CompressionName::None) => Compression::None,
            }),
        };
        Ok((dir.clone(), format))
    }
}

fn dedupe_inputs(
    inputs: &[String],
    options: &DedupeOptions,
    limits: &Limits,
    json: bool,
) -> Result<Outcome> {
    let input_options = limits.input_options()?;
    if let Some((output, _)) = &options.output {
        refuse_within(output, inputs)?;
    }
    let paths = find_inputs(inputs)?;
    let control = Arc::new(Control::default());
    end_by_signals(&control)?;
    let work = || -> Result<DedupeReport, DedupeError> {
        let mut inputs = Inputs::open(&paths, input_options, &control)?;
        dedupe(&mut inputs, options, &control)
    };
    let done = with_progress(&control, work).map_err(|error| match error {
        DedupeError::NoSuchColumn { .. } | DedupeError::NoKey { .. } => {
            WrongUsage(format!("--key: {error}")).into()
        }
        other => anyhow::Error::from(other),
    })?;
    tell_skipped(&done.skipped);
    report::write(&done, options, json)?;
    Ok(Outcome::Done)
}

/// Refuses an output below an input: who reads that folder again would count flows twice.
fn refuse_within(output: &Path, inputs: &[String]) -> Result<(), WrongUsage> {
    let Ok(output) = std::path::absolute(output) else {
        return Ok(());
    };
    // As far as it is there, without links.
    let there = |path: &'_ Path| {
        let rest = output.strip_prefix(path).ok()?;
        Some(path.canonicalize().ok()?.join(rest))
    };
    let Some(place) = output.ancestors().find_map(there) else {
        return Ok(());
    };
    for input in inputs {
        let folder = Path::new(input).canonicalize();
        if folder.is_ok_and(|folder| place.starts_with(&folder) && place != folder) {
            let what = format!(
                "--output {} is within the input {input}, whose flows would count twice when it is read again: name a folder beside it",
                output.display()
            );
            return Err(WrongUsage(what));
        }
    }
    Ok(())
}

/// The exporters that a file names, an address per line, as flow files write them.
fn exporter_order(file: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().map(str::trim).zip(1..);
    let named = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    named
        .map(|(line, number)| {
            let address: IpAddr = line.parse().map_err(|_| {
                anyhow!(
                    "{}:{number}: \"{line}\" is no address: write an exporter's per line",
                    file.display()
                )
            })?;
            Ok(address.to_canonical().to_string())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_deltas_are_numbers_or_parts() {
        for (text, agreement) in [
            ("0", Agreement::EXACT),
            ("1k", Agreement::Within(1000)),
            ("1%", Agreement::WithinShare(10_000)),
            ("0.5%", Agreement::WithinShare(5_000)),
            ("100%", Agreement::WithinShare(1_000_000)),
            ("0.0001%", Agreement::WithinShare(1)),
        ] {
            assert_eq!(count_delta(text), Ok(agreement), "{text}");
        }
        for text in ["", "%", "-1", "101%", ".5%", "1.00001%", "1 %", "x"] {
            assert!(count_delta(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_order_of_exporters_has_addresses() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("order");
        let text = "# nearest first\n192.0.2.1\n\n 2001:DB8:0:0::1\n";
        fs::write(&file, text).expect("it is written");
        let order = exporter_order(&file).expect("addresses");
        assert_eq!(order, ["192.0.2.1", "2001:db8::1"]);
        fs::write(&file, "192.0.2.1\nrouter-1\n").expect("it is written");
        let error = exporter_order(&file).expect_err("a name");
        assert!(
            error.to_string().contains("order:2: \"router-1\""),
            "{error}"
        );
    }

    #[test]
    fn what_is_kept_is_named() {
        assert_eq!(keep("most-bytes"), Ok(KeepFlag::MostBytes));
        assert_eq!(
            keep("exporter-order:a"),
            Ok(KeepFlag::ExporterOrder("a".into()))
        );
        assert!(keep("exporter-order:").is_err() && keep("last").is_err());
    }
}
