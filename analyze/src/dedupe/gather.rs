//! Puts rows that are picked out of batches together to batches of the output.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int32Array, ListArray, RecordBatch, UInt32Array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType, FieldRef, SchemaRef};
use forebay_store::{SEEN_BY, SEEN_EXPORTERS};

use super::lists::AllLists;
use super::origins::{NO_LIST, Names};
use crate::error::AnalyzeError;

mod columns;
mod dictionary;

pub(super) use columns::Pick;
use dictionary::Dictionary;

/// The rows of a batch of the output: as many as a collector's batches have.
pub(super) const BATCH_ROWS: usize = 8192;

/// A batch that rows are picked from.
pub(super) struct Source {
    /// By place in the output; `None` where there is no value.
    columns: Vec<Option<ArrayRef>>,
    exporters: Int32Array,
    /// The exporters of its dictionary, by number.
    names: Vec<u32>,
    rows: Rows,
    /// The column of those who saw a row, and the exporters of its dictionary.
    seen: Option<(ListArray, Vec<u32>)>,
    pub(super) bytes: usize,
}

/// The rows of a batch that stay.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Their places in the batch, in order.
    pub(super) places: Vec<u32>,
    /// For each, who saw it; [`NO_LIST`] where the column or else the exporter tells. Empty where that is
    /// so for all.
    pub(super) lists: Vec<u32>,
}

/// The columns of the output.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    pub(super) schema: SchemaRef,
}

impl Columns {
    pub(super) fn tells_seen(&self) -> bool {
        self.schema.column_with_name(SEEN_BY).is_some()
    }
}

impl Source {
    /// Takes those rows of a batch that stay; `None` where it is no batch of flows.
    pub(super) fn new(
        batch: &RecordBatch,
        columns: &Columns,
        names: &Names,
        rows: Rows,
    ) -> Result<Option<Self>, AnalyzeError> {
        let numbers = |dictionary: &DictionaryArray<Int32Type>| {
            let texts = dictionary.values().as_string::<i32>();
            let number = |text: Option<&str>| names.text(text.unwrap_or_default().as_bytes());
            texts.iter().map(number).collect::<Result<Vec<u32>, _>>()
        };
        let exporters = batch.column_by_name("exporter");
        let Some(exporters) = exporters.and_then(|array| array.as_dictionary_opt::<Int32Type>())
        else {
            return Ok(None);
        };
        let seen = batch.column_by_name(SEEN_EXPORTERS);
        let seen = match seen
            .filter(|_| columns.tells_seen())
            .and_then(|a| a.as_list_opt::<i32>())
        {
            Some(lists) => {
                let values = lists.values().as_dictionary_opt::<Int32Type>();
                values.map(|values| Ok::<_, AnalyzeError>((lists.clone(), numbers(values)?)))
            }
            None => None,
        };
        let column = |field: &FieldRef| {
            let array = batch.column_by_name(field.name())?;
            (array.null_count() < batch.num_rows()).then(|| Arc::clone(array))
        };
        let arrays: Vec<_> = columns.schema.fields().iter().map(column).collect();
        let bytes = arrays.iter().flatten().map(|array| {
            let size = array.to_data().get_slice_memory_size();
            size.unwrap_or(usize::MAX >> 16)
        });
        Ok(Some(Self {
            bytes: bytes.sum::<usize>() + 4 * (rows.places.len() + rows.lists.len()),
            columns: arrays,
            exporters: exporters.keys().clone(),
            names: numbers(exporters)?,
            rows,
            seen: seen.transpose()?,
        }))
    }

    /// Those `count` rows that stay from the one at `place` on.
    pub(super) fn pick(&self, source: usize, place: usize, count: usize) -> Pick<'_> {
        let rows = self.rows.places.get(place..place + count);
        Pick {
            source,
            rows: rows.unwrap_or_default(),
            place,
        }
    }

    fn exporter(&self, row: u32) -> u32 {
        let key = usize::try_from(self.exporters.value(row as usize)).ok();
        key.and_then(|key| self.names.get(key))
            .copied()
            .unwrap_or(0)
    }
}

/// One worker's tools to put batches together.
pub(super) struct Gatherer<'a> {
    columns: &'a Columns,
    names: &'a Names,
    /// The lists of those who saw rows that stay.
    lists: &'a AllLists,
    texts: Vec<String>,
    exporters: Dictionary,
    seen: Dictionary,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(columns: &'a Columns, names: &'a Names, lists: &'a AllLists) -> Self {
        Self {
            columns,
            names,
            lists,
            texts: Vec::new(),
            exporters: Dictionary::default(),
            seen: Dictionary::default(),
        }
    }

    /// The rows that `picks` name, in that order.
    pub(super) fn gather(
        &mut self,
        sources: &[&Source],
        picks: &[Pick<'_>],
    ) -> Result<RecordBatch, ArrowError> {
        let schema = Arc::clone(&self.columns.schema);
        let mut arrays = Vec::with_capacity(schema.fields().len());
        let mut seen = match self.columns.tells_seen() {
            true => Some(self.seen(sources, picks)?),
            false => None,
        };
        for (place, field) in schema.fields().iter().enumerate() {
            arrays.push(match (field.name().as_str(), &mut seen) {
                ("exporter", _) => self.exporters(sources, picks)?,
                (SEEN_BY, Some((count, _))) => Arc::clone(count),
                (SEEN_EXPORTERS, Some((_, lists))) => Arc::clone(lists),
                _ => {
                    let of = sources.iter().map(|source| source.columns[place].as_ref());
                    let sources: Vec<Option<&ArrayRef>> = of.collect();
                    columns::column(field.data_type(), &sources, picks)?
                }
            });
        }
        RecordBatch::try_new(schema, arrays)
    }

    fn exporters(
        &mut self,
        sources: &[&Source],
        picks: &[Pick<'_>],
    ) -> Result<ArrayRef, ArrowError> {
        self.exporters
            .begin(picks.iter().map(|pick| pick.rows.len()).sum());
        for pick in picks {
            let source = sources[pick.source];
            for &row in pick.rows {
                self.exporters.push(source.exporter(row));
            }
        }
        Ok(Arc::new(
            self.exporters.finish(&mut self.texts, self.names)?,
        ))
    }

    /// How many saw each row, and who.
    fn seen(
        &mut self,
        sources: &[&Source],
        picks: &[Pick<'_>],
    ) -> Result<(ArrayRef, ArrayRef), ArrowError> {
        let rows = picks.iter().map(|pick| pick.rows.len()).sum();
        self.seen.begin(2 * rows);
        let mut counts = Vec::with_capacity(rows);
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        for pick in picks {
            let source = sources[pick.source];
            for (&row, place) in pick.rows.iter().zip(pick.place..) {
                let before = self.seen.len();
                let list = source.rows.lists.get(place).copied().unwrap_or(NO_LIST);
                if let Some(list) = self.lists.get(list) {
                    list.iter().for_each(|&exporter| self.seen.push(exporter));
                } else if let Some((lists, names)) = &source.seen {
                    push_told(lists, names, row as usize, &mut self.seen);
                } else {
                    self.seen.push(source.exporter(row));
                }
                let end = self.seen.len();
                counts.push((end - before) as u32);
                let end = i32::try_from(end).map_err(|_| ArrowError::OffsetOverflowError(end))?;
                offsets.push(end);
            }
        }
        let exporters = self.seen.finish(&mut self.texts, self.names)?;
        let [_, field] = forebay_store::seen_fields();
        let DataType::List(item) = field.data_type() else {
            return Err(ArrowError::SchemaError("no list".to_owned()));
        };
        let offsets = OffsetBuffer::new(offsets.into());
        let lists = ListArray::try_new(Arc::clone(item), offsets, Arc::new(exporters), None)?;
        Ok((Arc::new(UInt32Array::from(counts)), Arc::new(lists)))
    }
}

/// Adds those who saw a row as its file tells.
fn push_told(lists: &ListArray, names: &[u32], row: usize, seen: &mut Dictionary) {
    let ends = lists.value_offsets().get(row..row + 2).unwrap_or(&[0, 0]);
    let keys = lists.values().as_dictionary::<Int32Type>().keys().values();
    let keys = keys.get(ends[0] as usize..ends[1] as usize);
    for &key in keys.unwrap_or_default() {
        let name = usize::try_from(key).ok().and_then(|key| names.get(key));
        seen.push(name.copied().unwrap_or(0));
    }
}
