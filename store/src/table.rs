//! Files of any table, such as a summary: what is not flows, but for the same readers.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::error::StoreError;
use crate::files;

/// A row group waits in memory until it is whole.
const ROW_GROUP_ROWS: usize = 1 << 18;

/// What a table is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// Parquet, compressed by Zstandard.
    Parquet,
    /// An Arrow IPC file.
    Arrow,
}

/// Writes a table to a file, batch by batch.
pub struct TableWriter {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Parquet(Box<ArrowWriter<File>>),
    Arrow(Box<FileWriter<BufWriter<File>>>),
}

impl TableWriter {
    /// Begins a table of `schema` in `file`, which is empty and which errors call `path`.
    ///
    /// # Errors
    /// The file cannot be written, or the format has no form for the schema.
    pub fn new(
        file: File,
        path: &Path,
        format: TableFormat,
        schema: &SchemaRef,
    ) -> Result<Self, StoreError> {
        let kind = match format {
            TableFormat::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_created_by(files::created_by())
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                    .build();
                let writer = ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(properties));
                Kind::Parquet(Box::new(writer.map_err(StoreError::parquet(path))?))
            }
            TableFormat::Arrow => {
                let writer = FileWriter::try_new_buffered(file, schema);
                Kind::Arrow(Box::new(writer.map_err(StoreError::arrow(path))?))
            }
        };
        let path = path.to_owned();
        Ok(Self { path, kind })
    }

    /// Appends a batch of the table's schema.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        match &mut self.kind {
            Kind::Parquet(writer) => writer.write(batch).map_err(StoreError::parquet(&self.path)),
            Kind::Arrow(writer) => writer.write(batch).map_err(StoreError::arrow(&self.path)),
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> Result<(), StoreError> {
        match self.kind {
            Kind::Parquet(writer) => {
                writer.close().map_err(StoreError::parquet(&self.path))?;
            }
            Kind::Arrow(mut writer) => {
                writer.finish().map_err(StoreError::arrow(&self.path))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, UInt64Array};
    use arrow_ipc::reader::FileReader;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let column = |values: Vec<u64>| Arc::new(UInt64Array::from(values)) as ArrayRef;
        let batches = [vec![1, u64::MAX], vec![7]].map(|values| {
            RecordBatch::try_from_iter([("bytes", column(values))]).expect("a batch")
        });
        let folder = tempfile::tempdir().expect("a folder");
        for format in [TableFormat::Parquet, TableFormat::Arrow] {
            let path = folder.path().join("table");
            let file = File::create(&path).expect("a file");
            let mut writer =
                TableWriter::new(file, &path, format, &batches[0].schema()).expect("begins");
            for batch in &batches {
                writer.write(batch).expect("writes");
            }
            writer.finish().expect("ends");
            let file = File::open(&path).expect("is there");
            let values: Vec<u64> = match format {
                TableFormat::Parquet => ParquetRecordBatchReader::try_new(file, 10)
                    .expect("Parquet")
                    .flat_map(|batch| values_of(&batch.expect("a batch")))
                    .collect(),
                TableFormat::Arrow => FileReader::try_new(file, None)
                    .expect("Arrow")
                    .flat_map(|batch| values_of(&batch.expect("a batch")))
                    .collect(),
            };
            assert_eq!(values, [1, u64::MAX, 7], "{format:?}");
        }
    }

    fn values_of(batch: &RecordBatch) -> Vec<u64> {
        let column = batch.column(0).as_any().downcast_ref::<UInt64Array>();
        column.expect("u64").values().to_vec()
    }
}
