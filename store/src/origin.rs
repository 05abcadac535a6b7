//! Whose flows a batch held, for those that could not be written.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt8Type, UInt32Type};
use arrow_array::{Array, RecordBatch, StringArray};

use crate::error::StoreError;

/// Flows of one exporter's observation domain in one export version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The exporter's address.
    pub exporter: Arc<str>,
    /// The export version.
    pub export_version: u8,
    /// The observation domain.
    pub observation_domain: u32,
    /// How many flows.
    pub rows: u64,
}

/// A batch that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct NotWritten {
    /// Why.
    pub error: StoreError,
    /// Whose flows are lost with it. An origin may be named more than once.
    pub origins: Vec<Origin>,
}

impl NotWritten {
    /// The flows of `batch` are lost.
    pub(crate) fn of(batch: &RecordBatch, error: StoreError) -> Self {
        Self {
            error,
            origins: origins(batch).unwrap_or_default(),
        }
    }

    /// Arrow refused the batch's parts, so that not even its columns can be read.
    pub(crate) fn nothing_known(error: StoreError) -> Self {
        Self {
            error,
            origins: Vec::new(),
        }
    }
}

/// The origins of the rows, run by run. `None` where a column is missing, which every batch has.
fn origins(batch: &RecordBatch) -> Option<Vec<Origin>> {
    let exporters = batch
        .column_by_name("exporter")?
        .as_dictionary_opt::<Int32Type>()?;
    let names: &StringArray = exporters.values().as_string_opt()?;
    let versions = batch
        .column_by_name("export_version")?
        .as_primitive_opt::<UInt8Type>()?;
    let domains = batch
        .column_by_name("observation_domain")?
        .as_primitive_opt::<UInt32Type>()?;
    let keys = exporters.keys().values().iter();
    let rows = keys.zip(versions.values()).zip(domains.values());
    let mut found: Vec<(_, u64)> = Vec::new();
    for row in rows {
        match found.last_mut() {
            Some((last, count)) if *last == row => *count += 1,
            _ => found.push((row, 1)),
        }
    }
    let origins =
        found
            .into_iter()
            .map(|(((&key, &export_version), &observation_domain), rows)| {
                let key = usize::try_from(key).ok().filter(|&key| key < names.len())?;
                let exporter = names.value(key).into();
                Some(Origin {
                    exporter,
                    export_version,
                    observation_domain,
                    rows,
                })
            });
    origins.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{FlowSchema, columns};
    use crate::{ColumnData, FlowBatch};

    #[test]
    fn lost_flows_are_counted_by_origin() {
        let schema = FlowSchema::default();
        let mut batch = FlowBatch::new(&schema, 8);
        for (exporter, domain, count) in [
            ("192.0.2.1", 1, 2),
            ("192.0.2.2", 1, 3),
            ("192.0.2.2", 2, 1),
        ] {
            let key = batch.add_exporter(&exporter.into());
            let row = batch.rows();
            let columns = [
                columns::EXPORTER,
                columns::OBSERVATION_DOMAIN,
                columns::EXPORT_VERSION,
            ];
            let [
                ColumnData::Exporter(e),
                ColumnData::U32(d),
                ColumnData::U8(v),
            ] = batch.columns_mut(columns)
            else {
                panic!("the schema says otherwise");
            };
            e.fill(row, count, key);
            d.fill(row, count, domain);
            v.fill(row, count, 9);
            batch.advance(count);
        }
        let set = batch.present();
        let batch = batch.into_record_batch(&schema, set).expect("parts agree");
        let lost = NotWritten::of(
            &batch,
            StoreError::io("write", std::path::Path::new("x"))(
                std::io::ErrorKind::StorageFull.into(),
            ),
        );
        let origins: Vec<_> = lost
            .origins
            .iter()
            .map(|o| (&*o.exporter, o.observation_domain, o.rows))
            .collect();
        assert_eq!(
            origins,
            [
                ("192.0.2.1", 1, 2),
                ("192.0.2.2", 1, 3),
                ("192.0.2.2", 2, 1)
            ]
        );
    }
}
