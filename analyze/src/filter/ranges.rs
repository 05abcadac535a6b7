//! Sets of values as ranges, whatever the values are: numbers, times, addresses.
//!
//! Each kind of value has an order-preserving image in `u128`, its *key*, so that one piece of code compares them all, and
//! the complement of a set is a set.

/// A set of keys: ranges with both ends, apart from each other, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    /// The keys that are in any of `ranges`. One that ends before it begins has none.
    pub(super) fn new(ranges: impl IntoIterator<Item = (u128, u128)>) -> Self {
        let mut sorted: Vec<(u128, u128)> = ranges.into_iter().filter(|(a, z)| a <= z).collect();
        sorted.sort_unstable();
        let mut joined: Vec<(u128, u128)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }

    /// All other keys.
    pub(super) fn complement(&self) -> Self {
        let mut rest = Vec::with_capacity(self.0.len() + 1);
        let mut from = Some(0);
        for &(first, last) in &self.0 {
            if let (Some(from), Some(before)) = (from, first.checked_sub(1))
                && from <= before
            {
                rest.push((from, before));
            }
            from = last.checked_add(1);
        }
        rest.extend(from.map(|from| (from, u128::MAX)));
        Self(rest)
    }

    pub(super) fn contains(&self, key: u128) -> bool {
        self.overlaps(key, key)
    }

    /// Whether any key from `least` to `greatest` is in the set.
    pub(super) fn overlaps(&self, least: u128, greatest: u128) -> bool {
        let place = self.0.partition_point(|&(_, last)| last < least);
        self.0
            .get(place)
            .is_some_and(|&(first, _)| first <= greatest)
    }

    /// The ranges as far as a narrower type has such keys.
    pub(super) fn clipped<T: TryFrom<u128> + Copy>(&self, greatest: T) -> Vec<(T, T)> {
        let in_type = |&(first, last): &(u128, u128)| {
            let first = T::try_from(first).ok()?;
            Some((first, T::try_from(last).unwrap_or(greatest)))
        };
        self.0.iter().map_while(in_type).collect()
    }

    /// The keys, if there are only so many and no range is of several.
    pub(super) fn singles(&self, most: usize) -> Option<impl Iterator<Item = u128>> {
        let few = self.0.len() <= most && self.0.iter().all(|(first, last)| first == last);
        few.then(|| self.0.iter().map(|&(first, _)| first))
    }
}

/// The key of a signed number.
pub(super) fn signed(value: i64) -> u64 {
    value as u64 ^ 1 << 63
}

/// The key of a floating-point number: no number is above all others, and both zeros are one.
pub(super) fn float(value: f64) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    // -0.0 + 0.0 is 0.0.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

/// The key of a difference of two times.
pub(super) fn difference(value: i128) -> u128 {
    // From -2^64 to 2^64.
    (value + (1 << 64)) as u128
}

/// The key of octets read as a number, the first of them the greatest.
pub(super) fn octets(value: &[u8]) -> u128 {
    value
        .iter()
        .fold(0, |key, &octet| key << 8 | u128::from(octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_one() {
        let ranges = Ranges::new([(5, 9), (1, 2), (3, 3), (8, 12), (7, 6), (20, u128::MAX)]);
        assert_eq!(ranges.0, [(1, 3), (5, 12), (20, u128::MAX)]);
        let rest = ranges.complement();
        assert_eq!(rest.0, [(0, 0), (4, 4), (13, 19)]);
        assert_eq!(rest.complement(), ranges);
        let none = Ranges::new([]);
        assert_eq!(none.complement().0, [(0, u128::MAX)]);
        assert_eq!(none.complement().complement(), none);
    }

    #[test]
    fn what_overlaps() {
        let ranges = Ranges::new([(5, 9), (20, 30)]);
        for (least, greatest, overlaps) in [
            (0, 4, false),
            (0, 5, true),
            (9, 19, true),
            (10, 19, false),
            (10, 25, true),
            (31, u128::MAX, false),
        ] {
            assert_eq!(ranges.overlaps(least, greatest), overlaps, "{least}");
        }
        assert!(ranges.contains(20) && !ranges.contains(31));
    }

    #[test]
    fn ranges_are_cut_to_a_type() {
        let ranges = Ranges::new([(5, 9), (200, 300), (400, 500)]);
        assert_eq!(ranges.clipped(u8::MAX), [(5, 9), (200, 255)]);
    }

    #[test]
    fn keys_are_in_the_order_of_their_values() {
        let numbers = [i64::MIN, -1, 0, 1, i64::MAX].map(signed);
        assert!(numbers.is_sorted_by(|a, b| a < b));
        let floats = [
            f64::NEG_INFINITY,
            -1.5,
            -0.0,
            1e-300,
            2.0,
            f64::INFINITY,
            f64::NAN,
        ];
        assert!(floats.map(float).is_sorted_by(|a, b| a < b));
        assert_eq!(float(-0.0), float(0.0));
        let far = i128::from(i64::MAX) - i128::from(i64::MIN);
        assert!(
            [-far, -1, 0, far]
                .map(difference)
                .is_sorted_by(|a, b| a < b)
        );
        assert_eq!(octets(&[1, 0, 2]), 0x10002);
    }
}
