//! What `route` is told, by flags and by the configuration file, before it is checked.
//!
//! One structure serves both, so that their names cannot drift apart. What is not told is `None`. The file has the names
//! of the flags at its top, and what flags cannot say in tables:
//!
//! ```toml
//! listen = ["0.0.0.0:2055", 4739]      # as --listen; a number is a port on every address
//! hash = "xxh3"                        # hash, shards and down at the top hold for routes that do not say otherwise
//! default = "192.0.2.9:2055"           # what no route takes goes there, of whatever version
//!
//! [[route]]                            # a route for each version, or one for several
//! versions = [9, 10]                   # default 5, 9 and 10
//! collectors = [                       # an address, or a table with more
//!     "192.0.2.1:2055",
//!     { address = "192.0.2.2:2055", weight = 2, probe = "http://192.0.2.2:9180/healthz" },
//! ]
//! shards = 7                           # default: the smallest prime that is not below the sum of the weights
//! hash = "address"                     # or "xxh3"
//! down = "spread"                      # or "hold", "spool": what becomes of the messages for a collector that is down
//!
//! [[route.pin]]                        # of the route above: its exporters of this prefix or address, whatever the hash
//! exporter = "198.51.100.0/24"
//! collector = "192.0.2.2:2055"         # one of the route's
//!
//! [[route.copy]]                       # of the route above: all its messages, or 1 in so many, besides
//! to = "192.0.2.8:2055"
//! every = 10                           # default 1: all
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use forebay_router::{Hash, Prefix, ProbeUrl};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::collect::Listen;
use crate::config_file::TableKeys;
use crate::units::{Period, Size, deserialize_from_text, export_version, socket_address};

/// The heading of how much is kept of what the network sends.
const LIMITS: &str = "Limits, of each thread";

/// Forward NetFlow and IPFIX to collectors, split by exporter, with the exporters' addresses kept.
///
/// SIGTERM and SIGINT forward what has come and end. SIGHUP, or a changed file, reloads the configuration: only exporters
/// whose collector changes move, and their templates go first.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct Raw {
    /// Read settings from a TOML file with the names of these flags; flags win
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(super) config: Option<PathBuf>,

    /// Where to listen: ADDR:PORT, or PORT for every address [default: 2055 and 4739]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub(super) listen: Vec<Listen>,

    /// How datagrams come in [default: socket]
    #[arg(long, value_enum)]
    pub(super) input: Option<InputName>,

    /// The interfaces to take packets from, with --input packets [default: all]
    #[arg(long, value_name = "IF,…", value_delimiter = ',')]
    pub(super) interface: Vec<String>,

    /// The collectors; a file can say more of them
    #[arg(long, value_name = "ADDR:PORT,…", value_delimiter = ',')]
    pub(super) to: Vec<Address>,

    /// The export versions that go there [default: 5,9,10]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = export_version)]
    pub(super) versions: Vec<u8>,

    /// How many shards exporters fall into; best a prime [default: the smallest that is enough]
    #[arg(long, value_name = "P")]
    pub(super) shards: Option<u32>,

    /// How an exporter's address becomes a shard [default: address]
    #[arg(long, value_enum)]
    pub(super) hash: Option<HashName>,

    /// What becomes of messages for a collector that is down [default: hold]
    #[arg(long, value_enum)]
    pub(super) down: Option<DownName>,

    /// Where datagrams go that no route takes [default: nowhere, but counted]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) default: Option<Address>,

    /// Whose address datagrams are sent from [default: exporter]
    #[arg(long, value_enum)]
    pub(super) source: Option<SourceName>,

    /// Threads that receive and send [default: one per core, at most 4]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,

    /// Socket buffer of each thread and address [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub(super) receive_buffer: Option<Size>,

    /// Packet ring of each thread, with --input packets [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub(super) ring_size: Option<Size>,

    /// The folder of what waits for a collector that is down [default: spool]
    #[arg(long, value_name = "DIR")]
    pub(super) spool: Option<PathBuf>,

    /// How much may wait there for each collector [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    pub(super) spool_size: Option<Size>,

    /// Serve /metrics, /stats and /healthz here
    #[arg(long, value_name = "ADDR:PORT", value_parser = socket_address)]
    pub(super) http: Option<SocketAddr>,

    /// How messages are logged, to standard error [default: text]
    #[arg(long, value_enum)]
    pub(super) log: Option<crate::collect::LogName>,

    /// Exit with 3 if any datagram that came was not sent on
    #[arg(long)]
    pub(super) fail_on_loss: bool,

    /// How long sending on may take at the end [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub(super) grace: Option<Period>,

    /// Exporters that are counted apart [default: 65536]
    #[arg(long, help_heading = LIMITS, value_name = "N")]
    pub(super) max_exporters: Option<usize>,

    /// Sessions and observation domains of which templates are kept [default: 131072]
    #[arg(long, help_heading = LIMITS, value_name = "N")]
    pub(super) max_domains: Option<usize>,

    /// The same, of an exporter [default: 4096]
    #[arg(long, help_heading = LIMITS, value_name = "N")]
    pub(super) max_domains_per_exporter: Option<usize>,

    /// Templates of an observation domain [default: 1024]
    #[arg(long, help_heading = LIMITS, value_name = "N")]
    pub(super) max_templates_per_domain: Option<usize>,

    /// Templates in all, with about 100 bytes for each that keeping it takes [default: 64MiB]
    #[arg(long, help_heading = LIMITS, value_name = "SIZE")]
    pub(super) max_template_size: Option<Size>,

    /// The routes of the file.
    #[arg(skip)]
    pub(super) route: Vec<Spanned<RawRoute>>,
}

/// A route of the configuration file: `[[route]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRoute {
    #[serde(default)]
    pub(super) versions: Vec<u8>,
    pub(super) collectors: Vec<Spanned<RawCollector>>,
    pub(super) shards: Option<u32>,
    pub(super) hash: Option<HashName>,
    pub(super) down: Option<DownName>,
    #[serde(default)]
    pub(super) pin: Vec<Spanned<RawPin>>,
    #[serde(default)]
    pub(super) copy: Vec<Spanned<RawCopy>>,
}

/// A collector of a route: its address, or a table with more.
#[derive(Debug, Clone)]
pub(super) struct RawCollector {
    pub(super) address: Address,
    pub(super) weight: Option<u32>,
    pub(super) probe: Option<ProbeUrl>,
}

/// `[[route.pin]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPin {
    #[serde(deserialize_with = "from_text")]
    pub(super) exporter: Prefix,
    pub(super) collector: Address,
}

/// `[[route.copy]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCopy {
    pub(super) to: Address,
    pub(super) every: Option<u32>,
}

/// What the file can say in tables.
pub(super) const TABLES: &[TableKeys] = &[TableKeys {
    name: "route",
    keys: &[
        "versions",
        "collectors",
        "shards",
        "hash",
        "down",
        "pin",
        "copy",
    ],
    tables: &[
        TableKeys {
            name: "collectors",
            keys: &["address", "weight", "probe"],
            tables: &[],
        },
        TableKeys {
            name: "pin",
            keys: &["exporter", "collector"],
            tables: &[],
        },
        TableKeys {
            name: "copy",
            keys: &["to", "every"],
            tables: &[],
        },
    ],
}];

/// An address and port to send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address(pub(super) SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!("\"{text}\" is no address and port: write it as 192.0.2.1:2055 or [2001:db8::1]:2055")
        })
    }
}

deserialize_from_text!(Address);

fn from_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(crate::units::FromText(std::marker::PhantomData))
}

impl<'de> Deserialize<'de> for RawCollector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AddressOrTable;

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            address: Address,
            weight: Option<u32>,
            #[serde(default, deserialize_with = "some_from_text")]
            probe: Option<ProbeUrl>,
        }

        fn some_from_text<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<ProbeUrl>, D::Error> {
            from_text(deserializer).map(Some)
        }

        impl<'de> Visitor<'de> for AddressOrTable {
            type Value = RawCollector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a collector: \"ADDR:PORT\", or a table of address, weight and probe, \
                     such as { address = \"192.0.2.1:2055\", weight = 2 }",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawCollector, E> {
                let address = text.parse().map_err(E::custom)?;
                Ok(RawCollector {
                    address,
                    weight: None,
                    probe: None,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawCollector, A::Error> {
                let Table {
                    address,
                    weight,
                    probe,
                } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawCollector {
                    address,
                    weight,
                    probe,
                })
            }
        }

        deserializer.deserialize_any(AddressOrTable)
    }
}

/// `--input`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum InputName {
    /// UDP sockets
    Socket,
    /// Packets as they pass the interfaces, beside a program that may have the port
    Packets,
}

/// `--hash`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum HashName {
    /// The address as an integer: neighbours go to neighbouring shards
    Address,
    /// XXH3 of the address: as good as random
    Xxh3,
}

impl From<HashName> for Hash {
    fn from(name: HashName) -> Self {
        match name {
            HashName::Address => Self::Address,
            HashName::Xxh3 => Self::Xxh3,
        }
    }
}

/// `--down`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DownName {
    /// They are sent all the same
    Hold,
    /// They go to the others until it is back
    Spread,
    /// They are kept in files, and sent when it is back
    Spool,
}

/// `--source`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceName {
    /// The exporter's, and its port: needs the right to forge them (CAP_NET_RAW)
    Exporter,
    /// This machine's: for networks that filter forged ones
    Own,
}

impl Raw {
    /// What is told here, and of `other` what is not.
    pub(super) fn over(self, other: Self) -> Self {
        let list = |own: Vec<u8>, other| if own.is_empty() { other } else { own };
        // Collectors by flag and routes of the file are two answers to one question.
        let route = if self.to.is_empty() {
            other.route
        } else {
            Vec::new()
        };
        Self {
            config: self.config,
            listen: if self.listen.is_empty() {
                other.listen
            } else {
                self.listen
            },
            input: self.input.or(other.input),
            interface: if self.interface.is_empty() {
                other.interface
            } else {
                self.interface
            },
            to: if self.to.is_empty() {
                other.to
            } else {
                self.to
            },
            versions: list(self.versions, other.versions),
            shards: self.shards.or(other.shards),
            hash: self.hash.or(other.hash),
            down: self.down.or(other.down),
            default: self.default.or(other.default),
            source: self.source.or(other.source),
            threads: self.threads.or(other.threads),
            receive_buffer: self.receive_buffer.or(other.receive_buffer),
            ring_size: self.ring_size.or(other.ring_size),
            spool: self.spool.or(other.spool),
            spool_size: self.spool_size.or(other.spool_size),
            http: self.http.or(other.http),
            log: self.log.or(other.log),
            fail_on_loss: self.fail_on_loss || other.fail_on_loss,
            grace: self.grace.or(other.grace),
            max_exporters: self.max_exporters.or(other.max_exporters),
            max_domains: self.max_domains.or(other.max_domains),
            max_domains_per_exporter: self
                .max_domains_per_exporter
                .or(other.max_domains_per_exporter),
            max_templates_per_domain: self
                .max_templates_per_domain
                .or(other.max_templates_per_domain),
            max_template_size: self.max_template_size.or(other.max_template_size),
            route,
        }
    }
}
