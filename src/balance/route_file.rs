//! The recommended split as a configuration of `forebay route`.

use std::net::SocketAddr;
use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result, bail};
use forebay_router::{Collector, Pin, Prefix, Route};

use super::Report;
use super::current::Current;
use super::words;

/// Writes the route that is recommended. Of the configuration in use, other routes and settings are kept.
///
/// # Errors
/// Nothing is recommended, or the file cannot be written.
pub(super) fn write(
    report: &Report<'_>,
    current: Option<&Current>,
    versions: &[u8],
    path: &Path,
) -> Result<()> {
    let Some(route) = recommended(report, current, versions) else {
        bail!("no split is recommended: {} is not written", path.display());
    };
    let mut text = String::new();
    for sentence in words::recommendation(report) {
        text.push_str(&format!("# {sentence}\n"));
    }
    let mut routes = vec![route];
    if let Some(current) = current {
        let others = current.config.routes.iter().enumerate();
        let others = others.filter(|(index, _)| *index != current.index());
        routes.extend(others.map(|(_, route)| route.clone()));
        if !current.settings.is_empty() {
            text.push('\n');
            text.push_str(&toml::to_string(&current.settings)?);
        }
    }
    for route in &routes {
        text.push('\n');
        text.push_str(&table(route));
    }
    put(path, &text).with_context(|| format!("cannot write {}", path.display()))
}

/// Puts a file in its place whole: a router may look at it any moment. One that is there keeps its rights, and a link to
/// it stays one. What is no file is written to as it is.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let there = fs::metadata(path).ok();
    let path = match &there {
        Some(there) if !there.is_file() => return fs::write(path, text),
        Some(_) => fs::canonicalize(path)?,
        None => path.to_owned(),
    };
    let Some(name) = path.file_name() else {
        return fs::write(path, text);
    };
    let mut new_name = name.to_owned();
    new_name.push(".new");
    let new = path.with_file_name(new_name);
    let put = || {
        fs::write(&new, text)?;
        if let Some(there) = there {
            fs::set_permissions(&new, there.permissions())?;
        }
        fs::rename(&new, &path)
    };
    put().inspect_err(|_| {
        // It may never have been made.
        let _gone = fs::remove_file(&new);
    })
}

fn recommended(report: &Report<'_>, current: Option<&Current>, versions: &[u8]) -> Option<Route> {
    let chosen = report.balance.evaluations.get(report.choice?.index)?;
    let mut collectors = report.collectors.known().to_vec();
    let address = |collector: usize| {
        let known = report.collectors.known().get(collector)?;
        Some(known.address)
    };
    let mut pins = Vec::new();
    for (exporters, collector) in report.collectors.pins() {
        pins.push(Pin {
            exporters: *exporters,
            collector: address(*collector)?,
        });
    }
    if let Some(advice) = &report.advice {
        for (collector, weight) in collectors.iter_mut().zip(&advice.weights) {
            collector.weight = *weight;
        }
        for pin in &advice.pins {
            pins.push(Pin {
                exporters: Prefix::new(pin.exporter, u8::MAX),
                collector: address(pin.collector)?,
            });
        }
    }
    let in_use = current.map(Current::route);
    Some(Route {
        // All of its versions, though only some may have been counted.
        versions: in_use.map_or(versions, |route| &route.versions).to_vec(),
        collectors,
        shards: chosen.split.shards,
        hash: chosen.split.hash,
        down: in_use.map(|route| route.down).unwrap_or_default(),
        pins,
        copies: in_use.map(|route| route.copies.clone()).unwrap_or_default(),
    })
}

/// A route as TOML.
fn table(route: &Route) -> String {
    let versions: Vec<String> = route.versions.iter().map(ToString::to_string).collect();
    let mut text = format!("[[route]]\nversions = [{}]\n", versions.join(", "));
    text.push_str("collectors = [\n");
    for collector in &route.collectors {
        text.push_str(&format!("    {},\n", entry(collector)));
    }
    text.push_str("]\n");
    text.push_str(&format!("shards = {}\n", route.shards));
    text.push_str(&format!("hash = \"{}\"\n", route.hash));
    text.push_str(&format!("down = \"{}\"\n", route.down.name()));
    for Pin {
        exporters,
        collector,
    } in &route.pins
    {
        text.push_str(&format!(
            "\n[[route.pin]]\nexporter = \"{exporters}\"\ncollector = \"{collector}\"\n"
        ));
    }
    for copy in &route.copies {
        let (to, every): (SocketAddr, _) = (copy.to, copy.every);
        text.push_str(&format!(
            "\n[[route.copy]]\nto = \"{to}\"\nevery = {every}\n"
        ));
    }
    text
}

fn entry(collector: &Collector) -> String {
    let address = collector.address;
    let mut parts = vec![format!("address = \"{address}\"")];
    if collector.weight != 1 {
        parts.push(format!("weight = {}", collector.weight));
    }
    if let Some(probe) = &collector.probe {
        // Nothing in a probe needs escaping but these.
        let probe = probe.to_string().replace('\\', "\\\\").replace('"', "\\\"");
        parts.push(format!("probe = \"{probe}\""));
    }
    if let [_] = parts.as_slice() {
        return format!("\"{address}\"");
    }
    format!("{{ {} }}", parts.join(", "))
}
