//! Prefixes of exporters' addresses, and what they are pinned to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ahash::AHashMap;
use thiserror::Error;

/// The addresses that begin with the same bits: `198.51.100.0/24`, or a single address.
///
/// ```
/// use forebay_router::Prefix;
///
/// let prefix: Prefix = "198.51.100.0/24".parse().unwrap();
/// assert!(prefix.contains("198.51.100.7".parse().unwrap()));
/// assert!(!prefix.contains("198.51.101.7".parse().unwrap()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// A text that is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PrefixError {
    /// It has no address, or a length that no address has.
    #[error(
        "\"{text}\" is no address and no prefix: write it as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32"
    )]
    Syntax {
        /// The text.
        text: String,
    },
    /// There are bits behind the prefix's length.
    #[error("\"{text}\" has bits behind its length: did you mean {meant}?")]
    HostBits {
        /// The text.
        text: String,
        /// The prefix without them.
        meant: Prefix,
    },
}

impl Prefix {
    /// A prefix by its address and length; bits behind the length are cleared, and a length beyond the address is the
    /// address'. An IPv4-mapped IPv6 address counts as the IPv4 address.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Self {
        let address = address.to_canonical();
        let length = length.min(bits(address));
        Self {
            address: masked(address, length),
            length,
        }
    }

    /// How many bits its addresses have in common.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Whether an exporter is one of its addresses.
    #[must_use]
    pub fn contains(&self, exporter: IpAddr) -> bool {
        let exporter = exporter.to_canonical();
        exporter.is_ipv4() == self.address.is_ipv4()
            && masked(exporter, self.length) == self.address
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let syntax = || PrefixError::Syntax {
            text: text.to_owned(),
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| syntax())?;
        let address = address.to_canonical();
        let length = match length {
            None => bits(address),
            Some(length) => length.parse().map_err(|_| syntax())?,
        };
        if length > bits(address) {
            return Err(syntax());
        }
        let meant = Self::new(address, length);
        if meant.address == address {
            Ok(meant)
        } else {
            Err(PrefixError::HostBits {
                text: text.to_owned(),
                meant,
            })
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == bits(self.address) {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.length)
        }
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with the bits behind `length` cleared.
fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(length.min(32)))
                .unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(length.min(128)))
                .unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// What exporters are pinned to: of the prefixes that hold an exporter, the longest counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins {
    /// The prefixes of one length and family, the longest first.
    by_length: Vec<(u8, bool, AHashMap<IpAddr, usize>)>,
}

impl Pins {
    /// Adds one; whether it was new.
    pub(crate) fn add(&mut self, prefix: Prefix, target: usize) -> bool {
        let key = (prefix.length, prefix.address.is_ipv4());
        let found = self.by_length.iter_mut().find(|of| (of.0, of.1) == key);
        if let Some((_, _, targets)) = found {
            return targets.insert(prefix.address, target).is_none();
        }
        let targets = AHashMap::from_iter([(prefix.address, target)]);
        self.by_length.push((key.0, key.1, targets));
        self.by_length
            .sort_by_key(|(length, ..)| std::cmp::Reverse(*length));
        true
    }

    /// What an exporter is pinned to.
    #[inline]
    pub(crate) fn find(&self, exporter: IpAddr) -> Option<usize> {
        if self.by_length.is_empty() {
            return None;
        }
        let exporter = exporter.to_canonical();
        self.by_length
            .iter()
            .filter(|(_, is_ipv4, _)| *is_ipv4 == exporter.is_ipv4())
            .find_map(|(length, _, targets)| targets.get(&masked(exporter, *length)).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_and_shown() {
        for (text, shown) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
        ] {
            let prefix: Prefix = text.parse().unwrap();
            assert_eq!(prefix.to_string(), shown);
        }
        for text in ["", "192.0.2", "192.0.2.0/33", "::/129", "1.2.3.4/", "a/8"] {
            let error = text.parse::<Prefix>().unwrap_err();
            assert!(error.to_string().contains("is no address"), "{error}");
        }
        let error = "192.0.2.1/24".parse::<Prefix>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"192.0.2.1/24\" has bits behind its length: did you mean 192.0.2.0/24?"
        );
    }

    #[test]
    fn the_longest_prefix_counts() {
        let mut pins = Pins::default();
        for (target, prefix) in ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32"]
            .into_iter()
            .enumerate()
        {
            assert!(pins.add(prefix.parse().unwrap(), target));
        }
        assert!(!pins.add("10.1.2.3/32".parse().unwrap(), 2));
        for (exporter, target) in [
            ("10.9.9.9", Some(0)),
            ("10.1.9.9", Some(1)),
            ("10.1.2.3", Some(2)),
            ("::ffff:10.1.2.3", Some(2)),
            ("2001:db8::1", Some(3)),
            ("11.0.0.0", None),
            ("2001:db9::1", None),
        ] {
            assert_eq!(pins.find(exporter.parse().unwrap()), target, "{exporter}");
        }
    }
}
