//! Lists of those who saw a flow, one behind the other: all together are no longer than the rows that they
//! are made of.

use std::sync::{Mutex, PoisonError};

/// A list is found by its chunk, and in the low bits by its place there.
const PLACE_BITS: u32 = 16;
const CHUNK_WORDS: usize = 1 << PLACE_BITS;

/// Chunks that workers have begun, and filled.
#[derive(Debug, Default)]
pub(super) struct Lists(Mutex<Vec<Vec<u32>>>);

/// A worker's open chunk.
#[derive(Debug, Default)]
pub(super) struct OpenChunk {
    number: Option<u32>,
    words: Vec<u32>,
}

impl Lists {
    /// Adds a list: its number; `None` where there are too many.
    pub(super) fn add(&self, open: &mut OpenChunk, list: &[u32]) -> Option<u32> {
        if open.number.is_none() || open.words.len() + 1 + list.len() > CHUNK_WORDS {
            self.close(open);
            let mut chunks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let number = u32::try_from(chunks.len()).ok();
            // The last chunk's numbers are kept for what is no list.
            open.number = number.filter(|&number| number < u32::MAX >> PLACE_BITS);
            open.number?;
            chunks.push(Vec::new());
        }
        // A longer list is alone in its chunk, at the first place.
        let place = open.words.len() as u32;
        open.words.push(list.len() as u32);
        open.words.extend_from_slice(list);
        Some(open.number? << PLACE_BITS | place)
    }

    /// Keeps what a worker has gathered.
    pub(super) fn close(&self, open: &mut OpenChunk) {
        if let Some(number) = open.number.take() {
            let mut chunks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(chunk) = chunks.get_mut(number as usize) {
                *chunk = std::mem::take(&mut open.words);
            }
        }
    }

    /// All lists, once all are added.
    pub(super) fn finish(self) -> AllLists {
        AllLists(self.0.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Lists by number.
#[derive(Debug, Default)]
pub(super) struct AllLists(Vec<Vec<u32>>);

impl AllLists {
    pub(super) fn get(&self, number: u32) -> Option<&[u32]> {
        let chunk = self.0.get((number >> PLACE_BITS) as usize)?;
        let rest = chunk.get(number as usize % CHUNK_WORDS..)?;
        let (&length, rest) = rest.split_first()?;
        rest.get(..length as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_several_workers_are_found_again() {
        let lists = Lists::default();
        let mut open = [OpenChunk::default(), OpenChunk::default()];
        let long: Vec<u32> = (0..100_000).collect();
        let mut added = Vec::new();
        for n in 0..60_000_usize {
            let list = if n == 777 {
                &long[..]
            } else {
                &long[n..n + n % 5]
            };
            let number = lists.add(&mut open[n % 2], list).expect("has room");
            added.push((number, list));
        }
        open.iter_mut().for_each(|open| lists.close(open));
        let lists = lists.finish();
        assert!(
            added
                .iter()
                .all(|(number, list)| lists.get(*number) == Some(list))
        );
        assert_eq!(lists.get(u32::MAX), None);
    }
}
