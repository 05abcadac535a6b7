//! A dictionary of those exporters that a batch names.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{DictionaryArray, Int32Array, StringArray};
use arrow_schema::ArrowError;

use crate::dedupe::origins::Names;

/// A dictionary of those exporters that a batch names.
#[derive(Default)]
pub(super) struct Dictionary {
    /// By exporter: its key, where it has one.
    key_of: Vec<i32>,
    exporters: Vec<u32>,
    keys: Vec<i32>,
}

impl Dictionary {
    /// Begins a column of about so many.
    pub(super) fn begin(&mut self, rows: usize) {
        for &exporter in &self.exporters {
            self.key_of[exporter as usize] = -1;
        }
        self.exporters.clear();
        self.keys = Vec::with_capacity(rows);
    }

    /// Adds a value.
    pub(super) fn push(&mut self, exporter: u32) {
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

    /// How many there are in the column.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The column.
    pub(super) fn finish(
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
        let keys = Int32Array::from(std::mem::take(&mut self.keys));
        DictionaryArray::try_new(keys, Arc::new(values))
    }
}
