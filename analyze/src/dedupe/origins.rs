//! Who told a row: exporters, their observation domains, and lists of exporters, as numbers.

use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use super::numbers::NumberMap;
use crate::error::AnalyzeError;
use crate::rows::Interner;

/// What an entry of a table takes beside its numbers.
const ENTRY_BYTES: usize = 64;
/// No list.
pub(super) const NO_LIST: u32 = u32::MAX;

/// All that the inputs name. What a worker has met already it finds in its own [`Known`], without a lock.
pub(super) struct Names {
    texts: Interner,
    tables: Mutex<Tables>,
    limit: usize,
}

#[derive(Default)]
struct Tables {
    lists: NumberMap<Box<[u32]>, u32>,
    origins: NumberMap<Origin, u32>,
    bytes: usize,
}

/// Who told a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) exporter: u32,
    pub(super) domain: u32,
    /// The exporters that saw the row, where it comes from where duplicates were removed already.
    pub(super) list: u32,
}

/// What one worker has met.
#[derive(Default)]
pub(super) struct Known {
    lists: NumberMap<Box<[u32]>, u32>,
    origins: NumberMap<Origin, u32>,
}

impl Names {
    /// Names that take `limit` bytes at most, and so much again for lists and origins.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            texts: Interner::new(limit),
            tables: Mutex::default(),
            limit,
        }
    }

    pub(super) fn text(&self, text: &[u8]) -> Result<u32, AnalyzeError> {
        self.texts.number(text)
    }

    pub(super) fn list(&self, known: &mut Known, list: &[u32]) -> Result<u32, AnalyzeError> {
        if let Some(&number) = known.lists.get(list) {
            return Ok(number);
        }
        let number = self.number(|tables| &mut tables.lists, list.into(), size_of_val(list))?;
        known.lists.insert(list.into(), number);
        Ok(number)
    }

    pub(super) fn origin(&self, known: &mut Known, origin: Origin) -> Result<u32, AnalyzeError> {
        if let Some(&number) = known.origins.get(&origin) {
            return Ok(number);
        }
        let number = self.number(|tables| &mut tables.origins, origin, size_of::<Origin>())?;
        known.origins.insert(origin, number);
        Ok(number)
    }

    fn number<K: Hash + Eq>(
        &self,
        table: impl Fn(&mut Tables) -> &mut NumberMap<K, u32>,
        key: K,
        bytes: usize,
    ) -> Result<u32, AnalyzeError> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = table(&mut tables).get(&key) {
            return Ok(number);
        }
        tables.bytes += bytes + ENTRY_BYTES;
        let number = u32::try_from(table(&mut tables).len()).unwrap_or(NO_LIST);
        if tables.bytes > self.limit || number == NO_LIST {
            return Err(AnalyzeError::Texts { bytes: self.limit });
        }
        table(&mut tables).insert(key, number);
        Ok(number)
    }

    /// The texts by number.
    pub(super) fn texts(&self) -> Vec<String> {
        let text = |octets: &Arc<[u8]>| String::from_utf8_lossy(octets).into_owned();
        self.texts.texts().iter().map(text).collect()
    }

    /// The lists by number.
    pub(super) fn lists(&self) -> Vec<Box<[u32]>> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        in_order(&tables.lists, Clone::clone)
    }

    /// The origins in an order that is theirs, not that of the input.
    pub(super) fn origins(&self) -> Origins {
        let (texts, lists) = (self.texts(), self.lists());
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let by_number = in_order(&tables.origins, |&origin| origin);
        drop(tables);
        let text = |number: u32| texts.get(number as usize).map(String::as_str);
        let told = |number: u32| {
            let list = lists.get(number as usize);
            let texts = list.map(|list| list.iter().map(|&number| text(number)).collect());
            texts.unwrap_or_else(Vec::new)
        };
        let mut order: Vec<usize> = (0..by_number.len()).collect();
        order.sort_by_cached_key(|&number| {
            let Origin {
                exporter,
                domain,
                list,
            } = by_number[number];
            (text(exporter), domain, told(list))
        });
        let mut places = vec![0; order.len()];
        let mut parties = Vec::with_capacity(order.len());
        let mut sorted: Vec<Origin> = Vec::with_capacity(order.len());
        for (&number, place) in order.iter().zip(0..) {
            places[number] = place;
            let origin = by_number[number];
            let is_new = sorted.last().is_none_or(|last| {
                (last.exporter, last.domain) != (origin.exporter, origin.domain)
            });
            let party = parties.last().map_or(0, |last| last + u32::from(is_new));
            parties.push(party);
            sorted.push(origin);
        }
        Origins {
            places,
            parties,
            sorted,
            texts,
            lists,
        }
    }
}

fn in_order<K, T>(table: &NumberMap<K, u32>, of: impl Fn(&K) -> T) -> Vec<T> {
    let mut entries: Vec<(u32, &K)> = table.iter().map(|(key, &number)| (number, key)).collect();
    entries.sort_unstable_by_key(|(number, _)| *number);
    entries.into_iter().map(|(_, key)| of(key)).collect()
}

/// All origins, in the order of exporter, domain and list.
pub(super) struct Origins {
    /// By number: its place in this order.
    places: Vec<u32>,
    /// By place: the same for all of one exporter and domain.
    pub(super) parties: Vec<u32>,
    /// By place.
    sorted: Vec<Origin>,
    texts: Vec<String>,
    lists: Vec<Box<[u32]>>,
}

impl Origins {
    /// The place of the origin of that number.
    pub(super) fn place(&self, number: u32) -> u32 {
        self.places.get(number as usize).copied().unwrap_or(0)
    }

    /// The exporter of the origin at `place`, by number.
    pub(super) fn exporter(&self, place: u32) -> u32 {
        self.sorted
            .get(place as usize)
            .map_or(0, |origin| origin.exporter)
    }

    /// The exporters of all origins, in their order.
    pub(super) fn exporters(&self) -> impl Iterator<Item = &str> {
        let text = |origin: &Origin| self.texts.get(origin.exporter as usize);
        self.sorted
            .iter()
            .map(move |origin| text(origin).map_or("", String::as_str))
    }

    /// Adds those who saw a row of the origin at `place` to `seen`, if they are not in it.
    pub(super) fn add_seen(&self, place: u32, seen: &mut Vec<u32>) {
        let Some(origin) = self.sorted.get(place as usize) else {
            return;
        };
        let own = [origin.exporter];
        let list = self.lists.get(origin.list as usize);
        for &exporter in list.map_or(own.as_slice(), |list| list) {
            if !seen.contains(&exporter) {
                seen.push(exporter);
            }
        }
    }

    pub(super) fn text(&self, exporter: u32) -> &str {
        self.texts.get(exporter as usize).map_or("", String::as_str)
    }
}
