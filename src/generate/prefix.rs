//! The prefix that exporters are of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use forebay_replay::Network;

/// A prefix: `192.0.2.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    network: Network,
    /// Any of its addresses.
    address: IpAddr,
}

impl Prefix {
    /// The address so many after the first, if that is of the prefix.
    pub(super) fn address(&self, offset: u64) -> Option<IpAddr> {
        let address: IpAddr = match self.first() {
            IpAddr::V4(first) => {
                let offset = u32::try_from(offset).ok()?;
                Ipv4Addr::from_bits(first.to_bits().checked_add(offset)?).into()
            }
            IpAddr::V6(first) => {
                Ipv6Addr::from_bits(first.to_bits().checked_add(offset.into())?).into()
            }
        };
        self.network.contains(address).then_some(address)
    }

    fn first(&self) -> IpAddr {
        // The lowest that is of the prefix has all bits cleared that may be.
        let mut first = self.address;
        for bit in 0..128 {
            let cleared: IpAddr = match first {
                IpAddr::V4(_) if bit >= 32 => break,
                IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !(1 << bit)).into(),
                IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !(1 << bit)).into(),
            };
            if !self.network.contains(cleared) {
                break;
            }
            first = cleared;
        }
        first
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse::<Network>().map_err(|error| error.to_string())?;
        let (address, _) = text.split_once('/').unwrap_or((text, ""));
        let address = address
            .parse()
            .map_err(|_| format!("\"{address}\" is no address"))?;
        Ok(Self { network, address })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.network.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_prefix() {
        for (prefix, offset, address) in [
            ("10.1.0.0/16", 1, Some("10.1.0.1")),
            ("10.1.2.3/16", 0, Some("10.1.0.0")),
            ("10.1.0.0/16", 65_535, Some("10.1.255.255")),
            ("10.1.0.0/16", 65_536, None),
            ("0.0.0.0/0", u64::MAX, None),
            ("192.0.2.7", 0, Some("192.0.2.7")),
            ("192.0.2.7", 1, None),
            ("2001:db8::7/32", 65_536, Some("2001:db8::1:0")),
            ("2001:db8::/126", 4, None),
            ("::/0", 1, Some("::1")),
        ] {
            let of: Prefix = prefix.parse().expect("a prefix");
            let found = of.address(offset).map(|address| address.to_string());
            assert_eq!(found.as_deref(), address, "{prefix} {offset}");
        }
        assert!("10.1.0.0/33".parse::<Prefix>().is_err());
    }
}
