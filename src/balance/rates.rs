//! Exporters with their rates, as CSV.
//!
//! ```text
//! exporter,records,datagrams
//! 192.0.2.1,1.5k,60
//! 2001:db8::7,200,8
//! ```
//!
//! A line of two cells without a header is an exporter and its records a second. Quotes around a cell, blank lines and
//! lines that begin with `#` are allowed.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use forebay_router::balance::{Counter, Load};

use crate::nearest::nearest;
use crate::units::Rate;

/// A list of more exporters than are kept, with long lines, is smaller.
const BYTES_MAX: u64 = 64 << 20;

const COLUMNS: [&str; 4] = ["exporter", "datagrams", "records", "bytes"];

/// The index of the column that names who sends.
const EXPORTER: usize = 0;

/// Which rates a list has, whatever their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns(Vec<usize>);

impl Columns {
    fn of(columns: &[usize]) -> Self {
        let mut rates = columns.to_vec();
        rates.retain(|column| *column != EXPORTER);
        rates.sort_unstable();
        Self(rates)
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().filter_map(|column| COLUMNS.get(*column));
        f.write_str(&names.copied().collect::<Vec<_>>().join(", "))
    }
}

/// Counts the rates in a file; `None` of a file without any.
pub(super) fn read(path: &Path, counter: &mut Counter<'_>) -> Result<Option<Columns>> {
    let name = path.display();
    let mut bytes = Vec::new();
    // What is no file may have no end.
    File::open(path)
        .and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > BYTES_MAX {
        bail!("{name} is larger than 64 MiB: that is no list of exporters");
    }
    let text = str::from_utf8(&bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow::anyhow!(
            "{name}:{line}: there is something that is not UTF-8: save the list as UTF-8"
        )
    })?;
    parse(text, &mut |exporter, load| {
        counter.add(exporter, None, load);
    })
    .map_err(|(line, what)| anyhow::anyhow!("{name}:{line}: {what}"))
}

/// Hands over each line, and returns the columns, if there are any; an error comes with the line's number.
fn parse(
    text: &str,
    add: &mut impl FnMut(IpAddr, &Load),
) -> Result<Option<Columns>, (usize, String)> {
    let mut columns: Option<Vec<usize>> = None;
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim().trim_start_matches('\u{feff}');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let cells: Vec<&str> = line
            .split(',')
            .map(|cell| cell.trim().trim_matches('"').trim())
            .collect();
        let columns = match &columns {
            Some(columns) => columns,
            None => {
                let is_data = cells.iter().any(|cell| cell.parse::<IpAddr>().is_ok());
                let found = if is_data {
                    // The exporter and its records.
                    vec![EXPORTER, 2]
                } else {
                    header(&cells).map_err(|what| (number, what))?
                };
                let found = columns.insert(found);
                if !is_data {
                    continue;
                }
                found
            }
        };
        let (exporter, load) = row(&cells, columns).map_err(|what| (number, what))?;
        add(exporter, &load);
    }
    Ok(columns.map(|columns| Columns::of(&columns)))
}

/// The columns in their order, as indexes into [`COLUMNS`].
fn header(cells: &[&str]) -> Result<Vec<usize>, String> {
    let mut columns = Vec::new();
    for cell in cells {
        let name = cell.to_ascii_lowercase();
        let Some(column) = COLUMNS.iter().position(|column| *column == name) else {
            let near = nearest(&name, COLUMNS.into_iter());
            let near = near.map_or(String::new(), |near| format!(": did you mean \"{near}\"?"));
            return Err(format!(
                "there is no column \"{cell}\", but exporter, datagrams, records and bytes{near}"
            ));
        };
        if columns.contains(&column) {
            return Err(format!("column \"{cell}\" is there twice"));
        }
        columns.push(column);
    }
    if !columns.contains(&EXPORTER) || columns.len() < 2 {
        return Err("a column \"exporter\" and one of rates are needed".to_owned());
    }
    Ok(columns)
}

fn row(cells: &[&str], columns: &[usize]) -> Result<(IpAddr, Load), String> {
    if cells.len() != columns.len() {
        return Err(format!(
            "there {} where {} are expected",
            match cells.len() {
                1 => "is 1 cell".to_owned(),
                cells => format!("are {cells} cells"),
            },
            columns.len()
        ));
    }
    let mut exporter = None;
    let mut load = Load::default();
    for (cell, column) in cells.iter().zip(columns) {
        let rate = || {
            cell.parse::<Rate>()
                .map(|Rate(rate)| rate)
                .map_err(|error| error.to_string())
        };
        match *column {
            EXPORTER => {
                let address = cell.parse::<IpAddr>();
                exporter = Some(address.map_err(|_| format!("\"{cell}\" is no IP address"))?);
            }
            1 => load.datagrams = rate()?,
            2 => load.records = rate()?,
            _ => load.bytes = rate()?,
        }
    }
    let exporter = exporter.ok_or_else(|| "the exporter is missing".to_owned())?;
    Ok((exporter, load))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exporter; datagrams, records and bytes.
    type Row = (String, [u64; 3]);

    fn rows(text: &str) -> Result<Vec<Row>, (usize, String)> {
        let mut rows = Vec::new();
        parse(text, &mut |exporter, load| {
            let Load {
                datagrams,
                records,
                bytes,
            } = *load;
            rows.push((exporter.to_string(), [datagrams, records, bytes]));
        })?;
        Ok(rows)
    }

    #[test]
    fn columns_go_by_their_names() {
        let text = "# seen on Monday\nBytes, exporter ,\"records\"\n\n1.5k,192.0.2.1,20/s\r\n7,\"2001:db8::7\",0\n";
        assert_eq!(
            rows(text),
            Ok(vec![
                ("192.0.2.1".to_owned(), [0, 20, 1_500]),
                ("2001:db8::7".to_owned(), [0, 0, 7]),
            ])
        );
    }

    #[test]
    fn without_a_header_it_is_records() {
        assert_eq!(
            rows("192.0.2.1,2M"),
            Ok(vec![("192.0.2.1".to_owned(), [0, 2_000_000, 0])])
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, what) in [
            ("exporter,record\n", 1, "did you mean \"records\"?"),
            ("exporter\n", 1, "one of rates"),
            ("records,bytes\n", 1, "\"exporter\""),
            ("exporter,bytes,bytes\n", 1, "twice"),
            ("exporter,records\nhost,1\n", 2, "\"host\" is no IP address"),
            ("exporter,records\n\n192.0.2.1,many\n", 3, "\"many\" is no"),
            ("192.0.2.1,1\n192.0.2.2,1,2\n", 2, "3 cells where 2"),
            ("192.0.2.1\n", 1, "there is 1 cell where 2"),
        ] {
            let (at, told) = rows(text).expect_err(text);
            assert!(at == line && told.contains(what), "{at}: {told}");
        }
    }
}
