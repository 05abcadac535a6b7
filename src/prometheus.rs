//! Prometheus's text format, written by hand: what is told is a snapshot of counters that others keep, so there is nothing
//! to register.

use std::fmt::Write;

/// A counter without labels.
pub(crate) fn counter(out: &mut String, name: &str, help: &str, count: u64) {
    let name = format!("{name}_total");
    header(out, &name, "counter", help);
    line(out, &name, count);
}

/// What stands above a metric's values.
pub(crate) fn header(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _written = write!(
        out,
        "# HELP forebay_{name} {help}\n# TYPE forebay_{name} {kind}\n"
    );
}

/// A value, with the labels that `name` has.
pub(crate) fn line(out: &mut String, name: &str, value: u64) {
    let _written = writeln!(out, "forebay_{name} {value}");
}

/// Checks that every line is one of the format; returns how many metrics there are.
#[cfg(test)]
pub(crate) fn check(text: &str) -> usize {
    let mut typed = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# TYPE ") {
            let (name, kind) = comment.split_once(' ').expect("a name and a type");
            assert!(!typed.contains(&name), "{name} twice");
            assert!(matches!(kind, "counter" | "gauge"), "{line}");
            typed.push(name);
        } else if !line.starts_with("# HELP ") {
            let (metric, value) = line.rsplit_once(' ').expect("a value");
            let name = metric.split('{').next();
            assert_eq!(name, typed.last().copied(), "{line}");
            value.parse::<u64>().expect(line);
        }
    }
    typed.len()
}
