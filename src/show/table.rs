//! Rows as a table for people.

use std::io::{Result, Write};
use std::ops::Range;

use forebay_analyze::protocol_name;

use super::cells::Batch;
use crate::progress::thousands;

/// Rows that the widths of the columns are taken from: later ones stand out if they are wider.
const ROWS_MEASURED: usize = 1_000;

/// A table: the first rows wait until the widths are known.
pub(crate) struct Table {
    columns: Vec<TableColumn>,
    waiting: Vec<Vec<String>>,
    header_written: bool,
}

struct TableColumn {
    title: String,
    source: Source,
    right: bool,
    width: usize,
}

/// Where a column of the table comes from.
pub(crate) enum Source {
    /// A column as it is.
    Column,
    /// A column of whole numbers, with their thousands apart.
    Count,
    /// A column of seconds.
    Seconds,
    /// From the first to the last packet.
    Duration,
    /// The protocol's name.
    Protocol,
    /// Address and port.
    Endpoint {
        address: &'static str,
        port: &'static str,
    },
}

impl Table {
    /// The table of these columns, each with its title, and whether it stands on the right.
    pub(crate) fn new(columns: impl IntoIterator<Item = (String, Source, bool)>) -> Self {
        let columns = columns
            .into_iter()
            .map(|(title, source, right)| TableColumn {
                width: title.chars().count(),
                title,
                source,
                right,
            });
        Self {
            columns: columns.collect(),
            waiting: Vec::new(),
            header_written: false,
        }
    }

    pub(crate) fn write(
        &mut self,
        batch: &Batch<'_>,
        rows: Range<usize>,
        out: &mut impl Write,
    ) -> Result<()> {
        for row in rows {
            let cells = self
                .columns
                .iter()
                .map(|column| column.text(batch, row))
                .collect();
            if self.header_written {
                self.write_row(&cells, out)?;
            } else {
                self.measure(&cells);
                self.waiting.push(cells);
                if self.waiting.len() >= ROWS_MEASURED {
                    self.finish(out)?;
                }
            }
        }
        Ok(())
    }

    /// Writes what waits.
    pub(crate) fn finish(&mut self, out: &mut impl Write) -> Result<()> {
        if !self.header_written {
            self.header_written = true;
            let titles = self
                .columns
                .iter()
                .map(|column| column.title.clone())
                .collect();
            self.write_row(&titles, out)?;
        }
        for row in std::mem::take(&mut self.waiting) {
            self.write_row(&row, out)?;
        }
        Ok(())
    }

    fn measure(&mut self, cells: &Vec<String>) {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.width = column.width.max(cell.chars().count());
        }
    }

    fn write_row(&self, cells: &Vec<String>, out: &mut impl Write) -> Result<()> {
        let mut line = String::new();
        for (column, cell) in self.columns.iter().zip(cells) {
            let width = column.width;
            if column.right {
                line.push_str(&format!("{cell:>width$}  "));
            } else {
                line.push_str(&format!("{cell:<width$}  "));
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

impl TableColumn {
    fn text(&self, batch: &Batch<'_>, row: usize) -> String {
        let number = |name: &str| batch.column(name)?.at(row)?.number(row);
        let text = match &self.source {
            Source::Column => text(batch, &self.title, row),
            Source::Count => count(batch, &self.title, row),
            Source::Seconds => seconds(batch, &self.title, row),
            Source::Duration => (|| duration(number("last")?.checked_sub(number("first")?)?))(),
            Source::Protocol => number("protocol").map(protocol),
            Source::Endpoint { address, port } => endpoint(batch, address, port, row),
        };
        text.unwrap_or_else(|| "-".to_owned())
    }
}

fn text(batch: &Batch<'_>, name: &str, row: usize) -> Option<String> {
    let values = batch.column(name)?.at(row)?;
    let mut text = Vec::new();
    values.write(row, &mut text);
    let text = String::from_utf8_lossy(&text);
    // A terminal must not obey what an exporter sends.
    Some(text.escape_debug().collect())
}

fn count(batch: &Batch<'_>, name: &str, row: usize) -> Option<String> {
    let text = text(batch, name, row)?;
    Some(text.parse().map(thousands).unwrap_or(text))
}

fn seconds(batch: &Batch<'_>, name: &str, row: usize) -> Option<String> {
    let text = text(batch, name, row)?;
    Some(
        text.parse::<f64>()
            .map_or(text, |seconds| format!("{seconds:.3}")),
    )
}

/// Seconds with three decimals. Less than none is told as it is.
fn duration(us: i64) -> Option<String> {
    let sign = if us < 0 { "-" } else { "" };
    let ms = us.unsigned_abs() / 1_000;
    Some(format!("{sign}{}.{:03}", ms / 1_000, ms % 1_000))
}

fn endpoint(batch: &Batch<'_>, address: &str, port: &str, row: usize) -> Option<String> {
    let shown = text(batch, address, row)?;
    let is_ipv6 = batch.column(address)?.at(row)?.is_ipv6();
    Some(match text(batch, port, row) {
        Some(port) if is_ipv6 => format!("[{shown}]:{port}"),
        Some(port) => format!("{shown}:{port}"),
        None => shown,
    })
}

/// The protocol's name, or its number if it has none here.
fn protocol(number: i64) -> String {
    let name = u8::try_from(number).ok().and_then(protocol_name);
    name.map_or_else(|| number.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_their_sign() {
        for (us, text) in [(0, "0.000"), (1_234_567, "1.234"), (-1_234_567, "-1.234")] {
            assert_eq!(duration(us).as_deref(), Some(text));
        }
    }

    #[test]
    fn protocols_without_a_name_are_numbers() {
        assert_eq!(protocol(6), "TCP");
        assert_eq!(protocol(253), "253");
    }
}
