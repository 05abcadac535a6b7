//! A message as a tree for people.
//!
//! ```text
//! datagram 0  2026-11-21T16:40:00.000000000Z  192.0.2.1:50000 → 198.51.100.1:2055  NetFlow v9, 52 bytes
//!   count 2  uptime_ms 1000  export_time 2026-11-21T16:40:00Z  sequence 7  observation_domain 1
//!   set 0 at 20, 12 bytes: templates
//!     template 256 at 24: 1 field
//!       sourceIPv4Address (8), 4 bytes
//!   set 256 at 32, 12 bytes: records
//!     record 1 at 36
//!       sourceIPv4Address 192.0.2.1
//! ```

use std::io::{Result, Write};

use forebay_wire::set::Version;
use forebay_wire::{FieldSpecifier, Template};

use super::Shown;
use super::message::{Content, HeaderValue, MessageView, Problem, SetView, TemplateView};
use super::rows::{Rows, element_name, scope_name};
use super::templates::Change;

/// Writes a message.
pub(super) fn write(shown: &Shown<'_>, out: &mut impl Write) -> Result<()> {
    let Shown {
        number,
        datagram,
        message,
        ..
    } = shown;
    let kind = match message.version {
        None => "no message".to_owned(),
        Some(10) => "IPFIX".to_owned(),
        Some(version) => format!("NetFlow v{version}"),
    };
    writeln!(
        out,
        "datagram {number}  {}  {} → {}  {kind}, {} bytes",
        shown.time(),
        datagram.source,
        datagram.destination,
        datagram.payload.len()
    )?;
    write_header(message, out)?;
    for set in &message.sets {
        write_set(message.version, set, out)?;
    }
    write_problems("  ", &message.problems, out)
}

fn write_header(message: &MessageView<'_>, out: &mut impl Write) -> Result<()> {
    if message.header.is_empty() {
        return Ok(());
    }
    for (name, value) in &message.header {
        match value {
            HeaderValue::Number(number) => write!(out, "  {name} {number}")?,
            HeaderValue::Time(time) => write!(out, "  {name} {time}")?,
        }
    }
    writeln!(out)
}

fn write_set(version: Option<u8>, set: &SetView<'_>, out: &mut impl Write) -> Result<()> {
    write!(out, "  ")?;
    if let Some(id) = set.id {
        write!(out, "set {id} at {}, {} bytes: ", set.offset, set.bytes)?;
    }
    match &set.content {
        Content::Templates(templates) => {
            writeln!(out, "templates")?;
            for template in templates {
                write_template(version, template, out)?;
            }
        }
        Content::Records(rows) => {
            let kind = if rows.options() {
                "options records"
            } else {
                "records"
            };
            writeln!(out, "{kind}")?;
            write_rows(rows, out)?;
        }
        Content::NoTemplate => writeln!(out, "data without template")?,
        Content::Reserved => writeln!(out, "not specified")?,
    }
    write_problems("    ", &set.problems, out)
}

fn write_template(version: Option<u8>, view: &TemplateView, out: &mut impl Write) -> Result<()> {
    let (offset, template, change) = match view {
        TemplateView::Define {
            offset,
            template,
            change,
        } => (offset, template, change),
        TemplateView::Withdraw { id } => {
            return writeln!(
                out,
                "    withdrawal of template {id} (without effect over UDP)"
            );
        }
        TemplateView::WithdrawAll { options } => {
            let which = if *options {
                "options templates"
            } else {
                "templates"
            };
            return writeln!(
                out,
                "    withdrawal of all {which} (without effect over UDP)"
            );
        }
    };
    let Template { id, fields, .. } = template.as_ref();
    let kind = if template.is_options() {
        "options template"
    } else {
        "template"
    };
    let count = fields.len();
    let plural = if count == 1 { "" } else { "s" };
    let note = match change {
        Change::New | Change::Same => "",
        Change::Changed => ", not as before",
        Change::Refused => ", not kept: there are too many",
    };
    writeln!(
        out,
        "    {kind} {id} at {offset}: {count} field{plural}{note}"
    )?;
    let version = if version == Some(9) {
        Version::V9
    } else {
        Version::Ipfix
    };
    for (index, field) in fields.iter().enumerate() {
        let is_scope = index < usize::from(template.scope_count);
        write_field(version, *field, is_scope, out)?;
    }
    Ok(())
}

fn write_field(
    version: Version,
    field: FieldSpecifier,
    is_scope: bool,
    out: &mut impl Write,
) -> Result<()> {
    let (element, number) = (field.element, field.element.to_string());
    let name = if is_scope {
        write!(out, "      scope ")?;
        scope_name(version, element)
    } else {
        write!(out, "      ")?;
        element_name(element)
    };
    if name == number {
        write!(out, "{number}, ")?;
    } else {
        write!(out, "{name} ({number}), ")?;
    }
    match field.length {
        _ if field.is_variable() => writeln!(out, "variable length"),
        1 => writeln!(out, "1 byte"),
        length => writeln!(out, "{length} bytes"),
    }
}

fn write_rows(rows: &Rows<'_>, out: &mut impl Write) -> Result<()> {
    for (row, number) in rows.iter().zip(1_u32..) {
        match row {
            Ok(row) => {
                writeln!(out, "    record {number} at {}", row.offset)?;
                for (name, value) in row.fields() {
                    writeln!(out, "      {name} {value}")?;
                }
            }
            Err(problem) => write_problems("    ", &[problem], out)?,
        }
    }
    Ok(())
}

fn write_problems(indent: &str, problems: &[Problem], out: &mut impl Write) -> Result<()> {
    for Problem {
        offset,
        reason,
        what,
    } in problems
    {
        writeln!(out, "{indent}PROBLEM at {offset}: {what} ({reason})")?;
    }
    Ok(())
}
