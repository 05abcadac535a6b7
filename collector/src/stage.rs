//! Records gather here before they become rows.
//!
//! A data set holds some two dozen records, often fewer, and each column costs a little
//! however few there are. So the records of equal layout are put one behind the other, set
//! after set and whoever sent them, and become rows some hundreds at a time. What the
//! records of a set have in common is kept once, as a run.

use std::sync::Arc;

use ahash::AHashMap;
use forebay_wire::reader::Reader;
use forebay_wire::record::variable_length;

use crate::domain::Domain;
use crate::kernel::Fields;
use crate::plan::{Place, RowPlan, Span, Step};
use crate::time::ExportTime;

/// Records become rows at so many bytes: they and what is written of them stay in a core's cache.
const STAGE_BYTES: usize = 16 << 10;

/// What the records of a set have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) count: usize,
    /// Its place in the order of arrival.
    pub(crate) arrival: u64,
    pub(crate) received_us: i64,
    pub(crate) export: ExportTime,
    /// The exporter's place among those of the stages.
    pub(crate) exporter: usize,
    pub(crate) port: u16,
    pub(crate) version: u8,
    pub(crate) template_id: Option<u16>,
    pub(crate) observation_domain: u32,
    /// The sampling rate that is told of all of them.
    pub(crate) rate: Option<u32>,
    /// Where its own part of the stage's rates begins.
    pub(crate) first_rate: usize,
    /// The domain's place and serial number, to count what is wrong with their values.
    pub(crate) domain: (usize, u64),
}

/// Records of one layout that are to become rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gathered<'a> {
    pub(crate) plan: &'a RowPlan,
    /// The bytes of a record.
    pub(crate) length: usize,
    pub(crate) records: &'a [u8],
    pub(crate) runs: &'a [Run],
    pub(crate) rates: &'a [(usize, Option<u32>)],
    /// What spans lie in.
    pub(crate) beside: &'a [u8],
}

impl<'a> Gathered<'a> {
    pub(crate) fn count(&self) -> usize {
        self.records.len() / self.length.max(1)
    }

    /// A field of all the records.
    pub(crate) fn field(&self, place: Place) -> Fields<'a> {
        Fields::new(
            self.records.chunks_exact(self.length.max(1)),
            place,
            self.beside,
        )
    }

    /// The first `count` records, and the rest, by bytes alone.
    pub(crate) fn split(self, count: usize) -> (Self, Self) {
        let middle = (count * self.length).min(self.records.len());
        let (records, others) = self.records.split_at(middle);
        (
            Self { records, ..self },
            Self {
                records: others,
                ..self
            },
        )
    }
}

/// Where the records of some layout gather.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) plan: Arc<RowPlan>,
    length: usize,
    records: Vec<u8>,
    pub(crate) runs: Vec<Run>,
    /// The sampling rates of so many records each, where the records have something to say of it.
    pub(crate) rates: Vec<(usize, Option<u32>)>,
}

impl Stage {
    pub(crate) fn new(plan: &Arc<RowPlan>, length: usize) -> Self {
        Self {
            plan: Arc::clone(plan),
            length,
            records: Vec::new(),
            runs: Vec::new(),
            rates: Vec::new(),
        }
    }

    /// The empty stage is for other records now.
    pub(crate) fn begin(&mut self, plan: &Arc<RowPlan>, length: usize) {
        self.plan = Arc::clone(plan);
        self.length = length;
    }

    pub(crate) fn add(&mut self, records: &[u8], run: Run) {
        self.records.extend_from_slice(records);
        self.runs.push(run);
    }

    /// Whether it has enough to become rows, of a batch of `capacity`.
    pub(crate) fn is_full(&self, capacity: usize) -> bool {
        self.records.len() >= STAGE_BYTES.min(capacity * self.length)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(crate) fn all<'a>(&'a self, beside: &'a [u8]) -> Gathered<'a> {
        Gathered {
            plan: &self.plan,
            length: self.length,
            records: &self.records,
            runs: &self.runs,
            rates: &self.rates,
            beside,
        }
    }

    /// The records of one run, which begin with the stage's `first`.
    pub(crate) fn one<'a>(&'a self, run: usize, first: usize, beside: &'a [u8]) -> Gathered<'a> {
        let runs = self.runs.get(run..=run).unwrap_or_default();
        let count = runs.iter().map(|run| run.count).sum();
        let rate_of = |run: usize| self.runs.get(run).map(|run| run.first_rate);
        let rates = rate_of(run).unwrap_or(0)..rate_of(run + 1).unwrap_or(self.rates.len());
        let (_, from) = self.all(beside).split(first);
        Gathered {
            runs,
            rates: self.rates.get(rates).unwrap_or_default(),
            ..from.split(count).0
        }
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.runs.clear();
        self.rates.clear();
    }
}

/// The exporters of the records in all stages.
#[derive(Debug, Default)]
pub(crate) struct Exporters {
    /// Their places, by their domains' serial numbers.
    places: AHashMap<u64, usize>,
    pub(crate) names: Vec<Arc<str>>,
}

impl Exporters {
    /// The place of a domain's exporter.
    pub(crate) fn place(&mut self, domain: &Domain) -> usize {
        let (places, names) = (&mut self.places, &mut self.names);
        *places.entry(domain.serial).or_insert_with(|| {
            names.push(Arc::clone(&domain.name));
            names.len() - 1
        })
    }

    /// To be called when nothing is left in the stages.
    pub(crate) fn clear(&mut self) {
        self.places.clear();
        self.names.clear();
    }
}

/// Takes a record of varying length: its fixed fields, and the spans of those others that a column
/// wants, go to `records`, and the bytes of these `beside`. `None`, and nothing is taken, where the
/// record goes beyond the set.
pub(crate) fn gather(
    reader: &mut Reader<'_>,
    steps: &[Step],
    records: &mut Vec<u8>,
    beside: &mut Vec<u8>,
) -> Option<()> {
    let mut next = *reader;
    let before = [records.len(), beside.len()];
    let mut walk = || {
        for step in steps {
            match *step {
                Step::Take(bytes) => records.extend_from_slice(next.take(bytes).ok()?),
                Step::Keep => {
                    let field = variable_length(&mut next).ok()?;
                    let ends = [beside.len(), field.len()];
                    // What is beside is far less than 4 GiB.
                    let span: Span = ends.map(|end| (end as u32).to_ne_bytes());
                    records.extend_from_slice(span.as_flattened());
                    beside.extend_from_slice(field);
                }
                Step::Skip => {
                    variable_length(&mut next).ok()?;
                }
            }
        }
        Some(())
    };
    if walk().is_none() {
        records.truncate(before[0]);
        beside.truncate(before[1]);
        return None;
    }
    *reader = next;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_goes_beyond_the_set_leaves_nothing() {
        let steps = [Step::Take(2), Step::Keep, Step::Skip, Step::Take(1)];
        let body = [1, 2, 2, b'a', b'b', 1, 9, 3, 4, 5, 1, b'c'];
        let (mut records, mut beside) = (Vec::new(), Vec::new());
        let mut reader = Reader::new(&body);
        assert!(gather(&mut reader, &steps, &mut records, &mut beside).is_some());
        assert_eq!((reader.offset(), records.len()), (8, 2 + 8 + 1));
        assert_eq!((records[..2].to_vec(), records[10]), (vec![1, 2], 3));
        assert_eq!(beside, b"ab");
        assert!(gather(&mut reader, &steps, &mut records, &mut beside).is_none());
        assert_eq!((reader.offset(), records.len()), (8, 2 + 8 + 1));
        assert_eq!(beside, b"ab");
    }
}
