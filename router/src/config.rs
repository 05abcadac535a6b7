//! What the router is told: routes, their collectors, and how much is kept of what the network sends.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::str::FromStr;

use thiserror::Error;

use crate::hash::{Hash, smallest_prime_from};
use crate::prefix::Prefix;
use crate::table::{MAX_SHARDS, TableError};

/// The most that a collector may weigh: with a few collectors their sum stays within
/// [`MAX_SHARDS`].
pub const MAX_WEIGHT: u32 = 1_000;

/// The most addresses that datagrams may go to: collectors of all routes, copies and the default.
pub const MAX_TARGETS: usize = 1_024;

/// The versions that a route may take.
pub const VERSIONS: [u8; 5] = [1, 5, 7, 9, 10];

/// Where everything goes. [`Routing::new`](crate::Routing::new) checks it whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The routes: of each version, there is at most one.
    pub routes: Vec<Route>,
    /// Where datagrams go that no route takes. Default nowhere: they are counted as rejected.
    pub default: Option<SocketAddr>,
}

/// Where messages of some versions go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The versions that it takes, some of [`VERSIONS`].
    pub versions: Vec<u8>,
    /// The collectors, among which exporters are split.
    pub collectors: Vec<Collector>,
    /// How many shards exporters fall into. Default [`default_shards`].
    pub shards: NonZero<u32>,
    /// How an exporter's address becomes a shard.
    pub hash: Hash,
    /// What becomes of messages for a collector that is down.
    pub down: Down,
    /// Exporters that go to a given collector whatever the hash says. The longest prefix counts.
    pub pins: Vec<Pin>,
    /// Where messages go besides.
    pub copies: Vec<CopyTo>,
}

/// A collector of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its part of the shards, in proportion to the others'. With 0 it gets what is pinned to it. Default 1, at most
    /// [`MAX_WEIGHT`].
    pub weight: u32,
    /// What to ask whether it is up. A collector on this machine is known to be down also when nobody listens on its
    /// address.
    pub probe: Option<ProbeUrl>,
}

/// Exporters that go to a given collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// The exporters.
    pub exporters: Prefix,
    /// The collector, one of the route's.
    pub collector: SocketAddr,
}

/// Where a route's messages go besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyTo {
    /// The address, none of the route's collectors.
    pub to: SocketAddr,
    /// 1 in so many messages goes there, and every one that carries templates. 1 is all.
    pub every: NonZero<u32>,
}

/// What becomes of messages for a collector that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Down {
    /// They are sent all the same.
    #[default]
    Hold,
    /// Its shards go to the others until it is back.
    Spread,
    /// They are kept in files and sent when it is back.
    Spool,
}

impl Down {
    /// Its name in configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Spread => "spread",
            Self::Spool => "spool",
        }
    }
}

/// How much a thread keeps of what the network sends. Each limit has a counter of what it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Exporter addresses that are counted apart. Default 65,536. The least recently heard goes first; its counts are
    /// added to those of the others.
    pub exporters: usize,
    /// Sessions (address, port, version and observation domain) of which templates are kept. Default 131,072.
    pub domains: usize,
    /// The same, of one exporter address. Default 4,096.
    pub domains_per_exporter: usize,
    /// Templates of one session and observation domain. Default 1,024.
    pub templates_per_domain: usize,
    /// Bytes of templates in all, with about 100 for each that keeping it takes. Default 64 MiB.
    pub template_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exporters: 65_536,
            domains: 131_072,
            domains_per_exporter: 4_096,
            templates_per_domain: 1_024,
            template_bytes: 64 << 20,
        }
    }
}

/// Which part of a configuration an error is about, by indexes from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// A route.
    Route(usize),
    /// A route's collector.
    Collector(usize, usize),
    /// A route's pin.
    Pin(usize, usize),
    /// A route's copy.
    Copy(usize, usize),
}

/// Why a configuration makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct ConfigError {
    /// Where.
    pub part: Part,
    /// What.
    pub problem: ConfigProblem,
}

/// What is wrong with a part of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigProblem {
    /// There is no route.
    #[error("there is no route: name the collectors")]
    NoRoutes,
    /// A route takes no version.
    #[error("the route takes no version: choose from 1, 5, 7, 9 and 10")]
    NoVersions,
    /// A version that is none.
    #[error("versions: {version} is none that can be routed: choose from 1, 5, 7, 9 and 10")]
    UnknownVersion {
        /// The version.
        version: u8,
    },
    /// Two routes take the same version.
    #[error("version {version} has two routes: leave it to one of them")]
    VersionTwice {
        /// The version.
        version: u8,
    },
    /// A route has no collector.
    #[error("the route has no collector")]
    NoCollectors,
    /// A route has a collector twice.
    #[error("collector {address} is there twice: give it more weight instead")]
    CollectorTwice {
        /// Its address.
        address: SocketAddr,
    },
    /// A weight out of range.
    #[error("collector {address} has weight {weight}, but must have at most {MAX_WEIGHT}")]
    Weight {
        /// Its address.
        address: SocketAddr,
        /// The weight.
        weight: u32,
    },
    /// Nothing can be sent to such an address.
    #[error("nothing can be sent to {address}: give an address of one machine, and a port above 0")]
    Address {
        /// The address.
        address: SocketAddr,
    },
    /// Two probes for one address.
    #[error("collector {address} has two different probes: give it one")]
    Probes {
        /// Its address.
        address: SocketAddr,
    },
    /// The shards cannot be mapped to collectors.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A pin's collector is none of the route's.
    #[error(
        "{exporters} is pinned to {collector}, which is no collector of the route{}",
        nearest.map_or(String::new(), |near| format!(": did you mean {near}?"))
    )]
    PinElsewhere {
        /// The exporters.
        exporters: Prefix,
        /// The pin's collector.
        collector: SocketAddr,
        /// A collector of the route that is like it.
        nearest: Option<SocketAddr>,
    },
    /// Two pins of the same exporters.
    #[error("{exporters} is pinned twice")]
    PinTwice {
        /// The exporters.
        exporters: Prefix,
    },
    /// A copy would come twice.
    #[error("{address} is a collector of the route: a copy would come twice")]
    CopyToCollector {
        /// Its address.
        address: SocketAddr,
    },
    /// Two copies to one address.
    #[error("there are two copies to {address}")]
    CopyTwice {
        /// The address.
        address: SocketAddr,
    },
    /// Too many addresses in all.
    #[error("there are more than {MAX_TARGETS} addresses to send to")]
    TooManyTargets,
}

/// The number of shards of a route that does not say: the smallest prime that is not below the number of its
/// collectors, each counted by its weight. Where those are too many, by its weight over what divides all weights; and the
/// largest prime that there may be where they are too many still.
#[must_use]
pub fn default_shards(collectors: &[Collector]) -> NonZero<u32> {
    // The next is 65,537.
    const MOST: u32 = 65_521;
    const { assert!(MOST <= MAX_SHARDS && MAX_SHARDS < 65_537) };
    let weights = || collectors.iter().map(|collector| collector.weight);
    let sum = weights().fold(0, u32::saturating_add);
    let sum = if sum > MOST {
        sum / weights().fold(0, common_divisor).max(1)
    } else {
        sum
    };
    NonZero::new(smallest_prime_from(sum.min(MOST))).unwrap_or(NonZero::<u32>::MIN)
}

/// The greatest, by Euclid. That of 0 and another is the other.
const fn common_divisor(mut one: u32, mut other: u32) -> u32 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// A page of HTTP that says by its status whether a collector is up: `http://192.0.2.1:9180/healthz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeUrl {
    /// Host and port, as in the URL.
    pub(crate) authority: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

/// A text that is no probe.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{text}\" is no probe: write it as http://192.0.2.1:9180/healthz")]
pub struct ProbeUrlError {
    text: String,
}

impl FromStr for ProbeUrl {
    type Err = ProbeUrlError;

    fn from_str(text: &str) -> Result<Self, ProbeUrlError> {
        parse_probe(text).ok_or_else(|| ProbeUrlError {
            text: text.to_owned(),
        })
    }
}

fn parse_probe(text: &str) -> Option<ProbeUrl> {
    let rest = text.strip_prefix("http://")?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    // What is put into a request must not end its line.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let (host, port) = match authority.parse::<SocketAddr>() {
        Ok(address) => (address.ip().to_string(), address.port()),
        Err(_) => match authority.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host.to_owned(), port.parse().ok()?),
            Some(_) => {
                let bare = authority.strip_prefix('[')?.strip_suffix(']')?;
                (bare.parse::<IpAddr>().ok()?.to_string(), 80)
            }
            None => (authority.to_owned(), 80),
        },
    };
    (!host.is_empty() && port != 0).then(|| ProbeUrl {
        authority: authority.to_owned(),
        host,
        port,
        path: path.to_owned(),
    })
}

impl fmt::Display for ProbeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_read_and_shown() {
        for (text, host, port, path) in [
            (
                "http://192.0.2.1:9180/healthz",
                "192.0.2.1",
                9180,
                "/healthz",
            ),
            ("http://[::1]:80/a?b", "::1", 80, "/a?b"),
            ("http://[::1]/", "::1", 80, "/"),
            ("http://flow-1.example/up", "flow-1.example", 80, "/up"),
        ] {
            let probe: ProbeUrl = text.parse().unwrap();
            assert_eq!((&*probe.host, probe.port, &*probe.path), (host, port, path));
            assert_eq!(probe.to_string(), text);
        }
        for text in [
            "https://192.0.2.1/",
            "192.0.2.1:80",
            "http://",
            "http://:80/",
            "http://host:port/",
            "http://::1/",
            "http://a/b c",
            "http://a/b\r\nHost: c",
        ] {
            assert!(text.parse::<ProbeUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_route_has_the_smallest_prime_that_is_enough() {
        let collectors = |weights: &[u32]| {
            let collector = |weight: &u32| Collector {
                address: SocketAddr::from(([192, 0, 2, 1], 2055)),
                weight: *weight,
                probe: None,
            };
            weights.iter().map(collector).collect::<Vec<_>>()
        };
        for (weights, shards) in [
            (&[1][..], 2),
            (&[1, 1, 1], 3),
            (&[1; 7], 7),
            (&[1; 8], 11),
            (&[3, 1], 5),
            (&[0, 1, 1], 2),
            // Each counted by its weight would be too many.
            (&[1_000; 70], 71),
            (&[999; 70], 71),
            (&[[1_000; 70], [998; 70]].concat(), 65_521),
        ] {
            assert_eq!(default_shards(&collectors(weights)).get(), shards);
        }
    }
}
