//! Chance that is the same everywhere and for ever.
//!
//! The generator is one by name (PCG XSL 128/64 MCG), and everything made of its numbers is made here with integers: no
//! distribution of a library that may change, and no transcendental function, which systems round differently.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(Pcg64Mcg);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds would begin with similar numbers.
        let [high, low] = [mix(seed), mix(!seed)];
        Self(Pcg64Mcg::new(u128::from(high) << 64 | u128::from(low)))
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`, which is not 0; each as likely as any other, to within 2⁻³².
    #[inline]
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        scale(self.next(), end)
    }

    /// A number below `end`, which is not 0; the `k`-th about as likely as 1/`k` (Zipf's law).
    ///
    /// Every octave 1, 2–3, 4–7, … has the same chance, and so has every number of an octave: where 1/`k` is a curve,
    /// this is a staircase that meets it once per octave. It needs no table, however many numbers there are.
    #[inline]
    pub(crate) fn zipf(&mut self, end: u32) -> u32 {
        let octaves = end.ilog2() + 1;
        loop {
            let random = self.next();
            let first = 1_u32 << scale(random, octaves);
            // The other half of the number.
            let rank = first - 1 + (random as u32 & (first - 1));
            // Beyond the end lies a part of the last octave only.
            if rank < end {
                return rank;
            }
        }
    }
}

/// Maps the upper half of a random number to a number below `end`.
#[inline]
pub(crate) const fn scale(random: u64, end: u32) -> u32 {
    (((random >> 32) * end as u64) >> 32) as u32
}

/// Scatters a number over all numbers, one to one (the finalizer of SplitMix64).
#[inline]
pub(crate) const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(mut draw: impl FnMut(&mut Random) -> u32, end: usize) -> Vec<u32> {
        let mut random = Random::new(1);
        let mut counts = vec![0; end];
        for _ in 0..100_000 {
            counts[draw(&mut random) as usize] += 1;
        }
        counts
    }

    #[test]
    fn the_numbers_of_a_seed_are_these_for_ever() {
        let mut random = Random::new(1);
        let numbers: Vec<_> = (0..3).map(|_| random.next()).collect();
        // As a plain implementation of the algorithm's description gives them.
        assert_eq!(
            numbers,
            [
                5_008_804_015_799_018_935,
                1_997_891_166_926_688_489,
                10_299_103_704_554_651_859
            ]
        );
        assert_eq!(
            mix(0),
            0xe220_a839_7b1d_cdaf,
            "the reference's first number"
        );
    }

    #[test]
    fn below_reaches_every_number_alike() {
        let counts = histogram(|random| random.below(10), 10);
        assert!(
            counts.iter().all(|count| (9_500..10_500).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn zipf_halves_from_octave_to_octave() {
        let counts = histogram(|random| random.zipf(7), 7);
        assert!((32_000..34_700).contains(&counts[0]), "{counts:?}");
        assert!((15_900..17_500).contains(&counts[2]), "{counts:?}");
        assert!((7_800..8_900).contains(&counts[6]), "{counts:?}");
    }

    #[test]
    fn zipf_stays_below_any_end() {
        let mut random = Random::new(2);
        for end in [1, 2, 3, 4, 5, 100, 1 << 27] {
            assert!((0..1000).all(|_| random.zipf(end) < end), "{end}");
        }
    }
}
