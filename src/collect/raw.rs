//! What `collect` is told, by flags and by the configuration file, before it is checked.
//!
//! One structure serves both, so that their names cannot drift apart. What is not told is `None`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;
use clap::{Args, ValueEnum};
use forebay_udp::wildcard;
use serde::Deserialize;

use crate::config_file::{self, TableKeys};
use crate::outcome::WrongUsage;
use crate::units::{Period, Size, deserialize_from_text, export_version, socket_address};

/// The heading of how much is kept of what the network sends.
const LIMITS: &str = "Limits, of each shard";

/// Collect NetFlow and IPFIX into flow files.
///
/// Without flags: listen on UDP ports 2055 and 4739 and write to ./flows. SIGTERM and SIGINT write everything out and
/// end; SIGHUP ends the open segments, so that their flow files appear.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct Raw {
    /// Read settings from a TOML file with the names of these flags; flags win
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(super) config: Option<PathBuf>,

    /// Where to listen: ADDR:PORT, or PORT for every address [default: 2055 and 4739]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub(super) listen: Vec<Listen>,

    /// Read captures (pcap, pcapng; - is standard input) instead of listening
    #[arg(long, value_name = "CAPTURE", num_args = 1..)]
    pub(super) read: Vec<PathBuf>,

    /// The folder of flow files [default: flows]
    #[arg(long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,

    /// The export versions to accept [default: 1,5,7,9,10]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = export_version)]
    pub(super) versions: Vec<u8>,

    /// Threads that receive and decode [default: one per core, at most 4]
    #[arg(long, value_name = "N")]
    pub(super) shards: Option<usize>,

    /// What flow files are [default: parquet]
    #[arg(long, value_enum)]
    pub(super) format: Option<FormatName>,

    /// How flow files are compressed [default: zstd]
    #[arg(long, value_enum)]
    pub(super) compression: Option<CompressionName>,

    /// How long a flow file spans [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub(super) rotate: Option<Period>,

    /// The size at which a segment ends before its time [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    pub(super) rotate_size: Option<Size>,

    /// Stop settling while less space is free [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    pub(super) min_free: Option<Size>,

    /// Remove the oldest flow files beyond this size in all [default: never]
    #[arg(long, value_name = "SIZE")]
    pub(super) retain_size: Option<Size>,

    /// Remove flow files older than this [default: never]
    #[arg(long, value_name = "TIME")]
    pub(super) retain_age: Option<Period>,

    /// Socket buffer of each shard and address [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub(super) receive_buffer: Option<Size>,

    /// Decoded flows of a shard that may wait to be written [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    pub(super) queue_size: Option<Size>,

    /// Serve /metrics, /stats and /healthz here
    #[arg(long, value_name = "ADDR:PORT", value_parser = socket_address)]
    pub(super) http: Option<SocketAddr>,

    /// How messages are logged, to standard error [default: text]
    #[arg(long, value_enum)]
    pub(super) log: Option<LogName>,

    /// Exit with 3 if anything that was exported is not in the files
    #[arg(long)]
    pub(super) fail_on_loss: bool,

    /// How long writing out may take at the end [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub(super) grace: Option<Period>,

    /// Exporter addresses [default: 65536]
    #[arg(long, help_heading = LIMITS, value_name = "N")]
    pub(super) max_exporters: Option<usize>,

    /// Sessions and observation domains in all [default: 131072]
    #[arg(long, help_heading = LIMITS, value_name = "N")]
    pub(super) max_domains: Option<usize>,

    /// Sessions and observation domains of an exporter [default: 4096]
    #[arg(long, help_heading = LIMITS, value_name = "N")]
    pub(super) max_domains_per_exporter: Option<usize>,

    /// Templates in all [default: 262144]
    #[arg(long, help_heading = LIMITS, value_name = "N")]
    pub(super) max_templates: Option<usize>,

    /// Templates of an observation domain [default: 1024]
    #[arg(long, help_heading = LIMITS, value_name = "N")]
    pub(super) max_templates_per_domain: Option<usize>,

    /// Fields of a template [default: 1024]
    #[arg(long, help_heading = LIMITS, value_name = "N")]
    pub(super) max_fields: Option<usize>,

    /// Samplers of an observation domain [default: 1024]
    #[arg(long, help_heading = LIMITS, value_name = "N")]
    pub(super) max_samplers_per_domain: Option<usize>,

    /// Data sets waiting for their template, in all [default: 64MiB]
    #[arg(long, help_heading = LIMITS, value_name = "SIZE")]
    pub(super) max_pending: Option<Size>,

    /// Data sets of an exporter waiting for their template [default: 1MiB]
    #[arg(long, help_heading = LIMITS, value_name = "SIZE")]
    pub(super) max_pending_per_exporter: Option<Size>,

    /// How long a data set waits for its template [default: 300s]
    #[arg(long, help_heading = LIMITS, value_name = "TIME")]
    pub(super) max_pending_time: Option<Period>,

    /// Columns besides the standard ones.
    #[arg(skip)]
    pub(super) column: Vec<RawColumn>,
}

/// A column of the configuration file: `[[column]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawColumn {
    pub(super) name: String,
    pub(super) element: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// What the file can say in tables.
const TABLES: &[TableKeys] = &[TableKeys {
    name: "column",
    keys: &["name", "element", "type"],
    tables: &[],
}];

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listen(pub(crate) SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse() {
            return Ok(Self(wildcard(port)));
        }
        text.parse().map(Self).map_err(|_| {
            format!("\"{text}\" is no address to listen on: write ADDR:PORT, such as 0.0.0.0:2055 or [::]:2055, or PORT")
        })
    }
}

deserialize_from_text!(Listen);

/// What is wrong where the same is listened on twice, or an address besides every one of its kind. Of port 0, each is
/// another.
pub(crate) fn listens_twice(listen: &[SocketAddr]) -> Option<String> {
    let ip = |address: &SocketAddr| address.ip().to_canonical();
    let others = listen.iter().enumerate();
    let mut others = others.flat_map(|(index, one)| {
        let before = listen.iter().take(index);
        before.map(move |other| (one, other))
    });
    let (one, other) = others.find(|(one, other)| {
        let within = ip(one) == ip(other) || ip(one).is_unspecified() || ip(other).is_unspecified();
        one.port() != 0
            && one.port() == other.port()
            && ip(one).is_ipv4() == ip(other).is_ipv4()
            && within
    })?;
    Some(if one == other {
        format!("listen has {one} twice: remove one")
    } else {
        format!(
            "listen has {one} and {other}, of which one takes the other's datagrams: remove one"
        )
    })
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FormatName {
    /// Parquet: for any analytics engine
    Parquet,
    /// The segments as they were written: Arrow IPC streams
    Arrow,
}

/// `--compression`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CompressionName {
    /// The smallest files
    Zstd,
    /// The least work
    Lz4,
    /// Encodings only
    None,
}

/// `--log`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogName {
    /// A line for people
    Text,
    /// A JSON object and line
    Json,
}

impl Raw {
    /// The flags with what the configuration file adds to them. `check` looks at the file alone, so that what is wrong
    /// in it is told by its name.
    pub(super) fn with_file(self, check: fn(&Self) -> Result<()>) -> Result<Self> {
        match &self.config {
            Some(path) => {
                let file = config_file::load(path, TABLES)?.settings;
                check(&file).map_err(|error| WrongUsage(format!("{}: {error}", path.display())))?;
                Ok(self.over(file))
            }
            None => Ok(self),
        }
    }

    /// What is told here, and of `other` what is not.
    fn over(self, other: Self) -> Self {
        // Captures and sockets are two answers to one question.
        let (listen, read) = if self.listen.is_empty() && self.read.is_empty() {
            (other.listen, other.read)
        } else {
            (self.listen, self.read)
        };
        Self {
            config: self.config,
            listen,
            read,
            output: self.output.or(other.output),
            versions: if self.versions.is_empty() {
                other.versions
            } else {
                self.versions
            },
            shards: self.shards.or(other.shards),
            format: self.format.or(other.format),
            compression: self.compression.or(other.compression),
            rotate: self.rotate.or(other.rotate),
            rotate_size: self.rotate_size.or(other.rotate_size),
            min_free: self.min_free.or(other.min_free),
            retain_size: self.retain_size.or(other.retain_size),
            retain_age: self.retain_age.or(other.retain_age),
            receive_buffer: self.receive_buffer.or(other.receive_buffer),
            queue_size: self.queue_size.or(other.queue_size),
            http: self.http.or(other.http),
            log: self.log.or(other.log),
            fail_on_loss: self.fail_on_loss || other.fail_on_loss,
            grace: self.grace.or(other.grace),
            max_exporters: self.max_exporters.or(other.max_exporters),
            max_domains: self.max_domains.or(other.max_domains),
            max_domains_per_exporter: self
                .max_domains_per_exporter
                .or(other.max_domains_per_exporter),
            max_templates: self.max_templates.or(other.max_templates),
            max_templates_per_domain: self
                .max_templates_per_domain
                .or(other.max_templates_per_domain),
            max_fields: self.max_fields.or(other.max_fields),
            max_samplers_per_domain: self
                .max_samplers_per_domain
                .or(other.max_samplers_per_domain),
            max_pending: self.max_pending.or(other.max_pending),
            max_pending_per_exporter: self
                .max_pending_per_exporter
                .or(other.max_pending_per_exporter),
            max_pending_time: self.max_pending_time.or(other.max_pending_time),
            column: [self.column, other.column].concat(),
        }
    }
}
