//! Puts rows that are picked out of batches together to batches of the output.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int32Array, ListArray, RecordBatch, StringArray, UInt32Array,
};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, FieldRef, SchemaRef};
use arrow_select::interleave::interleave;
use forebay_store::{SEEN_BY, SEEN_EXPORTERS, absent_column};

use super::fates::{Fate, Fates};
use super::lists::AllLists;
use super::origins::{NO_LIST, Names};
use crate::error::AnalyzeError;

/// The rows of a batch of the output: as many as a collector's batches have.
pub(super) const BATCH_ROWS: usize = 8192;

/// Where a row is: the place of its batch among the sources, and its own in that.
pub(super) type Pick = (usize, usize);

/// A batch that rows are picked from.
pub(super) struct Source {
    /// By place in the output; `None` where there is no value.
    columns: Vec<Option<ArrayRef>>,
    exporters: Int32Array,
    /// The exporters of its dictionary, by number.
    names: Vec<u32>,
    /// By row: who saw it; [`NO_LIST`] where the column or else the exporter tells.
    lists: Vec<u32>,
    /// The column of those who saw a row, and the exporters of its dictionary.
    seen: Option<(ListArray, Vec<u32>)>,
    pub(super) bytes: usize,
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
    /// Takes a batch whose first row has the number `first_row` among all, where it is of the input.
    pub(super) fn new(
        batch: &RecordBatch,
        columns: &Columns,
        names: &Names,
        fates: Option<(&Fates, u64)>,
    ) -> Result<Option<Self>, AnalyzeError> {
        let rows = batch.num_rows();
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
        let lists = match fates {
            Some((fates, first_row)) if columns.tells_seen() => (first_row..)
                .take(rows)
                .map(|row| match fates.get(row) {
                    Fate::Seen(list) => list,
                    Fate::Alone | Fate::Removed => NO_LIST,
                })
                .collect(),
            _ => Vec::new(),
        };
        let column = |field: &FieldRef| {
            let array = batch.column_by_name(field.name())?;
            (array.null_count() < rows).then(|| Arc::clone(array))
        };
        let arrays: Vec<_> = columns.schema.fields().iter().map(column).collect();
        let bytes = arrays.iter().flatten().map(|array| {
            let size = array.to_data().get_slice_memory_size();
            size.unwrap_or(usize::MAX >> 16)
        });
        Ok(Some(Self {
            bytes: bytes.sum::<usize>() + 4 * lists.len(),
            columns: arrays,
            exporters: exporters.keys().clone(),
            names: numbers(exporters)?,
            lists,
            seen: seen.transpose()?,
        }))
    }

    fn exporter(&self, row: usize) -> u32 {
        let key = usize::try_from(self.exporters.value(row)).ok();
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
    /// By column, without any value.
    absent: Vec<Option<ArrayRef>>,
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
            absent: vec![None; columns.schema.fields().len()],
        }
    }

    /// The rows that `picks` names, in that order.
    pub(super) fn gather(
        &mut self,
        sources: &[&Source],
        picks: &[Pick],
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
                _ => self.column(place, field.data_type(), sources, picks)?,
            });
        }
        RecordBatch::try_new(schema, arrays)
    }

    fn column(
        &mut self,
        place: usize,
        kind: &DataType,
        sources: &[&Source],
        picks: &[Pick],
    ) -> Result<ArrayRef, ArrowError> {
        let of = |source: &&'_ Source| source.columns.get(place).and_then(Option::as_ref).cloned();
        let arrays: Vec<Option<ArrayRef>> = sources.iter().map(of).collect();
        if arrays.iter().all(Option::is_none) {
            return self.absent(place, kind, picks.len());
        }
        let mut whole = Vec::with_capacity(arrays.len());
        for (array, source) in arrays.into_iter().zip(sources) {
            whole.push(match array {
                Some(array) => array,
                None => self.absent(place, kind, source.exporters.len())?,
            });
        }
        let whole: Vec<&dyn Array> = whole.iter().map(AsRef::as_ref).collect();
        interleave(&whole, picks)
    }

    /// A column without values.
    fn absent(
        &mut self,
        place: usize,
        kind: &DataType,
        rows: usize,
    ) -> Result<ArrayRef, ArrowError> {
        if let Some(array) = self.absent[place]
            .as_ref()
            .filter(|array| array.len() >= rows)
        {
            return Ok(array.slice(0, rows));
        }
        let array = absent_column(kind, rows.max(BATCH_ROWS))?;
        let slice = array.slice(0, rows);
        self.absent[place] = Some(array);
        Ok(slice)
    }

    fn exporters(&mut self, sources: &[&Source], picks: &[Pick]) -> Result<ArrayRef, ArrowError> {
        self.exporters.begin();
        for &(source, row) in picks {
            self.exporters.push(sources[source].exporter(row));
        }
        Ok(Arc::new(
            self.exporters.finish(&mut self.texts, self.names)?,
        ))
    }

    /// How many saw each row, and who.
    fn seen(
        &mut self,
        sources: &[&Source],
        picks: &[Pick],
    ) -> Result<(ArrayRef, ArrayRef), ArrowError> {
        self.seen.begin();
        let mut counts = Vec::with_capacity(picks.len());
        let mut offsets = Vec::with_capacity(picks.len() + 1);
        offsets.push(0);
        for &(place, row) in picks {
            let source = sources[place];
            let list = source.lists.get(row).copied().unwrap_or(NO_LIST);
            let before = self.seen.keys.len();
            if let Some(list) = self.lists.get(list) {
                list.iter().for_each(|&exporter| self.seen.push(exporter));
            } else if let Some((lists, names)) = &source.seen {
                let ends = lists.value_offsets().get(row..row + 2).unwrap_or(&[0, 0]);
                let keys = lists.values().as_dictionary::<Int32Type>().keys().values();
                let keys = keys
                    .get(ends[0] as usize..ends[1] as usize)
                    .unwrap_or_default();
                for &key in keys {
                    let name = usize::try_from(key).ok().and_then(|key| names.get(key));
                    self.seen.push(name.copied().unwrap_or(0));
                }
            } else {
                self.seen.push(source.exporter(row));
            }
            let end = self.seen.keys.len();
            counts.push((end - before) as u32);
            let end = i32::try_from(end).map_err(|_| ArrowError::OffsetOverflowError(end))?;
            offsets.push(end);
        }
        let exporters = self.seen.finish(&mut self.texts, self.names)?;
        let [_, field] = forebay_store::seen_fields();
        let DataType::List(item) = field.data_type() else {
            return Err(ArrowError::SchemaError("no list".to_owned()));
        };
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let lists = ListArray::try_new(Arc::clone(item), offsets, Arc::new(exporters), None)?;
        Ok((Arc::new(UInt32Array::from(counts)), Arc::new(lists)))
    }
}

/// A dictionary of those exporters that a batch names.
#[derive(Default)]
struct Dictionary {
    /// By exporter: its key, where it has one.
    key_of: Vec<i32>,
    exporters: Vec<u32>,
    keys: Vec<i32>,
}

impl Dictionary {
    fn begin(&mut self) {
        for &exporter in &self.exporters {
            self.key_of[exporter as usize] = -1;
        }
        self.exporters.clear();
        self.keys.clear();
    }

    fn push(&mut self, exporter: u32) {
        let place = exporter as usize;
        if place >= self.key_of.len() {
            self.key_of.resize(place + 1, -1);
        }
        if self.key_of[place] < 0 {
            // There are far fewer than values in a batch.
            self.key_of[place] = self.exporters.len() as i32;
            self.exporters.push(exporter);
        }
        self.keys.push(self.key_of[place]);
    }

    fn finish(
        &mut self,
        texts: &mut Vec<String>,
        names: &Names,
    ) -> Result<DictionaryArray<Int32Type>, ArrowError> {
        let known = texts.len();
        if self
            .exporters
            .iter()
            .any(|&exporter| exporter as usize >= known)
        {
            *texts = names.texts();
        }
        let text = |&exporter: &u32| texts.get(exporter as usize).map_or("", String::as_str);
        let values = StringArray::from_iter_values(self.exporters.iter().map(text));
        let keys = Int32Array::from(self.keys.clone());
        DictionaryArray::try_new(keys, Arc::new(values))
    }
}
