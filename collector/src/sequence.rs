//! Sequence numbers: what was exported and never came.
//!
//! They count flows (v5, v7), messages (v9) or data records (IPFIX), modulo 2^32. A jump ahead
//! opens a gap; a message that comes late closes its part of one, since reordering is no loss. A
//! jump that no network explains is an exporter that began anew.

use std::ops::Range;

/// Gaps that are remembered to be closed by late messages; older ones are lost for good.
const GAPS_MAX: usize = 32;
/// A longer jump ahead is a reset: 2^24 flows are minutes of the fastest exporter.
const JUMP_MAX: u32 = 1 << 24;
/// A message further back than this is a reset, and not one that came twice.
const BACK_MAX: u32 = 1 << 14;
/// So many messages in a row that follow one another, but not the others, are a reset.
const ELSEWHERE_MAX: u8 = 3;

/// What a message's number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The expected one, or the first.
    InOrder,
    /// So many units before it have not come.
    Gap(u32),
    /// So many units that were missed came late.
    Late(u32),
    /// It came before.
    Repeated,
    /// The exporter counts anew.
    Reset,
}

/// Follows the numbers of one transport session and observation domain.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sequence {
    expected: Option<u32>,
    /// Units missed, in order of appearance.
    gaps: Vec<Range<u64>>,
    /// Where messages go on that are not where they were expected, and how many did.
    elsewhere: (u32, u8),
    uptime_ms: u32,
}

impl Sequence {
    /// Takes a message that begins with unit `number` and holds `units`; `None` where that cannot
    /// be told, because a template is missing.
    ///
    /// `uptime_ms` is the header's, where there is one: a lower one than before shows a restart.
    pub(crate) fn arrive(
        &mut self,
        number: u32,
        units: Option<u32>,
        uptime_ms: Option<u32>,
    ) -> Arrival {
        let next = units.map(|units| number.wrapping_add(units));
        let rebooted = uptime_ms.is_some_and(|uptime_ms| {
            let age = self.uptime_ms.wrapping_sub(uptime_ms);
            // Reordered messages are a moment older; a wrap is as good as no time back.
            (60_000..1 << 31).contains(&age) && uptime_ms < self.uptime_ms
        });
        self.uptime_ms = uptime_ms.unwrap_or_default();
        let Some(expected) = self.expected else {
            self.expected = next;
            return Arrival::InOrder;
        };
        let ahead = number.wrapping_sub(expected);
        let behind = expected.wrapping_sub(number);
        if ahead == 0 {
            self.expected = next;
            self.elsewhere = (0, 0);
            return Arrival::InOrder;
        }
        if rebooted {
            return self.reset(next);
        }
        if ahead <= JUMP_MAX {
            self.expected = next;
            let start = u64::from(expected);
            self.gaps.push(start..start + u64::from(ahead));
            self.forget_old_gaps();
            return Arrival::Gap(ahead);
        }
        let closed = self.close(number, units.unwrap_or(1));
        if closed > 0 {
            return Arrival::Late(closed);
        }
        let (place, count) = self.elsewhere;
        let count = if number == place { count + 1 } else { 1 };
        self.elsewhere = (next.unwrap_or(number), count);
        if behind > BACK_MAX || count >= ELSEWHERE_MAX {
            return self.reset(next);
        }
        Arrival::Repeated
    }

    fn reset(&mut self, next: Option<u32>) -> Arrival {
        let uptime_ms = self.uptime_ms;
        *self = Self {
            expected: next,
            uptime_ms,
            ..Self::default()
        };
        Arrival::Reset
    }

    /// A late message may leave two gaps of one, so every change counts.
    fn forget_old_gaps(&mut self) {
        let beyond = self.gaps.len().saturating_sub(GAPS_MAX);
        self.gaps.drain(..beyond);
    }

    /// Closes what `units` from `number` on cover of an open gap.
    fn close(&mut self, number: u32, units: u32) -> u32 {
        // A gap may reach over 2^32: then the numbers behind the wrap belong to it as well.
        for start in [u64::from(number), u64::from(number) + (1 << 32)] {
            let end = start + u64::from(units);
            let covered = |gap: &Range<u64>| start.max(gap.start)..end.min(gap.end);
            let Some(place) = self.gaps.iter().position(|gap| !covered(gap).is_empty()) else {
                continue;
            };
            let gap = self.gaps.remove(place);
            let Range {
                start: from,
                end: to,
            } = covered(&gap);
            let left = [gap.start..from, to..gap.end]
                .into_iter()
                .filter(|part| !part.is_empty());
            self.gaps.splice(place..place, left);
            self.forget_old_gaps();
            // A gap is no longer than JUMP_MAX.
            return (to - from) as u32;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(numbers: &[(u32, u32)]) -> Vec<Arrival> {
        let mut sequence = Sequence::default();
        numbers
            .iter()
            .map(|&(number, units)| sequence.arrive(number, Some(units), None))
            .collect()
    }

    use Arrival::{Gap, InOrder, Late, Repeated, Reset};

    #[test]
    fn a_gap_opens_and_a_late_message_closes_it() {
        assert_eq!(
            run(&[(0, 30), (60, 30), (30, 30), (90, 30)]),
            [InOrder, Gap(30), Late(30), InOrder]
        );
    }

    #[test]
    fn a_part_of_a_gap_stays_open() {
        let arrivals = run(&[(0, 10), (100, 10), (50, 10), (10, 10), (90, 10), (90, 10)]);
        assert_eq!(
            arrivals,
            [InOrder, Gap(90), Late(10), Late(10), Late(10), Repeated]
        );
    }

    #[test]
    fn late_messages_that_split_a_gap_cannot_make_ever_more_of_them() {
        let mut sequence = Sequence::default();
        sequence.arrive(0, Some(1), None);
        sequence.arrive(100_001, Some(1), None);
        for number in 1..10_000 {
            // Messages of data records and of templates alone.
            sequence.arrive(100_000 - 10 * number, Some(number % 2), None);
            assert!(sequence.gaps.len() <= GAPS_MAX);
        }
    }

    #[test]
    fn a_message_without_units_closes_nothing_and_splits_nothing() {
        let mut sequence = Sequence::default();
        sequence.arrive(0, Some(10), None);
        assert_eq!(sequence.arrive(100, Some(10), None), Gap(90));
        sequence.arrive(50, Some(0), None);
        assert_eq!((sequence.gaps.len(), &sequence.gaps[0]), (1, &(10..100)));
        assert_eq!(sequence.arrive(10, Some(90), None), Late(90));
    }

    #[test]
    fn numbers_wrap() {
        assert_eq!(run(&[(u32::MAX - 9, 10), (0, 10), (10, 1)]), [InOrder; 3]);
        assert_eq!(
            run(&[(u32::MAX - 19, 10), (10, 10), (0, 10), (u32::MAX - 9, 10)]),
            [InOrder, Gap(20), Late(10), Late(10)]
        );
    }

    #[test]
    fn a_far_jump_is_a_reset_either_way() {
        assert_eq!(
            run(&[(1 << 30, 1), (0, 1), (1, 1)]),
            [InOrder, Reset, InOrder]
        );
        assert_eq!(
            run(&[(0, 1), (1 << 30, 1), ((1 << 30) + 1, 1)]),
            [InOrder, Reset, InOrder]
        );
    }

    #[test]
    fn an_exporter_that_began_anew_soon_after_its_start_is_found_by_its_next_messages() {
        let arrivals = run(&[
            (0, 30),
            (30, 30),
            (60, 30),
            (0, 30),
            (30, 30),
            (60, 30),
            (90, 30),
        ]);
        assert_eq!(arrivals[3..], [Repeated, Repeated, Reset, InOrder]);
    }

    #[test]
    fn a_lower_uptime_is_a_reset() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.arrive(500, Some(1), Some(1_000_000)), InOrder);
        assert_eq!(sequence.arrive(0, Some(1), Some(2_000)), Reset);
        assert_eq!(sequence.arrive(1, Some(1), Some(3_000)), InOrder);
    }

    #[test]
    fn after_a_message_of_unknown_length_the_next_is_taken_as_it_is() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.arrive(10, None, None), InOrder);
        assert_eq!(sequence.arrive(99, Some(5), None), InOrder);
        assert_eq!(sequence.arrive(105, Some(5), None), Gap(1));
    }
}
