//! Flows as a table for people.

use std::io::{Result, Write};
use std::ops::Range;

use super::cells::Batch;

/// The columns that the table is made of unless others are asked for.
pub(super) const DEFAULT_COLUMNS: &[&str] = &[
    "first", "last", "protocol", "src_addr", "src_port", "dst_addr", "dst_port", "packets",
    "bytes", "exporter",
];

/// Rows that the widths of the columns are taken from: later ones stand out if they are wider.
const ROWS_MEASURED: usize = 1_000;

/// A table: the first rows wait until the widths are known.
pub(super) struct Table {
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
enum Source {
    /// A column as it is.
    Column,
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
    /// The table that fits a terminal.
    pub(super) fn readable() -> Self {
        let endpoint = |address, port| Source::Endpoint { address, port };
        Self::new(
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

    /// The table of these columns.
    pub(super) fn of(names: &[String]) -> Self {
        Self::new(
            names
                .iter()
                .map(|name| (name.clone(), Source::Column, false)),
        )
    }

    fn new(columns: impl IntoIterator<Item = (String, Source, bool)>) -> Self {
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

    pub(super) fn write(
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
    pub(super) fn finish(&mut self, out: &mut impl Write) -> Result<()> {
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

/// The names of the protocols that traffic is made of (IANA's "Protocol Numbers").
fn protocol(number: i64) -> String {
    match number {
        1 => "ICMP",
        2 => "IGMP",
        4 => "IPv4",
        6 => "TCP",
        17 => "UDP",
        41 => "IPv6",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "ICMPv6",
        89 => "OSPF",
        103 => "PIM",
        112 => "VRRP",
        115 => "L2TP",
        132 => "SCTP",
        other => return other.to_string(),
    }
    .to_owned()
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
