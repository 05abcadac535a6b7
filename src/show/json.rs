//! A row as a line of JSON.

use super::cells::{Batch, Kind};

/// Appends the row's columns that are not null, as an object and a line.
pub(crate) fn write(batch: &Batch<'_>, row: usize, out: &mut Vec<u8>) {
    let mut separator = b'{';
    for column in batch.columns() {
        let Some(values) = column.at(row) else {
            continue;
        };
        out.push(separator);
        separator = b',';
        // Names of columns are made of letters, digits and _.
        out.push(b'"');
        out.extend(column.name.bytes());
        out.extend(b"\":");
        match values.kind() {
            Kind::Number => values.write(row, out),
            Kind::Plain => {
                out.push(b'"');
                values.write(row, out);
                out.push(b'"');
            }
            Kind::Text => {
                let mut raw = Vec::new();
                values.write(row, &mut raw);
                let text = String::from_utf8_lossy(&raw);
                // Text into memory: nothing can fail.
                let _written = serde_json::to_writer(&mut *out, &text);
            }
        }
    }
    if separator == b'{' {
        out.push(b'{');
    }
    out.extend(b"}\n");
}
