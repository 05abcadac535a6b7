//! The collectors that exporters are split over.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use anyhow::Result;
use forebay_router::{Collector, Prefix};

use super::current::Current;
use crate::outcome::WrongUsage;

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
    known: Vec<Collector>,
    /// Pinned exporters, the longest prefix first.
    pins: Vec<(Prefix, usize)>,
    /// Pins of the route in use to collectors that are gone.
    pins_left_out: usize,
}

impl Collectors {
    /// Those of the flag, else those in use, else none. A collector that stays keeps its weight and pins.
    ///
    /// # Errors
    /// There is a number of collectors where it must be known which stay.
    pub(super) fn new(flag: Option<&CollectorsFlag>, current: Option<&Current>) -> Result<Self> {
        let in_use = current.map(Current::route);
        let known: Vec<Collector> = match (flag, in_use) {
            (None, None) => return Ok(Self::default()),
            (None, Some(route)) => route.collectors.clone(),
            (Some(CollectorsFlag::Number(number)), None) => {
                return Ok(Self {
                    weights: vec![1; *number],
                    ..Self::default()
                });
            }
            (Some(CollectorsFlag::Number(_)), Some(_)) => {
                let what = "--collectors: beside --current give the addresses, so that it is known which collectors stay";
                return Err(WrongUsage(what.to_owned()).into());
            }
            (Some(CollectorsFlag::Addresses(addresses)), in_use) => {
                let named = addresses.iter().map(|address| {
                    let in_use = in_use.map_or(&[][..], |route| &route.collectors);
                    let known = in_use.iter().find(|of| of.address == *address);
                    known.cloned().unwrap_or(Collector {
                        address: *address,
                        weight: 1,
                        probe: None,
                    })
                });
                named.collect()
            }
        };
        let mut collectors = Self {
            weights: known.iter().map(|collector| collector.weight).collect(),
            known,
            ..Self::default()
        };
        for pin in in_use.map_or(&[][..], |route| &route.pins) {
            match collectors.index(pin.collector) {
                Some(collector) => collectors.pins.push((pin.exporters, collector)),
                None => collectors.pins_left_out += 1,
            }
        }
        collectors
            .pins
            .sort_by_key(|(exporters, _)| std::cmp::Reverse(exporters.length()));
        Ok(collectors)
    }

    /// Their weights; none where each shard counts as a collector.
    pub(super) fn weights(&self) -> &[u32] {
        &self.weights
    }

    /// The collectors themselves; none where only their number is known.
    pub(super) fn known(&self) -> &[Collector] {
        &self.known
    }

    /// The pins that stay, the longest prefix first.
    pub(super) fn pins(&self) -> &[(Prefix, usize)] {
        &self.pins
    }

    /// How many pins are left out because their collector is gone.
    pub(super) fn pins_left_out(&self) -> usize {
        self.pins_left_out
    }

    /// The collector that an exporter is pinned to.
    pub(super) fn pinned(&self, exporter: IpAddr) -> Option<usize> {
        let mut pins = self.pins.iter();
        pins.find(|(exporters, _)| exporters.contains(exporter))
            .map(|(_, collector)| *collector)
    }

    /// The collector at an address.
    pub(super) fn index(&self, address: SocketAddr) -> Option<usize> {
        self.known
            .iter()
            .position(|collector| collector.address == address)
    }

    /// How one is called.
    pub(super) fn name(&self, collector: usize) -> String {
        match self.known.get(collector) {
            Some(known) => known.address.to_string(),
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
