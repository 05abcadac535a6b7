//! By how much sequence numbers advance in a recording.

/// A message no further back than this came late; one further back is of an exporter that began anew.
const BACK_MAX: u32 = 1 << 14;

/// Follows the numbers of one exporter and observation domain through a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    /// The first message's.
    pub(super) first: u32,
    expected: u32,
}

impl Sequence {
    pub(super) const fn new(first: u32) -> Self {
        Self {
            first,
            expected: first,
        }
    }

    /// Takes the next message, which begins with number `number` and holds so many `units`.
    pub(super) const fn follow(&mut self, number: u32, units: u32) {
        let next = number.wrapping_add(units);
        let behind = self.expected.wrapping_sub(number);
        if behind == 0 || behind > BACK_MAX {
            self.expected = next;
            return;
        }
        // It may even be that the first was ahead of its time.
        if self.first.wrapping_sub(number) <= BACK_MAX {
            self.first = number;
        }
        let further = next.wrapping_sub(self.expected);
        if further <= BACK_MAX {
            self.expected = next;
        }
    }

    /// What the next loop's numbers are more than this one's, so that its first message is the one that is expected
    /// after the last.
    pub(super) const fn advance(&self) -> u32 {
        self.expected.wrapping_sub(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advance(messages: &[(u32, u32)]) -> u32 {
        let mut sequence = Sequence::new(messages[0].0);
        for &(number, units) in messages {
            sequence.follow(number, units);
        }
        sequence.advance()
    }

    #[test]
    fn a_loop_goes_on_after_the_last_message() {
        assert_eq!(advance(&[(100, 30), (130, 30)]), 60);
        assert_eq!(advance(&[(7, 1)]), 1);
        // What was lost on the way stays lost.
        assert_eq!(advance(&[(100, 30), (190, 30)]), 120);
        // Over the wrap.
        assert_eq!(advance(&[(u32::MAX, 1), (0, 1), (1, 1)]), 3);
        assert_eq!(advance(&[(5, 0)]), 0);
    }

    #[test]
    fn late_messages_do_not_turn_it_back() {
        assert_eq!(advance(&[(100, 10), (120, 10), (110, 10)]), 30);
        assert_eq!(advance(&[(100, 10), (90, 10)]), 20);
        // Nor does one that the first loop came too late for.
        assert_eq!(advance(&[(100, 10), (100, 12)]), 12);
    }

    #[test]
    fn an_exporter_that_began_anew_goes_on_from_there() {
        assert_eq!(
            advance(&[(1 << 20, 10), (0, 10), (10, 10)]),
            20_u32.wrapping_sub(1 << 20)
        );
    }
}
