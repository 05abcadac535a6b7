//! The report as a page that needs nothing else: no script, no style or picture from elsewhere.

use std::fs::{self, OpenOptions};
use std::path::Path;

use anyhow::{Context, Result};

use super::{Told, plot, table, words};

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
    table{border-collapse:collapse;width:100%}td,th{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:right}\
    th{font-weight:600}td:last-child,th:last-child,.facts td,.facts th{text-align:left}\
    .lost{color:#c8461e}.result{font-size:1.15rem}svg{max-width:100%;height:auto}code{overflow-wrap:anywhere}";

const COLUMNS: [&str; 10] = [
    "step",
    "asked flows/s",
    "offered flows/s",
    "datagrams/s",
    "received flows/s",
    "lost flows",
    "loss",
    "CPU s/M flows",
    "memory",
    "",
];

/// Whether a page can be written there: better known before hours of searching than after. An empty one may be left.
pub(super) fn check(path: &Path) -> Result<()> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// Writes the page.
pub(super) fn write(told: &Told<'_>, path: &Path) -> Result<()> {
    let page = page(told).with_context(|| format!("cannot draw {}", path.display()))?;
    fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn page(told: &Told<'_>) -> Result<String> {
    let target = told.subject.target;
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>Highest lossless rate of {target}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Highest lossless rate of {target}</h1>\n"
    );
    for sentence in words::sentences(told) {
        page.push_str(&format!("<p class=\"result\">{}</p>\n", escaped(&sentence)));
    }
    if let Some(problem) = &told.results.problem {
        let problem = escaped(&problem.to_string());
        page.push_str(&format!(
            "<p class=\"lost\">The search ended before its end: {problem}</p>\n"
        ));
    }
    page.push_str(&plot::draw(&told.results.steps)?);
    page.push_str("\n<h2>Steps</h2>\n");
    page.push_str(&steps(told));
    page.push_str("<h2>Conditions</h2>\n");
    page.push_str(&facts(told));
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

fn steps(told: &Told<'_>) -> String {
    let mut text = "<table>\n<tr>".to_owned();
    for column in COLUMNS {
        text.push_str(&format!("<th>{column}</th>"));
    }
    text.push_str("</tr>\n");
    for step in &told.results.steps {
        text.push_str(if step.held {
            "<tr>"
        } else {
            "<tr class=\"lost\">"
        });
        for cell in table::cells(step) {
            text.push_str(&format!("<td>{}</td>", escaped(&cell)));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</table>\n");
    text
}

fn facts(told: &Told<'_>) -> String {
    let (conditions, subject) = (&told.conditions, told.subject);
    let settings = &told.settings;
    let unknown = || "unknown".to_owned();
    let facts = [
        ("started", conditions.started.clone()),
        ("command", conditions.shell()),
        (
            "recording",
            format!(
                "{}: {} flows in {} datagrams, again and again",
                subject.recording.display(),
                table::rate(told.flows as f64),
                table::rate(told.datagrams as f64)
            ),
        ),
        ("probes", told.probes.join("; ")),
        (
            "step",
            format!(
                "{} s, then until all is counted or nothing has come for {} s",
                told.step.as_secs_f64(),
                told.settle.as_secs_f64()
            ),
        ),
        (
            "precision",
            format!(
                "{} %, held {} times",
                settings.precision * 100.0,
                settings.confirm
            ),
        ),
        (
            "processor",
            format!(
                "{}, {} cores",
                conditions.processor.clone().unwrap_or_else(unknown),
                conditions.cores
            ),
        ),
        ("kernel", conditions.kernel.clone().unwrap_or_else(unknown)),
        ("forebay", conditions.version.to_owned()),
    ];
    let rows = facts.iter().map(|(name, fact)| {
        format!(
            "<tr><th>{name}</th><td><code>{}</code></td></tr>\n",
            escaped(fact)
        )
    });
    format!(
        "<table class=\"facts\">\n{}</table>\n",
        rows.collect::<String>()
    )
}

/// Text that is no markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
