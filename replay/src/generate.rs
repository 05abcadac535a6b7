//! Export traffic whose content is known beforehand.
//!
//! ```text
//! population ─► key ─► flow ─► record ─► message ─┬─► capture file + truth
//! who talks to whom    values  layout    exporter ├─► collector
//!                                                 └─► Prepared, to be sent again and again
//! ```
//!
//! The traffic is that of a network: a few keys in most flows and most packets in a few flows, prefixes with their AS
//! numbers, ports of services, times and flags that fit. It is no one's, though: all addresses are private or for
//! documentation and tests. Chance begins with the configuration's seed, so that the same configuration gives the same
//! bytes anywhere.
//!
//! [`Truth`] says what a collector must find: it is counted while messages are written, and a test holds it against
//! what a plain decoder reads.

use std::net::SocketAddr;

mod capture;
mod columns;
mod config;
mod exporter;
mod flow;
mod layout;
mod population;
mod random;
mod repeat;
mod send;
mod truth;
mod value;

pub use capture::{CaptureError, to_capture, write_truth};
pub use config::{
    ConfigError, GenerateConfig, Load, MAX_DUPLICATES, MAX_EXPORTERS, MAX_KEYS, MAX_MESSAGE_BYTES,
    MAX_V5_FLOWS, MIN_MESSAGE_BYTES, VersionShares,
};
pub use send::{Pace, Prepared, Progress, SendError, SendReport, Sent, to_socket};
pub use truth::{Counts, Duplicates, ExporterTruth, Truth, VersionTruth};

use config::MIN_UPTIME_MS;
use exporter::{Exporter, FlowSource, KeySet, Rules, Speech};
use flow::Place;
use layout::Layout;
use population::Population;
use random::Random;
use repeat::Told;
use value::Teller;

/// Where exporters send from in captures, if the configuration does not say.
const DEFAULT_PORT: u16 = 50_000;

/// Generates messages, one after the other.
///
/// ```
/// use forebay_replay::generate::{GenerateConfig, Generator};
///
/// let config = GenerateConfig { flows: 1000, ..GenerateConfig::default() };
/// let mut generator = Generator::new(config)?;
/// let mut payload = Vec::new();
/// let mut flows = 0;
/// while let Some(message) = generator.next_message(&mut payload) {
///     assert!(payload.len() <= 1450);
///     flows += message.flows;
/// }
/// assert_eq!(flows, 1000);
/// assert_eq!(generator.truth().total.flows, 1000);
/// # Ok::<(), forebay_replay::generate::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Generator {
    config: GenerateConfig,
    rules: Rules,
    exporters: Vec<Exporter>,
    source: FlowSource,
    /// Chooses exporters.
    random: Random,
    current: usize,
    /// Messages that the current exporter still sends in a row.
    burst_left: usize,
    messages: u64,
    flows: u64,
    last_ns: u64,
}

/// What [`Generator::next_message`] says of the message that it wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GeneratedMessage {
    /// The exporter, counted from 0.
    pub exporter: usize,
    /// Where the message comes from.
    pub source: SocketAddr,
    /// When it leaves, in nanoseconds since 1970 UTC.
    pub at_ns: u64,
    /// How many flows it holds.
    pub flows: usize,
}

impl Generator {
    /// Makes the network and its exporters.
    ///
    /// # Errors
    ///
    /// The configuration cannot be generated.
    pub fn new(config: GenerateConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let mut random = Random::new(config.seed);
        let exporters = exporters(&config, &mut random);
        let source = FlowSource {
            population: Population::new(config.seed, config.keys),
            random: Random::new(random.next()),
            seen_ipv4: KeySet::new(config.keys),
            seen_ipv6: KeySet::new(config.keys),
            told: (config.duplicates > 0.0).then(Told::default),
        };
        Ok(Self {
            rules: Rules {
                message_bytes: config.message_bytes,
                ipv6_share: config.ipv6_share,
                duplicates: config.duplicates,
                template_refresh: config.template_refresh,
            },
            exporters,
            source,
            random,
            current: 0,
            burst_left: 0,
            messages: 0,
            flows: 0,
            last_ns: config.start_ns,
            config,
        })
    }

    /// What is generated.
    #[must_use]
    pub const fn config(&self) -> &GenerateConfig {
        &self.config
    }

    /// Writes the next message into `buffer`, which is cleared. `None` when all flows have been told.
    ///
    /// Every exporter sends one message first, as far as the flows go; after that each sends several in a row.
    pub fn next_message(&mut self, buffer: &mut Vec<u8>) -> Option<GeneratedMessage> {
        let left = self.config.flows - self.flows;
        if left == 0 {
            return None;
        }
        self.choose_exporter();
        let at_ns = self.config.time_ns(self.flows);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX);
        let exporter = &mut self.exporters[self.current];
        let flows = exporter.write(
            at_ns,
            wanted.min(self.config.flows_per_message),
            self.rules,
            &mut self.source,
            buffer,
        );
        self.messages += 1;
        self.flows += flows as u64;
        self.last_ns = at_ns;
        Some(GeneratedMessage {
            exporter: self.current,
            source: exporter.source,
            at_ns,
            flows,
        })
    }

    /// What has been generated so far.
    #[must_use]
    pub fn truth(&self) -> Truth {
        Truth::sum(
            self.config.clone(),
            self.exporters.iter().map(Exporter::truth).collect(),
            [self.source.seen_ipv4.count(), self.source.seen_ipv6.count()],
            self.source
                .told
                .as_ref()
                .map(Told::repeated)
                .unwrap_or_default(),
            self.last_ns,
        )
    }

    fn choose_exporter(&mut self) {
        let count = self.exporters.len();
        if self.messages < count as u64 {
            self.current = self.messages as usize;
        } else if self.burst_left > 0 {
            self.burst_left -= 1;
        } else {
            // `check` has seen that there are few enough.
            self.current = match self.config.load {
                Load::Uniform => self.random.below(count as u32),
                Load::Zipf => self.random.zipf(count as u32),
            } as usize;
            self.burst_left = self.config.burst - 1;
        }
    }
}

/// The exporters, versions mixed and layouts in turn.
fn exporters(config: &GenerateConfig, random: &mut Random) -> Vec<Exporter> {
    let port = match config.exporter_port {
        0 => DEFAULT_PORT,
        port => port,
    };
    let VersionShares { v5, v9, ipfix } = config.versions;
    let shares = [v5, v9, ipfix].map(i64::from);
    let all: i64 = shares.iter().sum();
    let mut assigned = [0_i64; 3];
    let addresses = (0..config.exporters).map_while(|index| config.exporter_address(index));
    addresses
        .zip(0..)
        .map(|(address, index)| {
            // The version that is furthest behind its share.
            let behind =
                |version: usize| shares[version] * i64::from(index + 1) - assigned[version] * all;
            let version = (0..3)
                .rev()
                .max_by_key(|&version| behind(version))
                .unwrap_or(0);
            let turn = assigned[version] as usize;
            assigned[version] += 1;
            let speech = match version {
                0 => Speech::v5(turn),
                1 => Speech::V9(in_turn(layout::v9(), turn)),
                _ => Speech::Ipfix(in_turn(layout::ipfix(), turn)),
            };
            // Up to 40 days more: a clock of 32 bits has not wrapped, unless the traffic lasts.
            let uptime_ms = MIN_UPTIME_MS + u64::from(random.below(40 * 86_400_000));
            let teller = Teller {
                place: Place {
                    exporter: index,
                    access_interfaces: 4 + random.below(8),
                },
                observation_domain: match version {
                    // An engine's number in 8 bits.
                    0 => random.below(4),
                    _ => random.below(3) * 256,
                },
                boot_ms: config.start_ns / 1_000_000 - uptime_ms,
            };
            Exporter::new(SocketAddr::new(address, port), speech, teller)
        })
        .collect()
}

fn in_turn(mut layouts: Vec<Layout>, turn: usize) -> Layout {
    layouts.swap_remove(turn % layouts.len())
}
