//! When two rows of one key are the same flow, and which of them stays.

use std::cmp::Ordering;
use std::collections::HashMap;

/// How far apart two numbers may be that tell of the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// They are not compared.
    Any,
    /// By so much at most.
    Within(u64),
    /// By so many millionths of the greater one at most.
    WithinShare(u32),
}

impl Agreement {
    /// They are the same.
    pub const EXACT: Self = Self::Within(0);

    /// Whether two values agree. One that was not exported agrees only with another that was not.
    pub(super) fn holds(self, one: Option<u64>, other: Option<u64>) -> bool {
        if self == Self::Any {
            return true;
        }
        let (Some(one), Some(other)) = (one, other) else {
            return one == other;
        };
        let apart = one.abs_diff(other);
        match self {
            Self::Any => true,
            Self::Within(most) => apart <= most,
            Self::WithinShare(millionths) => {
                let most = u128::from(one.max(other)) * u128::from(millionths);
                u128::from(apart) * 1_000_000 <= most
            }
        }
    }
}

/// Which row of a group stays. Where it does not say, the first does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Keep {
    /// The one that began first.
    #[default]
    First,
    /// The one with the most bytes.
    MostBytes,
    /// That of the exporter that stands first in this list; those that are not in it come last.
    ExporterOrder(Vec<String>),
}

/// When two rows of one key are duplicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Rows of the same exporter and observation domain may be duplicates too.
    pub within: bool,
    /// How far apart they may begin, in microseconds.
    pub start_delta_us: u64,
    /// How far apart their durations may be, in microseconds.
    pub duration: Agreement,
    /// How their packets agree.
    pub packets: Agreement,
    /// How their bytes agree.
    pub bytes: Agreement,
}

impl Default for Rules {
    fn default() -> Self {
        const DELTA_US: u64 = 2_000_000;
        Self {
            within: false,
            start_delta_us: DELTA_US,
            duration: Agreement::Within(DELTA_US),
            packets: Agreement::EXACT,
            bytes: Agreement::EXACT,
        }
    }
}

impl Rules {
    /// Whether rows with different counters are never duplicates, so that counters are as good as a key.
    pub(super) fn counters_are_key(&self) -> bool {
        [self.packets, self.bytes] == [Agreement::EXACT; 2]
    }

    /// Whether rows without a counter can be told apart from others.
    pub(super) fn compares_counters(&self) -> bool {
        [self.packets, self.bytes] != [Agreement::Any; 2]
    }

    /// Whether two rows of one key are alike; whose they are is another question.
    pub(super) fn alike(&self, one: &Flow, other: &Flow) -> bool {
        one.first_us.abs_diff(other.first_us) <= self.start_delta_us
            && self.duration.holds(one.duration_us, other.duration_us)
            && self.packets.holds(one.packets, other.packets)
            && self.bytes.holds(one.bytes, other.bytes)
    }
}

/// What is compared of a row, beside its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    /// When it began; where that is not known, when it was received.
    pub(super) first_us: i64,
    pub(super) duration_us: Option<u64>,
    pub(super) packets: Option<u64>,
    pub(super) bytes: Option<u64>,
    /// The place of its exporter and observation domain among all, in their order.
    pub(super) origin: u32,
    /// A digest of other columns, so that the order of rows is their content's.
    pub(super) digest: u32,
    /// Which row of the input it is.
    pub(super) row: u64,
}

impl Flow {
    /// The order in which the rows of a key are looked at, whatever order they came in.
    pub(super) fn canonical(&self, other: &Self) -> Ordering {
        let by = |flow: &Self| {
            let Self {
                first_us,
                duration_us,
                packets,
                bytes,
                origin,
                digest,
                row,
            } = *flow;
            (first_us, origin, duration_us, packets, bytes, digest, row)
        };
        by(self).cmp(&by(other))
    }
}

/// [`Keep`] with the origins' places in its list.
#[derive(Debug)]
pub(super) enum Preference {
    First,
    MostBytes,
    /// By origin.
    Places(Vec<u32>),
}

impl Preference {
    /// `exporters` are those of the origins, in the origins' order.
    pub(super) fn new<'e>(keep: &Keep, exporters: impl Iterator<Item = &'e str>) -> Self {
        match keep {
            Keep::First => Self::First,
            Keep::MostBytes => Self::MostBytes,
            Keep::ExporterOrder(list) => {
                let mut places = HashMap::new();
                for (exporter, place) in list.iter().zip(0..) {
                    places.entry(exporter.as_str()).or_insert(place);
                }
                let place = |exporter| places.get(exporter).copied().unwrap_or(u32::MAX);
                Self::Places(exporters.map(place).collect())
            }
        }
    }

    /// Which of the rows of a group stays, by its place among them. They are in canonical order.
    pub(super) fn choose<'f>(&self, group: impl Iterator<Item = &'f Flow>) -> usize {
        let group = group.enumerate();
        // Of equals, the first is the least.
        let chosen = match self {
            Self::First => return 0,
            Self::MostBytes => group.min_by_key(|(_, flow)| std::cmp::Reverse(flow.bytes)),
            Self::Places(places) => group.min_by_key(|(_, flow)| {
                let place = usize::try_from(flow.origin).ok();
                place.and_then(|place| places.get(place)).copied()
            }),
        };
        chosen.map_or(0, |(place, _)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_exported_agrees_only_with_the_like() {
        for agreement in [Agreement::EXACT, Agreement::WithinShare(1_000_000)] {
            assert!(agreement.holds(None, None));
            assert!(!agreement.holds(None, Some(0)));
            assert!(agreement.holds(Some(0), Some(0)));
        }
        assert!(Agreement::Any.holds(None, Some(7)));
    }

    #[test]
    fn a_share_is_of_the_greater_number_and_does_not_overflow() {
        let percent = Agreement::WithinShare(10_000);
        assert!(percent.holds(Some(99), Some(100)));
        assert!(!percent.holds(Some(98), Some(100)));
        assert!(percent.holds(Some(u64::MAX), Some(u64::MAX - (u64::MAX / 100))));
        assert!(!percent.holds(Some(u64::MAX), Some(0)));
        assert!(Agreement::Within(u64::MAX).holds(Some(u64::MAX), Some(0)));
    }
}
