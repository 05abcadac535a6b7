//! What was reached.

use std::io;

use serde::Serialize;

/// What sending reached. Every datagram whose turn came is in `datagrams` or in `errors`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Datagrams sent.
    pub datagrams: u64,
    /// Their flows: data records, but for those that describe the exporter.
    pub flows: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// How often the recording was gone through to its end.
    pub loops: u64,
    /// What could not be sent.
    pub errors: SendErrors,
    /// How late the datagrams were.
    pub lateness: Lateness,
    /// Why it ended.
    pub ended: Ended,
}

/// Why sending ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All that was to be sent has had its turn.
    #[default]
    Recording,
    /// The time was up.
    Time,
    /// It was told to stop.
    Stopped,
}

/// What could not be sent, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SendErrors {
    /// Datagrams that the system did not take.
    pub datagrams: u64,
    /// Their flows.
    pub flows: u64,
    /// Why, as the system says it, with the number of datagrams.
    pub reasons: Vec<SendFailure>,
    /// How often the system told that the target refused a datagram, since nobody listens there. Datagrams are sent
    /// all the same.
    pub refused: u64,
}

/// One reason why datagrams were not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SendFailure {
    /// What the system said.
    pub error: String,
    /// Of how many datagrams.
    pub datagrams: u64,
    #[serde(skip)]
    number: Option<i32>,
}

impl SendErrors {
    /// Counts a datagram that did not go.
    #[cold]
    pub(crate) fn add(&mut self, error: &io::Error, flows: u64) {
        self.datagrams += 1;
        self.flows += flows;
        // As many reasons as the system has numbers for errors.
        let number = error.raw_os_error();
        if let Some(known) = self.reasons.iter_mut().find(|of| of.number == number) {
            known.datagrams += 1;
            return;
        }
        self.reasons.push(SendFailure {
            error: error.to_string(),
            datagrams: 1,
            number,
        });
    }
}

impl Report {
    /// Datagrams sent a second.
    #[must_use]
    pub fn datagrams_per_sec(&self) -> f64 {
        self.per_sec(self.datagrams)
    }

    /// Flows sent a second.
    #[must_use]
    pub fn flows_per_sec(&self) -> f64 {
        self.per_sec(self.flows)
    }

    /// Bits of payload sent a second.
    #[must_use]
    pub fn bits_per_sec(&self) -> f64 {
        self.per_sec(self.bytes) * 8.0
    }

    fn per_sec(&self, count: u64) -> f64 {
        if self.seconds > 0.0 {
            count as f64 / self.seconds
        } else {
            0.0
        }
    }
}

/// How long after its time each datagram was handed to the system. With a rate above what the machine can, it grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Lateness {
    /// The mean, in microseconds.
    pub mean_us: f64,
    /// Half of the datagrams were this late or less, in microseconds.
    pub p50_us: f64,
    /// 99 of 100 were.
    pub p99_us: f64,
    /// 999 of 1,000 were.
    pub p999_us: f64,
    /// The latest one.
    pub max_us: f64,
}

/// Parts that each power of two has: a bound is at most a sixteenth off.
const PARTS: usize = 16;
/// The first values each have their own place, and so have the parts of the powers of two above.
const PLACES: usize = PARTS * 61;

/// Counts of lateness, in places that grow with it.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    places: Box<[u64; PLACES]>,
    count: u64,
    sum_ns: u128,
    max_ns: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            places: Box::new([0; PLACES]),
            count: 0,
            sum_ns: 0,
            max_ns: 0,
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, ns: u64) {
        if let Some(place) = self.places.get_mut(place_of(ns)) {
            *place += 1;
        }
        self.count += 1;
        self.sum_ns += u128::from(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// The most that the given part of the values is.
    fn bound(&self, part: f64) -> u64 {
        let wanted = (self.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (place, count) in self.places.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return end_of(place).min(self.max_ns);
            }
        }
        self.max_ns
    }

    pub(crate) fn lateness(&self) -> Lateness {
        let us = |ns: u64| ns as f64 / 1e3;
        Lateness {
            mean_us: match self.count {
                0 => 0.0,
                count => self.sum_ns as f64 / count as f64 / 1e3,
            },
            p50_us: us(self.bound(0.5)),
            p99_us: us(self.bound(0.99)),
            p999_us: us(self.bound(0.999)),
            max_us: us(self.max_ns),
        }
    }
}

#[inline]
fn place_of(value: u64) -> usize {
    let bits = value.checked_ilog2().unwrap_or(0) as usize;
    match bits.checked_sub(PARTS.ilog2() as usize) {
        // The leading bits: from PARTS to 2·PARTS − 1.
        Some(shift) => shift * PARTS + (value >> shift) as usize,
        None => value as usize,
    }
}

/// The largest value of a place.
fn end_of(place: usize) -> u64 {
    let shift = (place / PARTS).saturating_sub(1);
    let leading = (place - shift * PARTS) as u64;
    // The last place ends where the numbers do.
    let end = (u128::from(leading) + 1) << shift;
    u64::try_from(end - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_place_that_ends_at_most_a_sixteenth_above_it() {
        let powers = (0..64).map(|bit| 1_u64 << bit);
        let values = powers.flat_map(|power| [power - 1, power, power + 1, power + power / 3]);
        let mut last = 0;
        for value in values.chain([u64::MAX]) {
            let place = place_of(value);
            assert!(place < PLACES, "{value}: {place}");
            let end = end_of(place);
            assert!(end >= value && end - value <= value / 16, "{value}: {end}");
            assert!(place_of(end) == place);
            if let Some(next) = end.checked_add(1) {
                assert_eq!(place_of(next), place + 1, "{value}");
            }
            last = last.max(place);
        }
        assert_eq!(last, PLACES - 1);
    }

    #[test]
    fn bounds_are_those_of_the_values() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.lateness(), Lateness::default());
        (1..=1000).for_each(|us| histogram.add(us * 1000));
        let lateness = histogram.lateness();
        assert!((lateness.mean_us - 500.5).abs() < 0.001);
        for (is, wanted) in [
            (lateness.p50_us, 500.0),
            (lateness.p99_us, 990.0),
            (lateness.p999_us, 999.0),
            (lateness.max_us, 1000.0),
        ] {
            assert!(is >= wanted && is <= wanted * 17.0 / 16.0, "{is} {wanted}");
        }
    }

    #[test]
    fn failures_are_counted_by_what_the_system_said() {
        let mut errors = SendErrors::default();
        for number in [101, 105, 101] {
            errors.add(&io::Error::from_raw_os_error(number), 7);
        }
        assert_eq!((errors.datagrams, errors.flows), (3, 21));
        let counts: Vec<u64> = errors.reasons.iter().map(|of| of.datagrams).collect();
        assert_eq!(counts, [2, 1]);
    }
}
