//! The splits as a table for people.

use forebay_router::balance::{Evaluation, Measure};

use super::Report;
use crate::progress::{counted, thousands};
use crate::time::Rfc3339;

/// How many exporters are named as the heaviest.
const HEAVIEST: usize = 3;

/// The totals, the heaviest exporters, and a row for each split.
pub(super) fn text(report: &Report<'_>) -> String {
    let mut text = totals(report);
    text.push_str(&heaviest(report));
    let whose = if report.collectors.weights().is_empty() {
        "the fullest shard, over the mean"
    } else {
        "the fullest collector, over its share"
    };
    text.push_str(&format!("imbalance: {whose}; 1.00 is even\n\n"));
    let columns = columns(report);
    let mut rows = vec![columns.iter().map(|column| column.title()).collect()];
    for (index, evaluation) in report.balance.evaluations.iter().enumerate() {
        let chosen = report.choice.is_some_and(|choice| choice.index == index);
        let cells = columns.iter().map(|column| match column {
            Column::Mark if chosen => ">".to_owned(),
            Column::Mark => String::new(),
            column => column.cell(report, evaluation),
        });
        rows.push(cells.collect::<Vec<String>>());
    }
    text.push_str(&aligned(&rows, &columns));
    text.push('\n');
    text
}

fn totals(report: &Report<'_>) -> String {
    let (balance, tally) = (report.balance, report.tally);
    let mut parts: Vec<String> = Vec::new();
    for measure in report.measures() {
        let mut part = format!("{} {measure}", thousands(balance.total.of(measure)));
        if measure == Measure::Records && tally.estimated_records > 0 {
            part.push_str(&format!(
                " ({} estimated: their templates were not seen before them)",
                thousands(tally.estimated_records)
            ));
        }
        parts.push(part);
    }
    let mut text = format!(
        "{}: {}",
        counted(balance.exporters.len() as u64, "exporter"),
        parts.join(", ")
    );
    if tally.rates {
        text.push_str(" a second");
    } else if balance.seconds > 0 {
        text.push_str(&format!(" in {}", counted(balance.seconds, "second")));
    }
    text.push('\n');
    if balance.beyond_limit.datagrams > 0 || balance.beyond_limit.records > 0 {
        text.push_str(&format!(
            "left out: {} of exporters beyond {}\n",
            counted(balance.beyond_limit.datagrams, "datagram"),
            thousands(super::EXPORTERS_MAX as u64)
        ));
    }
    if tally.other_datagrams > 0 {
        text.push_str(&format!(
            "left out: {} of other versions or of something else\n",
            counted(tally.other_datagrams, "datagram")
        ));
    }
    text
}

fn heaviest(report: &Report<'_>) -> String {
    let balance = report.balance;
    let exporters = balance.heaviest(report.measure);
    let named: Vec<String> = exporters
        .iter()
        .take(HEAVIEST)
        .filter(|exporter| exporter.load.of(report.measure) > 0)
        .map(|exporter| {
            let share = percent(balance.share(exporter, report.measure));
            format!("{} {share}", exporter.exporter)
        })
        .collect();
    format!("heaviest by {}: {}\n", report.measure, named.join(", "))
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Mark,
    Shards,
    Prime,
    Hash,
    Imbalance(Measure),
    Floor,
    WorstSecond,
    At,
    Moved,
}

fn columns(report: &Report<'_>) -> Vec<Column> {
    let mut columns = vec![Column::Mark, Column::Shards, Column::Prime, Column::Hash];
    columns.extend(report.measures().into_iter().map(Column::Imbalance));
    columns.push(Column::Floor);
    let evaluations = &report.balance.evaluations;
    if evaluations.iter().any(|e| e.peak(report.measure).is_some()) {
        columns.extend([Column::WorstSecond, Column::At]);
    }
    if evaluations.iter().any(|e| e.moved.is_some()) {
        columns.push(Column::Moved);
    }
    columns
}

impl Column {
    fn title(self) -> String {
        match self {
            Self::Mark | Self::Prime => "",
            Self::Shards => "shards",
            Self::Hash => "hash",
            Self::Imbalance(measure) => measure.name(),
            Self::Floor => "floor",
            Self::WorstSecond => "worst second",
            Self::At => "at",
            Self::Moved => "moved",
        }
        .to_owned()
    }

    fn is_right(self) -> bool {
        !matches!(self, Self::Mark | Self::Prime | Self::Hash | Self::At)
    }

    fn cell(self, report: &Report<'_>, evaluation: &Evaluation) -> String {
        let measure = report.measure;
        let peak = evaluation.peak(measure);
        match self {
            Self::Mark => String::new(),
            Self::Shards => evaluation.split.shards.to_string(),
            Self::Prime if evaluation.prime => "prime".to_owned(),
            Self::Prime => String::new(),
            Self::Hash => evaluation.split.hash.to_string(),
            Self::Imbalance(measure) => ratio(evaluation.imbalance(measure)),
            Self::Floor => ratio(evaluation.floor(measure).map(|floor| floor.imbalance)),
            Self::WorstSecond => ratio(peak.and_then(|peak| peak.imbalance)),
            Self::At => peak.map_or("-".to_owned(), |peak| {
                Rfc3339::from_s(i64::try_from(peak.second).unwrap_or(i64::MAX)).to_string()
            }),
            Self::Moved => evaluation.moved.map_or("-".to_owned(), thousands),
        }
    }
}

/// A share of everything: `12.3 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// An imbalance with two decimals.
pub(super) fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
}

fn aligned(rows: &[Vec<String>], columns: &[Column]) -> String {
    let mut text = String::new();
    let width = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.get(index));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for ((cell, column), width) in row.iter().zip(columns).zip(&widths) {
            if column.is_right() {
                line.push_str(&format!("{cell:>width$}  "));
            } else {
                line.push_str(&format!("{cell:<width$}  "));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
