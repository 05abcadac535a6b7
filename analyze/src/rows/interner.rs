//! Texts and octets of any length, numbered: a row has room for a number only.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::error::AnalyzeError;

/// What a text takes beside its octets, about.
const ENTRY_BYTES: usize = 64;

/// Numbers octets in the order in which they first come. All threads share one.
#[derive(Debug)]
pub(crate) struct Interner {
    known: RwLock<Known>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Known {
    numbers: HashMap<Arc<[u8]>, u32>,
    values: Vec<Arc<[u8]>>,
    bytes: usize,
}

/// All octets by number.
pub(crate) type Texts = Vec<Arc<[u8]>>;

impl Interner {
    /// One that takes `limit` bytes at most.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            known: RwLock::default(),
            limit,
        }
    }

    /// The number of `octets`.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn number(&self, octets: &[u8]) -> Result<u32, AnalyzeError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = known.numbers.get(octets) {
            return Ok(number);
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = known.numbers.get(octets) {
            return Ok(number);
        }
        let too_many = || AnalyzeError::Texts { bytes: self.limit };
        let number = u32::try_from(known.values.len()).map_err(|_| too_many())?;
        known.bytes += octets.len() + ENTRY_BYTES;
        if known.bytes > self.limit {
            return Err(too_many());
        }
        let octets: Arc<[u8]> = octets.into();
        known.values.push(Arc::clone(&octets));
        known.numbers.insert(octets, number);
        Ok(number)
    }

    /// All octets so far, by number.
    pub(crate) fn texts(&self) -> Texts {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_octets_have_one_number() {
        let interner = Interner::new(1000);
        let numbers =
            ["a", "", "b", "a", ""].map(|text| interner.number(text.as_bytes()).expect("fits"));
        assert_eq!(numbers, [0, 1, 2, 0, 1]);
        let texts = interner.texts();
        assert_eq!(
            texts.iter().map(|text| &text[..]).collect::<Vec<_>>(),
            [b"a" as &[u8], b"", b"b"]
        );
    }

    #[test]
    fn there_may_not_be_too_many() {
        let interner = Interner::new(1000);
        let error = (0..1000_u32).find_map(|n| interner.number(&n.to_le_bytes()).err());
        assert!(matches!(error, Some(AnalyzeError::Texts { bytes: 1000 })));
        assert!(interner.texts().len() < 20);
    }
}
