//! What `collect` is told, checked whole: nothing is opened before this stands.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use forebay_collector::{Columns, Config, DecoderConfig, ExtraType, Format, Limits};
use forebay_store::{Compression, Retention};
use forebay_udp::{SocketOptions, wildcard};
use forebay_wire::ElementId;

use super::raw::{CompressionName, FormatName, LogName, Raw, RawColumn, listens_twice};
use crate::nearest::nearest;
use crate::outcome::WrongUsage;
use crate::units::{Period, Size};

/// More shards than this are for machines that need them: each has files of its own.
const SHARDS_BY_DEFAULT_MAX: usize = 4;
const SHARDS_MAX: usize = 1_024;
const PORTS: [u16; 2] = [2055, 4739];
const VERSIONS: [u8; 5] = [1, 5, 7, 9, 10];
const ROTATE_MAX: Duration = Duration::from_secs(3_600);

/// What to do.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) source: Source,
    pub(super) collector: Config,
    pub(super) http: Option<SocketAddr>,
    pub(super) log: LogName,
    pub(super) fail_on_loss: bool,
    pub(super) grace: Duration,
}

/// Where datagrams come from.
#[derive(Debug)]
pub(super) enum Source {
    Sockets {
        listen: Vec<SocketAddr>,
        shards: usize,
        options: SocketOptions,
    },
    Captures(Vec<PathBuf>),
}

impl Settings {
    /// Checks what was told, and adds what was not.
    ///
    /// # Errors
    /// Something makes no sense: wrong usage, by the name of the setting.
    pub(super) fn new(raw: Raw) -> Result<Self> {
        let raw = raw.with_file(check)?;
        Self::checked(&raw)
    }

    fn checked(raw: &Raw) -> Result<Self> {
        let columns = columns(&raw.column)?;
        let defaults = DecoderConfig::default();
        let rotation_seconds = match raw.rotate {
            Some(period) => rotation(period)?,
            None => defaults.rotation_seconds,
        };
        let collector = Config {
            decoder: DecoderConfig {
                columns,
                versions: versions(&raw.versions)?,
                limits: limits(raw)?,
                rotation_seconds,
                ..defaults
            },
            output: raw.output.clone().unwrap_or_else(|| PathBuf::from("flows")),
            format: format(raw)?,
            segment_bytes: size("rotate-size", raw.rotate_size, 1 << 30, 1 << 20)?,
            min_free_bytes: size("min-free", raw.min_free, 1 << 30, 0)?,
            retention: retention(raw, rotation_seconds)?,
            queue_bytes: bytes("queue-size", raw.queue_size, 256 << 20, 1 << 20)?,
        };
        Ok(Self {
            source: source(raw)?,
            collector,
            http: raw.http,
            log: raw.log.unwrap_or(LogName::Text),
            fail_on_loss: raw.fail_on_loss,
            grace: raw
                .grace
                .map_or(Duration::from_secs(10), |Period(grace)| grace),
        })
    }
}

/// Whether a configuration file makes sense by itself.
fn check(file: &Raw) -> Result<()> {
    Settings::checked(file).map(drop)
}

fn wrong<T>(what: String) -> Result<T> {
    Err(WrongUsage(what).into())
}

fn source(raw: &Raw) -> Result<Source> {
    if !raw.read.is_empty() {
        if !raw.listen.is_empty() {
            return wrong("read and listen exclude each other: give one of them".to_owned());
        }
        if raw.shards.is_some_and(|shards| shards != 1) {
            return wrong("shards are for listening: captures are read by one".to_owned());
        }
        return Ok(Source::Captures(raw.read.clone()));
    }
    let listen: Vec<SocketAddr> = raw.listen.iter().map(|listen| listen.0).collect();
    if let Some(what) = listens_twice(&listen) {
        return wrong(what);
    }
    let shards = match raw.shards {
        None => thread::available_parallelism()
            .map_or(1, NonZero::get)
            .min(SHARDS_BY_DEFAULT_MAX),
        Some(shards @ 1..=SHARDS_MAX) => shards,
        Some(shards) => {
            return wrong(format!(
                "shards is {shards}, but must be from 1 to {SHARDS_MAX}"
            ));
        }
    };
    Ok(Source::Sockets {
        listen: if listen.is_empty() {
            PORTS.map(wildcard).to_vec()
        } else {
            listen
        },
        shards,
        options: SocketOptions {
            receive_buffer_bytes: bytes("receive-buffer", raw.receive_buffer, 64 << 20, 1 << 16)?,
        },
    })
}

fn versions(told: &[u8]) -> Result<Vec<u8>> {
    if let Some(version) = told.iter().find(|version| !VERSIONS.contains(version)) {
        return wrong(format!(
            "versions: {version} is none that can be collected: choose from 1, 5, 7, 9 and 10"
        ));
    }
    Ok(if told.is_empty() {
        VERSIONS.to_vec()
    } else {
        told.to_vec()
    })
}

fn rotation(Period(period): Period) -> Result<u32> {
    if period.subsec_nanos() != 0 || period.is_zero() || period > ROTATE_MAX {
        return wrong(format!(
            "rotate is {period:?}, but must be whole seconds from 1s to 1h"
        ));
    }
    Ok(u32::try_from(period.as_secs()).unwrap_or(u32::MAX))
}

fn format(raw: &Raw) -> Result<Format> {
    let compression = match raw.compression {
        None | Some(CompressionName::Zstd) => Compression::Zstd,
        Some(CompressionName::Lz4) => Compression::Lz4,
        Some(CompressionName::None) => Compression::None,
    };
    match raw.format {
        None | Some(FormatName::Parquet) => Ok(Format::Parquet(compression)),
        Some(FormatName::Arrow) if raw.compression.is_none() => Ok(Format::Arrow),
        Some(FormatName::Arrow) => {
            wrong("compression is for parquet: leave it out with format arrow".to_owned())
        }
    }
}

fn size(name: &str, told: Option<Size>, default: u64, least: u64) -> Result<u64> {
    match told {
        None => Ok(default),
        Some(Size(size)) if size >= least => Ok(size),
        Some(size) => wrong(format!(
            "{name} is {size}, but must be at least {}",
            Size(least)
        )),
    }
}

/// A size of something in memory.
fn bytes(name: &str, told: Option<Size>, default: u64, least: u64) -> Result<usize> {
    let size = size(name, told, default, least)?;
    match usize::try_from(size) {
        // Sockets take 31 bits, and nothing of the rest should be larger.
        Ok(bytes) if size <= 1 << 40 => Ok(bytes),
        _ => wrong(format!(
            "{name} is {}, more than any machine has",
            Size(size)
        )),
    }
}

/// Retention removes flows for good: 0, which means "no limit" elsewhere, is none of its values.
fn retention(raw: &Raw, rotation_seconds: u32) -> Result<Retention> {
    let bytes = match raw.retain_size {
        None => None,
        told => Some(size("retain-size", told, 0, 1 << 20)?),
    };
    if let Some(Period(age)) = raw.retain_age {
        let least = Duration::from_secs(rotation_seconds.into());
        if age < least {
            return wrong(format!(
                "retain-age is {age:?}, but must be at least {least:?}, which a flow file spans"
            ));
        }
    }
    Ok(Retention {
        bytes,
        age_us: raw.retain_age.map(micros),
    })
}

fn micros(Period(period): Period) -> i64 {
    i64::try_from(period.as_micros()).unwrap_or(i64::MAX)
}

fn limits(raw: &Raw) -> Result<Limits> {
    let default = Limits::default();
    let count = |name: &str, told: Option<usize>, default: usize| match told {
        Some(0) => wrong(format!("{name} is 0, but must be at least 1")),
        told => Ok(told.unwrap_or(default)),
    };
    let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let pending_seconds = match raw.max_pending_time {
        Some(Period(time)) => u32::try_from(time.as_secs()).unwrap_or(u32::MAX),
        None => default.pending_seconds,
    };
    Ok(Limits {
        exporters: count("max-exporters", raw.max_exporters, default.exporters)?,
        domains: count("max-domains", raw.max_domains, default.domains)?,
        domains_per_exporter: count(
            "max-domains-per-exporter",
            raw.max_domains_per_exporter,
            default.domains_per_exporter,
        )?,
        templates_per_domain: count(
            "max-templates-per-domain",
            raw.max_templates_per_domain,
            default.templates_per_domain,
        )?,
        templates: count("max-templates", raw.max_templates, default.templates)?,
        fields_per_template: count("max-fields", raw.max_fields, default.fields_per_template)?,
        samplers_per_domain: count(
            "max-samplers-per-domain",
            raw.max_samplers_per_domain,
            default.samplers_per_domain,
        )?,
        pending_bytes_per_exporter: bytes(
            "max-pending-per-exporter",
            raw.max_pending_per_exporter,
            wide(default.pending_bytes_per_exporter),
            0,
        )?,
        pending_bytes: bytes(
            "max-pending",
            raw.max_pending,
            wide(default.pending_bytes),
            0,
        )?,
        pending_seconds,
    })
}

fn columns(raw: &[RawColumn]) -> Result<Columns> {
    let mut columns = Columns::default();
    for RawColumn {
        name,
        element,
        kind,
    } in raw
    {
        let told = |error: String| WrongUsage(format!("column \"{name}\": {error}"));
        let element: ElementId = element.parse().map_err(|error| told(format!("{error}")))?;
        let names = ExtraType::NAMES.iter();
        let Some((_, kind)) = names.clone().find(|(known, _)| known == kind) else {
            let known: Vec<&str> = names.map(|(known, _)| *known).collect();
            let near = nearest(kind, known.iter().copied());
            let near = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
            let known = known.join(", ");
            return Err(told(format!("\"{kind}\" is no type: choose from {known}{near}")).into());
        };
        // The error says the name.
        columns
            .add(name, element, *kind)
            .map_err(|error| WrongUsage(error.to_string()))?;
    }
    Ok(columns)
}

#[cfg(test)]
mod tests;
