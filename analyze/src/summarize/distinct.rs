//! What is counted as different: exporters and addresses of groups, as rows of their own.
//!
//! ```text
//! key words … | which value, of which form | high half | low half
//! ```

use arrow_array::Array;

use super::engine::DISTINCT_WORDS;
use super::key::Address;
use super::layout::DISTINCT;
use super::value::Value;
use super::view::{Ip, View};
use crate::error::AnalyzeError;
use crate::rows::Interner;

/// The forms that a value has. A null has none, and does not count.
const NUMBER: u64 = 1;
const IPV4: u64 = 2;
const IPV6: u64 = 3;
const FORM_BITS: u32 = 8;

/// Which of [`DISTINCT`] a row tells of, if it counts.
pub(super) fn counted(what: u64) -> Option<usize> {
    (what & 0xff != 0).then_some((what >> FORM_BITS) as usize)
}

/// The words behind the key, column by column.
#[derive(Default)]
pub(super) struct Different {
    words: [Vec<u64>; DISTINCT_WORDS],
    numbers: Vec<u32>,
}

impl Different {
    /// What the flows of `view` have of the value at `place` in [`DISTINCT`].
    pub(super) fn fill(
        &mut self,
        view: View<'_>,
        place: usize,
        interner: &Interner,
    ) -> Result<[&[u64]; DISTINCT_WORDS], AnalyzeError> {
        self.words.iter_mut().for_each(Vec::clear);
        let which = (place as u64) << FORM_BITS;
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
        Ok(self.words.each_ref().map(Vec::as_slice))
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
        let (form, value) = value.unwrap_or_default();
        let words = [which | form, (value >> 64) as u64, value as u64];
        for (column, word) in self.words.iter_mut().zip(words) {
            column.push(word);
        }
    }
}
