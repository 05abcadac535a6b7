//! Rows as comma-separated values (RFC 4180, with plain line feeds).

use std::io::{Result, Write};

use super::cells::{Batch, Kind};

/// Writes the names of the columns.
pub(crate) fn write_header<N: AsRef<str>>(names: &[N], out: &mut impl Write) -> Result<()> {
    for (index, name) in names.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        write!(out, "{separator}{}", name.as_ref())?;
    }
    writeln!(out)
}

/// Appends the row as a line.
pub(crate) fn write(batch: &Batch<'_>, row: usize, out: &mut Vec<u8>) {
    for (index, column) in batch.columns().iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let Some(values) = column.at(row) else {
            continue;
        };
        let start = out.len();
        values.write(row, out);
        if values.kind() == Kind::Text {
            quote_from(start, out);
        }
    }
    out.push(b'\n');
}

/// Puts quotes around what stands from `start` on, where it needs them.
fn quote_from(start: usize, out: &mut Vec<u8>) {
    let text = out.split_off(start);
    // An empty text is not a null.
    let plain = !text.is_empty() && !text.iter().any(|byte| b",\"\r\n".contains(byte));
    if plain {
        out.extend(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_quotes_gets_them() {
        for (text, quoted) in [
            ("http", "http"),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("say \"a\"", "\"say \"\"a\"\"\""),
            ("a\nb", "\"a\nb\""),
        ] {
            let mut out = b"x,".to_vec();
            out.extend(text.bytes());
            quote_from(2, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), format!("x,{quoted}"));
        }
    }
}
