//! What is counted as different: exporters and addresses of groups, as rows of their own.
//!
//! ```text
//! exact:   key words … | which value, of which form | high half | low half
//! sketch:  key words … | which value, which register | rank
//! ```
//!
//! A sketch is a HyperLogLog's registers, one row for each that is not empty, of which the greatest rank is
//! kept: so sketches are merged, and put aside, as all rows are. Only in the end a library makes an estimate
//! of them.

use arrow_array::Array;
use hyperloglockless::HyperLogLog;

use super::key::Address;
use super::layout::{DISTINCT, Layout};
use super::table::{Merge, Table};
use super::value::Value;
use super::view::{Ip, View};
use crate::error::AnalyzeError;
use crate::rows::{Interner, SPREAD, hash};

/// The forms that a value has. A null has none, and does not count.
const NUMBER: u64 = 1;
const IPV4: u64 = 2;
const IPV6: u64 = 3;
/// Which value it is stands above its form or its register.
const WHICH_SHIFT: u32 = 32;
/// There are 4096 registers: the standard error is 1.6 %.
const PRECISION: u8 = 12;

/// How different values are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    Exact,
    Sketch,
}

impl Counting {
    /// The words behind the key.
    pub(super) fn words(self) -> usize {
        match self {
            Self::Exact => 3,
            Self::Sketch => 2,
        }
    }

    /// How rows of so many words in all are merged.
    pub(super) fn merge(self, words: usize) -> Merge {
        match self {
            Self::Exact => Merge::distinct(words),
            Self::Sketch => Merge::greatest(words),
        }
    }

    /// Fills in how many different values each group has.
    pub(super) fn count(self, layout: &Layout, groups: &mut Table, different: &Table) {
        let words = layout.key_words + self.words();
        let rows = different.rows().chunks_exact(words);
        let found = rows.filter_map(|row| {
            let (key, value) = row.split_at(layout.key_words);
            let word = layout.values.distinct[(value[0] >> WHICH_SHIFT) as usize]?;
            Some((
                groups.find(key)? + word,
                value[0] as u32,
                value[value.len() - 1],
            ))
        });
        match self {
            Self::Exact => {
                let counted = found.filter(|(_, form, _)| *form != 0);
                let counted: Vec<usize> = counted.map(|(word, ..)| word).collect();
                counted
                    .into_iter()
                    .for_each(|word| groups.rows_mut()[word] += 1);
            }
            Self::Sketch => {
                let counted = found.filter(|(.., rank)| *rank > 0);
                let mut registers: Vec<(usize, u32, u64)> = counted.collect();
                registers.sort_unstable();
                for of_word in registers.chunk_by(|one, next| one.0 == next.0) {
                    groups.rows_mut()[of_word[0].0] = estimate(of_word);
                }
            }
        }
    }
}

/// What a sketch with these registers says.
fn estimate(registers: &[(usize, u32, u64)]) -> u64 {
    let mut sketch = HyperLogLog::seeded(PRECISION, 0);
    for &(_, register, rank) in registers {
        // A hash of which the sketch takes just this register and rank.
        let index = u64::from(register) << (64 - u32::from(PRECISION));
        sketch.insert_hash(index | 1 << (rank - 1));
    }
    sketch.raw_count().round() as u64
}

/// The register of a value, and its rank: as the library takes them of a hash.
fn register(form: u64, value: u128) -> (u64, u64) {
    let hash = hash(&[form, (value >> 64) as u64, value as u64], SPREAD);
    // The rank comes from the other bits: where they are all zero, it is the greatest.
    let rank = hash.trailing_zeros().min(63 - u32::from(PRECISION));
    (hash >> (64 - u32::from(PRECISION)), u64::from(rank) + 1)
}

/// The words behind the key, column by column.
pub(super) struct Different {
    counting: Counting,
    words: Vec<Vec<u64>>,
    numbers: Vec<u32>,
}

impl Different {
    pub(super) fn new(counting: Counting) -> Self {
        Self {
            counting,
            words: vec![Vec::new(); counting.words()],
            numbers: Vec::new(),
        }
    }

    /// What the flows of `view` have of the value at `place` in [`DISTINCT`].
    pub(super) fn fill(
        &mut self,
        view: View<'_>,
        place: usize,
        interner: &Interner,
    ) -> Result<impl Iterator<Item = &[u64]>, AnalyzeError> {
        self.words.iter_mut().for_each(Vec::clear);
        let which = (place as u64) << WHICH_SHIFT;
        match DISTINCT[place] {
            Value::SrcCount => self.addresses(view, Address::Src, which)?,
            Value::DstCount => self.addresses(view, Address::Dst, which)?,
            _ => match view.numbers("exporter", interner, &mut self.numbers)? {
                None => (0..view.rows()).for_each(|_| self.push(which, None)),
                Some(column) => {
                    let numbers = std::mem::take(&mut self.numbers);
                    for (row, &number) in numbers.iter().enumerate() {
                        let value = column.is_valid(row).then_some((NUMBER, u128::from(number)));
                        self.push(which, value);
                    }
                    self.numbers = numbers;
                }
            },
        }
        Ok(self.words.iter().map(Vec::as_slice))
    }

    fn addresses(
        &mut self,
        view: View<'_>,
        address: Address,
        which: u64,
    ) -> Result<(), AnalyzeError> {
        let addresses = view.addresses(address)?;
        for row in 0..view.rows() {
            let value = addresses.get(row).map(|address| match address {
                Ip::V4(address) => (IPV4, u128::from(address)),
                Ip::V6(address) => (IPV6, address),
            });
            self.push(which, value);
        }
        Ok(())
    }

    fn push(&mut self, which: u64, value: Option<(u64, u128)>) {
        match self.counting {
            Counting::Exact => {
                let (form, value) = value.unwrap_or_default();
                self.push_words([which | form, (value >> 64) as u64, value as u64]);
            }
            Counting::Sketch => {
                let (register, rank) = value.map_or((0, 0), |(form, value)| register(form, value));
                self.push_words([which | register, rank]);
            }
        }
    }

    fn push_words<const N: usize>(&mut self, words: [u64; N]) {
        for (column, word) in self.words.iter_mut().zip(words) {
            column.push(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_near_what_is_counted() {
        for count in [0_u64, 1, 2, 10, 100, 1000, 10_000, 100_000, 1_000_000] {
            let mut ranks = vec![0; 1 << PRECISION];
            for value in 0..count {
                let (register, rank) = register(IPV4, u128::from(value + 0x0a00_0000));
                let known = &mut ranks[register as usize];
                *known = rank.max(*known);
            }
            let set = (0..).zip(ranks).filter(|(_, rank)| *rank > 0);
            let registers: Vec<(usize, u32, u64)> = set.map(|(n, rank)| (0, n, rank)).collect();
            let estimate = estimate(&registers) as f64;
            let error = (estimate - count as f64).abs();
            // Three times the standard error; of few, hardly any.
            assert!(error <= 0.05 * count as f64, "{estimate} of {count}");
        }
    }
}
