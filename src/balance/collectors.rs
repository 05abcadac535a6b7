//! The collectors that exporters are split over.

use std::net::SocketAddr;
use std::str::FromStr;

/// The most collectors that a number may ask for.
const COLLECTORS_MAX: usize = 1_024;

/// `--collectors`: how many, or which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CollectorsFlag {
    Number(usize),
    Addresses(Vec<SocketAddr>),
}

impl FromStr for CollectorsFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.trim().parse::<usize>() {
            return if (1..=COLLECTORS_MAX).contains(&number) {
                Ok(Self::Number(number))
            } else {
                Err(format!(
                    "{number} collectors cannot be: give 1 to {COLLECTORS_MAX}"
                ))
            };
        }
        let mut addresses = Vec::new();
        for part in text.split(',').map(str::trim) {
            let address: SocketAddr = part.parse().map_err(|_| {
                format!("\"{part}\" is no number of collectors and no address: write 7, or 192.0.2.1:2055,[2001:db8::1]:2055")
            })?;
            if addresses.contains(&address) {
                return Err(format!("{address} is there twice"));
            }
            addresses.push(address);
        }
        Ok(Self::Addresses(addresses))
    }
}

/// The collectors, in the order of the table.
#[derive(Debug, Default)]
pub(super) struct Collectors {
    weights: Vec<u32>,
    /// As many as weights, or none where only their number is known.
    addresses: Vec<SocketAddr>,
}

impl Collectors {
    /// Those of the flag; none if there is none.
    pub(super) fn new(flag: Option<&CollectorsFlag>) -> Self {
        match flag {
            None => Self::default(),
            Some(CollectorsFlag::Number(number)) => Self {
                weights: vec![1; *number],
                addresses: Vec::new(),
            },
            Some(CollectorsFlag::Addresses(addresses)) => Self {
                weights: vec![1; addresses.len()],
                addresses: addresses.clone(),
            },
        }
    }

    /// Their weights; none where each shard counts as a collector.
    pub(super) fn weights(&self) -> &[u32] {
        &self.weights
    }

    /// How one is called.
    pub(super) fn name(&self, collector: usize) -> String {
        match self.addresses.get(collector) {
            Some(address) => address.to_string(),
            None if self.weights.is_empty() => format!("shard {collector}"),
            None => format!("collector {}", collector + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_are_a_number_or_addresses() {
        assert_eq!("7".parse(), Ok(CollectorsFlag::Number(7)));
        let addresses = CollectorsFlag::Addresses(vec![
            "192.0.2.1:2055".parse().expect("an address"),
            "[2001:db8::1]:2055".parse().expect("an address"),
        ]);
        assert_eq!("192.0.2.1:2055, [2001:db8::1]:2055".parse(), Ok(addresses));
        for (text, what) in [
            ("0", "0 collectors cannot be"),
            ("2000", "give 1 to 1024"),
            ("", "is no number of collectors"),
            ("192.0.2.1", "is no number of collectors"),
            ("192.0.2.1:1,192.0.2.1:1", "twice"),
        ] {
            let error = text.parse::<CollectorsFlag>().expect_err(text);
            assert!(error.contains(what), "{error}");
        }
    }
}
