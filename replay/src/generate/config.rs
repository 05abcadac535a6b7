//! What is to be generated, and whether that can be.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most exporters.
pub const MAX_EXPORTERS: usize = 65_536;
/// The most flow keys of each address family: more would take their counting more than 16 MiB.
pub const MAX_KEYS: u32 = 1 << 27;
/// The least size of a message: templates, options data and some flows of every layout fit.
pub const MIN_MESSAGE_BYTES: usize = 768;
/// The largest size of a message: the longest UDP payload over IPv4.
pub const MAX_MESSAGE_BYTES: usize = 65_507;
/// The largest share of flows that repeat another exporter's: no flow is told by more than four.
pub const MAX_DUPLICATES: f64 = 0.75;
/// No v5 message holds more flows.
pub const MAX_V5_FLOWS: usize = 30;
/// Exporters have been up for as long as this, at least, when the traffic begins.
pub(crate) const MIN_UPTIME_MS: u64 = 3_600_000;
const NS_PER_SEC: u64 = 1_000_000_000;

/// What to generate. The same configuration gives the same bytes.
///
/// ```
/// use forebay_replay::generate::{GenerateConfig, VersionShares};
///
/// let config = GenerateConfig {
///     flows: 10_000,
///     versions: VersionShares { v5: 0, v9: 1, ipfix: 3 },
///     ..GenerateConfig::default()
/// };
/// assert!(config.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerateConfig {
    /// How many exporters: 50, up to [`MAX_EXPORTERS`]. Each sends one version in one layout.
    pub exporters: usize,
    /// How many flows in all: 1,000,000.
    pub flows: u64,
    /// How the exporters are divided among the versions: evenly.
    pub versions: VersionShares,
    /// How many flows a message holds if they fit: 25. A v5 message never holds more than [`MAX_V5_FLOWS`].
    pub flows_per_message: usize,
    /// How many bytes a message has at most: 1450, from [`MIN_MESSAGE_BYTES`] to [`MAX_MESSAGE_BYTES`].
    pub message_bytes: usize,
    /// How many messages an exporter sends in a row: 8. Exporters do, because their caches expire in slices.
    pub burst: usize,
    /// Where chance begins: 1.
    pub seed: u64,
    /// The time of the first message, in nanoseconds since 1970 UTC: the beginning of 2026. For traffic that is sent
    /// now, this should be now.
    pub start_ns: u64,
    /// By how many flows a second the messages' times advance: 1,000,000. How fast they are sent is another matter.
    pub flows_per_sec: f64,
    /// Which part of the v9 and IPFIX flows is IPv6, from 0 to 1: 0.2. v5 knows IPv4 only.
    pub ipv6_share: f64,
    /// From how many 5-tuples of each address family flows are chosen, a few of them very often (Zipf): 1,048,576, up to
    /// [`MAX_KEYS`].
    pub keys: u32,
    /// Which part of the flows repeats one that another exporter told shortly before, as where a flow passes several
    /// routers: none, up to [`MAX_DUPLICATES`].
    pub duplicates: f64,
    /// How the messages are divided among the exporters: evenly.
    pub load: Load,
    /// After how many messages an exporter sends its templates and options again: 100.
    pub template_refresh: u32,
    /// The first exporter's address: 127.0.1.1, which can be sent from without privilege, as all of 127.0.0.0/8 can.
    pub first_exporter: IpAddr,
    /// From one exporter's address to the next: 1.
    pub exporter_step: u32,
    /// The exporters' addresses, all different, in place of the two above: none.
    pub exporter_list: Vec<IpAddr>,
    /// The UDP port that exporters send from; 0, which it is, for any that is free, and for 50000 in captures.
    pub exporter_port: u16,
}

impl Default for GenerateConfig {
    fn default() -> Self {
        Self {
            exporters: 50,
            flows: 1_000_000,
            versions: VersionShares::default(),
            flows_per_message: 25,
            message_bytes: 1450,
            burst: 8,
            seed: 1,
            start_ns: 1_767_225_600 * NS_PER_SEC,
            flows_per_sec: 1e6,
            ipv6_share: 0.2,
            keys: 1 << 20,
            duplicates: 0.0,
            load: Load::Uniform,
            template_refresh: 100,
            first_exporter: IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1)),
            exporter_step: 1,
            exporter_list: Vec::new(),
            exporter_port: 0,
        }
    }
}

/// How many parts of the exporters send which version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionShares {
    /// NetFlow v5.
    pub v5: u32,
    /// NetFlow v9.
    pub v9: u32,
    /// IPFIX.
    pub ipfix: u32,
}

impl Default for VersionShares {
    fn default() -> Self {
        Self {
            v5: 1,
            v9: 1,
            ipfix: 1,
        }
    }
}

/// How the messages are divided among the exporters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// Each sends about as many.
    Uniform,
    /// The k-th sends about 1/k of what the first sends.
    Zipf,
}

/// Why a configuration cannot be generated.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum ConfigError {
    /// A number is out of its range.
    #[error("`{name}` is {value}, but must be from {least} to {most}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// What it is.
        value: f64,
        /// The least it can be.
        least: f64,
        /// The most it can be.
        most: f64,
    },
    /// No version has a share.
    #[error("`versions` are all 0: give at least one of v5, v9 and ipfix a share")]
    NoVersion,
    /// The addresses run out.
    #[error(
        "{exporters} exporters from {first} by steps of {step} go beyond the last address: begin lower or step less"
    )]
    AddressesRunOut {
        /// How many exporters.
        exporters: usize,
        /// The first one's address.
        first: IpAddr,
        /// The step.
        step: u32,
    },
    /// The list of addresses is too short.
    #[error("{exporters} exporters need as many addresses, but `exporter_list` has {listed}")]
    ListTooShort {
        /// How many exporters.
        exporters: usize,
        /// How many addresses.
        listed: usize,
    },
    /// The list has an address twice.
    #[error("`exporter_list` has {address} twice: name each exporter once")]
    ListedTwice {
        /// The address.
        address: IpAddr,
    },
    /// Nobody else can have told a flow before.
    #[error("`duplicates` are flows that several exporters see: have more than one exporter")]
    NobodyElse,
    /// The messages' times do not fit into the 32 bits of their headers.
    #[error(
        "the traffic lasts {secs} s, and ends after 2106, where the seconds of message headers end"
    )]
    EndsTooLate {
        /// How long it lasts.
        secs: f64,
    },
}

impl GenerateConfig {
    /// Says whether this can be generated.
    ///
    /// # Errors
    ///
    /// A setting is out of its range or contradicts another.
    pub fn check(&self) -> Result<(), ConfigError> {
        let VersionShares { v5, v9, ipfix } = self.versions;
        let wide = |number: usize| number as f64;
        let whole = u32::MAX.into();
        for (name, value, least, most) in [
            ("exporters", wide(self.exporters), 1.0, wide(MAX_EXPORTERS)),
            ("flows", self.flows as f64, 1.0, 1e15),
            ("versions.v5", v5.into(), 0.0, 1e6),
            ("versions.v9", v9.into(), 0.0, 1e6),
            ("versions.ipfix", ipfix.into(), 0.0, 1e6),
            (
                "flows_per_message",
                wide(self.flows_per_message),
                1.0,
                65_535.0,
            ),
            (
                "message_bytes",
                wide(self.message_bytes),
                wide(MIN_MESSAGE_BYTES),
                wide(MAX_MESSAGE_BYTES),
            ),
            ("burst", wide(self.burst), 1.0, 1e6),
            ("flows_per_sec", self.flows_per_sec, 1e-3, 1e12),
            ("ipv6_share", self.ipv6_share, 0.0, 1.0),
            ("duplicates", self.duplicates, 0.0, MAX_DUPLICATES),
            ("keys", self.keys.into(), 1.0, MAX_KEYS.into()),
            ("template_refresh", self.template_refresh.into(), 1.0, whole),
            ("exporter_step", self.exporter_step.into(), 1.0, whole),
        ] {
            // A value that is no number is in no range.
            if !(least..=most).contains(&value) {
                return Err(ConfigError::OutOfRange {
                    name,
                    value,
                    least,
                    most,
                });
            }
        }
        if (v5, v9, ipfix) == (0, 0, 0) {
            return Err(ConfigError::NoVersion);
        }
        if self.duplicates > 0.0 && self.exporters < 2 {
            return Err(ConfigError::NobodyElse);
        }
        let listed = self.exporter_list.len();
        if listed > 0 && listed < self.exporters {
            return Err(ConfigError::ListTooShort {
                exporters: self.exporters,
                listed,
            });
        }
        let mut seen = HashSet::new();
        let twice = self.exporter_list.iter().find(|&of| !seen.insert(of));
        if let Some(&address) = twice {
            return Err(ConfigError::ListedTwice { address });
        }
        if self.exporter_address(self.exporters - 1).is_none() {
            return Err(ConfigError::AddressesRunOut {
                exporters: self.exporters,
                first: self.first_exporter,
                step: self.exporter_step,
            });
        }
        // Uptimes reach back from the start.
        let earliest = 100 * 24 * 3_600 * NS_PER_SEC;
        let latest = u64::from(u32::MAX) * NS_PER_SEC;
        if !(earliest..=latest).contains(&self.start_ns) {
            return Err(ConfigError::OutOfRange {
                name: "start_ns",
                value: self.start_ns as f64,
                least: earliest as f64,
                most: latest as f64,
            });
        }
        let secs = self.flows as f64 / self.flows_per_sec;
        if secs >= (latest - self.start_ns) as f64 / 1e9 {
            return Err(ConfigError::EndsTooLate { secs });
        }
        Ok(())
    }

    /// The address of an exporter, counted from 0.
    pub(crate) fn exporter_address(&self, index: usize) -> Option<IpAddr> {
        if !self.exporter_list.is_empty() {
            return self.exporter_list.get(index).copied();
        }
        let offset = u64::try_from(index).ok()? * u64::from(self.exporter_step);
        Some(match self.first_exporter {
            IpAddr::V4(first) => {
                let offset = u32::try_from(offset).ok()?;
                Ipv4Addr::from_bits(first.to_bits().checked_add(offset)?).into()
            }
            IpAddr::V6(first) => {
                Ipv6Addr::from_bits(first.to_bits().checked_add(offset.into())?).into()
            }
        })
    }

    /// When the message leaves that comes after `flows` flows.
    pub(crate) fn time_ns(&self, flows: u64) -> u64 {
        // Not a sum of steps, so that no rounding adds up.
        self.start_ns + (flows as f64 / self.flows_per_sec * 1e9) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut GenerateConfig)) -> String {
        let mut config = GenerateConfig::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_can_be_generated() {
        assert_eq!(GenerateConfig::default().check(), Ok(()));
    }

    #[test]
    fn what_cannot_be_generated_is_said() {
        assert_eq!(
            problem(|config| config.exporters = 0),
            "`exporters` is 0, but must be from 1 to 65536"
        );
        assert_eq!(
            problem(|config| config.flows_per_sec = f64::NAN),
            "`flows_per_sec` is NaN, but must be from 0.001 to 1000000000000"
        );
        assert_eq!(
            problem(|config| config.message_bytes = 100),
            "`message_bytes` is 100, but must be from 768 to 65507"
        );
        assert_eq!(
            problem(|config| config.versions = VersionShares {
                v5: 0,
                v9: 0,
                ipfix: 0
            }),
            "`versions` are all 0: give at least one of v5, v9 and ipfix a share"
        );
        assert_eq!(
            problem(|config| config.first_exporter = [255, 255, 255, 207].into()),
            "50 exporters from 255.255.255.207 by steps of 1 go beyond the last address: begin lower or step less"
        );
        assert_eq!(
            problem(|config| (config.flows, config.flows_per_sec) = (10_000_000, 1e-3)),
            "the traffic lasts 10000000000 s, and ends after 2106, where the seconds of message headers end"
        );
    }

    #[test]
    fn exporters_by_list_must_be_enough_and_different() {
        let list = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert_eq!(
            problem(|config| config.exporter_list = list(&["192.0.2.1", "2001:db8::1"])),
            "50 exporters need as many addresses, but `exporter_list` has 2"
        );
        assert_eq!(
            problem(|config| {
                config.exporters = 2;
                config.exporter_list = list(&["192.0.2.1", "192.0.2.1"]);
            }),
            "`exporter_list` has 192.0.2.1 twice: name each exporter once"
        );
        let config = GenerateConfig {
            exporters: 2,
            exporter_list: list(&["192.0.2.1", "2001:db8::1", "192.0.2.9"]),
            ..GenerateConfig::default()
        };
        assert_eq!(config.check(), Ok(()));
        assert_eq!(
            config.exporter_address(1),
            Some("2001:db8::1".parse().unwrap())
        );
    }

    #[test]
    fn exporters_of_ipv6_go_by_steps_too() {
        let config = GenerateConfig {
            first_exporter: "2001:db8::ffff".parse().unwrap(),
            exporter_step: 1 << 16,
            ..GenerateConfig::default()
        };
        assert_eq!(config.check(), Ok(()));
        assert_eq!(
            config.exporter_address(2),
            Some("2001:db8::2:ffff".parse().unwrap())
        );
    }

    #[test]
    fn one_exporter_repeats_nobody() {
        assert_eq!(
            problem(|config| (config.exporters, config.duplicates) = (1, 0.1)),
            "`duplicates` are flows that several exporters see: have more than one exporter"
        );
        assert!(problem(|config| config.duplicates = 0.8).contains("from 0 to 0.75"));
    }

    #[test]
    fn the_last_address_may_be_the_very_last() {
        let config = GenerateConfig {
            first_exporter: [255, 255, 255, 206].into(),
            ..GenerateConfig::default()
        };
        assert_eq!(config.check(), Ok(()));
        assert_eq!(
            config.exporter_address(49),
            Some(Ipv4Addr::BROADCAST.into())
        );
        assert_eq!(config.exporter_address(50), None);
    }

    #[test]
    fn a_setting_nobody_knows_is_refused() {
        let error = serde_json::from_str::<GenerateConfig>(r#"{"exporter": 3}"#).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `exporter`"),
            "{error}"
        );
    }
}
