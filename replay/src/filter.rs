//! Which messages of a capture are sent.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// Which messages of a capture are taken. The default takes all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those of exporters in one of these; of all, if there are none.
    pub exporters: Vec<Network>,
    /// Only these versions (1, 5, 7, 9, and 10 for IPFIX); all, if there are none.
    pub versions: Vec<u8>,
}

impl Filter {
    /// Whether a message of that version from there is taken.
    #[must_use]
    pub fn takes(&self, exporter: IpAddr, version: u8) -> bool {
        let exporter = exporter.to_canonical();
        let named = self.exporters.iter().any(|of| of.contains(exporter));
        (named || self.exporters.is_empty())
            && (self.versions.is_empty() || self.versions.contains(&version))
    }

    /// Whether all messages are taken.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.exporters.is_empty() && self.versions.is_empty()
    }
}

/// An address, or all that begin with the same bits.
///
/// ```
/// use forebay_replay::Network;
///
/// let network: Network = "192.0.2.0/24".parse()?;
/// assert!(network.contains("192.0.2.7".parse().unwrap()));
/// assert!("192.0.2.0/33".parse::<Network>().is_err());
/// # Ok::<(), forebay_replay::NetworkError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address is one of these.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        // A shift by all bits, as of a prefix of none, gives nothing.
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// A text that names no addresses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{text}\" is no address or prefix: write it as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32")]
pub struct NetworkError {
    text: String,
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let parse = || {
            let (address, bits) = match text.split_once('/') {
                Some((address, bits)) => (address, Some(bits)),
                None => (text, None),
            };
            let address: IpAddr = address.parse().ok()?;
            let all = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(all), |bits| bits.parse().ok())?;
            (bits <= all).then_some(Self { address, bits })
        };
        parse().ok_or_else(|| NetworkError {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(exporters: &[&str], versions: &[u8], address: &str, version: u8) -> bool {
        let filter = Filter {
            exporters: exporters.iter().map(|text| text.parse().unwrap()).collect(),
            versions: versions.to_vec(),
        };
        filter.takes(address.parse().unwrap(), version)
    }

    #[test]
    fn a_filter_takes_what_it_names_and_all_if_it_names_nothing() {
        assert!(takes(&[], &[], "192.0.2.1", 5));
        assert!(takes(&["192.0.2.1"], &[], "192.0.2.1", 5));
        assert!(!takes(&["192.0.2.1"], &[], "192.0.2.2", 5));
        assert!(takes(
            &["198.51.100.0/24", "192.0.2.128/25"],
            &[9],
            "192.0.2.129",
            9
        ));
        assert!(!takes(&["192.0.2.128/25"], &[9], "192.0.2.129", 10));
        assert!(!takes(&["192.0.2.128/25"], &[9], "192.0.2.127", 9));
        assert!(takes(&["2001:db8::/32"], &[], "2001:db8:9::1", 10));
        assert!(!takes(&["2001:db8::/32"], &[], "2001:db9::1", 10));
        assert!(takes(&["0.0.0.0/0"], &[], "203.0.113.9", 10));
        assert!(!takes(&["0.0.0.0/0"], &[], "2001:db8::1", 10));
        assert!(takes(&["::/0"], &[], "2001:db8::1", 10));
    }

    #[test]
    fn what_names_no_network_is_refused() {
        for text in [
            "",
            "192.0.2",
            "192.0.2.0/33",
            "2001:db8::/129",
            "a/b",
            "192.0.2.0/",
            "/8",
        ] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("\"{text}\" is no address"))
            );
        }
    }
}
