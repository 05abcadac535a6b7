//! A flow file: row groups of encoded columns in Parquet's frame.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, FieldRef, Schema};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowSchemaConverter, encode_arrow_schema};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnDescPtr;

use super::codec::Codec;
use super::column::FixedColumn;
use super::octets::OctetsColumn;
use super::page::Chunk;
use crate::error::StoreError;
use crate::files;
use crate::schema::{FAMILY_KEY, Family, FlowSchema};
use crate::settle::Compression;

/// A row group of so many rows takes some 15 MB of memory while it is written.
const LIMITS: Limits = Limits {
    page_rows: 1 << 15,
    group_rows: 1 << 19,
    page_bytes: 32 << 20,
    group_bytes: 256 << 20,
};
/// What a column's values take. What the arrays keep in memory says nothing: those of a batch share
/// the buffer that it was read into.
fn bytes_of(column: &ArrayRef) -> usize {
    // It fails where it is more than can be counted.
    let bytes = column.to_data().get_slice_memory_size();
    bytes.unwrap_or(usize::MAX >> 16)
}

const WRITE_BYTES: usize = 1 << 18;

/// The key of the file's metadata that tells the version of its columns.
const VERSION_KEY: &str = "forebay.schema_version";
const VERSION: &str = "1";

/// Columns whose values hardly ever come twice.
const DELTA: [&str; 4] = ["first", "last", "bytes", "reverse_bytes"];

enum Encoder {
    Fixed(FixedColumn),
    Octets(OctetsColumn),
}

struct Column {
    /// Its place in the batches; `None` where they do not have it.
    source: Option<usize>,
    descriptor: ColumnDescPtr,
    encoder: Encoder,
}

impl Column {
    fn append(&mut self, array: Option<&ArrayRef>, rows: usize) {
        match (&mut self.encoder, array) {
            (Encoder::Fixed(column), Some(array)) if array.null_count() < rows => {
                column.append(array);
            }
            (Encoder::Octets(column), Some(array)) if array.null_count() < rows => {
                column.append(array);
            }
            (Encoder::Fixed(column), _) => column.append_absent(rows),
            (Encoder::Octets(column), _) => column.append_absent(rows),
        }
    }

    fn end_page(&mut self) {
        match &mut self.encoder {
            Encoder::Fixed(column) => column.end_page(),
            Encoder::Octets(column) => column.end_page(),
        }
    }

    fn end_chunk(&mut self, codec: &mut Codec) -> Result<Chunk> {
        match &mut self.encoder {
            Encoder::Fixed(column) => column.end_chunk(&self.descriptor, codec),
            Encoder::Octets(column) => column.end_chunk(&self.descriptor, codec),
        }
    }
}

/// Writes record batches of flows to a Parquet file.
pub(crate) struct FlowFileWriter {
    path: PathBuf,
    file: SerializedFileWriter<BufWriter<File>>,
    columns: Vec<Column>,
    codec: Codec,
    limits: Limits,
    page_rows: usize,
    group_rows: usize,
    page_bytes: usize,
    group_bytes: usize,
}

/// A page or a row group ends with the batch that fills it.
struct Limits {
    page_rows: usize,
    group_rows: usize,
    /// Batches hold little but numbers; where text or octets are configured, they may be long.
    page_bytes: usize,
    group_bytes: usize,
}

impl FlowFileWriter {
    /// A writer for batches of `schema`, to `file`, which errors call `path`.
    pub(crate) fn new(
        file: File,
        path: &Path,
        family: Family,
        schema: &Schema,
        compression: Compression,
    ) -> std::result::Result<Self, StoreError> {
        let codec = Codec::new(compression).map_err(StoreError::io("compress", path))?;
        Self::try_new(file, path, family, schema, codec).map_err(StoreError::parquet(path))
    }

    fn try_new(
        file: File,
        path: &Path,
        family: Family,
        schema: &Schema,
        codec: Codec,
    ) -> Result<Self> {
        refuse_foreign(schema)?;
        let fields = file_fields(family, schema);
        let whole = Schema::new(fields.clone());
        let parquet_schema = ArrowSchemaConverter::new().convert(&whole)?;
        let told = [
            (FAMILY_KEY, family.name().to_owned()),
            (VERSION_KEY, VERSION.to_owned()),
            (ARROW_SCHEMA_META_KEY, encode_arrow_schema(&whole)),
        ];
        let told = told.map(|(key, value)| KeyValue::new(key.to_owned(), value));
        let properties = WriterProperties::builder()
            .set_created_by(files::created_by())
            .set_key_value_metadata(Some(told.into()))
            // Row groups have statistics; pages have none to find.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .build();
        let columns = fields
            .iter()
            .zip(parquet_schema.columns())
            .map(|(field, descriptor)| {
                Ok(Column {
                    source: schema.index_of(field.name()).ok(),
                    descriptor: Arc::clone(descriptor),
                    encoder: encoder(field)?,
                })
            })
            .collect::<Result<_>>()?;
        let out = BufWriter::with_capacity(WRITE_BYTES, file);
        let root = parquet_schema.root_schema_ptr();
        Ok(Self {
            path: path.to_owned(),
            file: SerializedFileWriter::new(out, root, Arc::new(properties))?,
            columns,
            codec,
            limits: LIMITS,
            page_rows: 0,
            group_rows: 0,
            page_bytes: 0,
            group_bytes: 0,
        })
    }

    /// Appends the rows of a batch.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> std::result::Result<(), StoreError> {
        let rows = batch.num_rows();
        for column in &mut self.columns {
            column.append(column.source.map(|place| batch.column(place)), rows);
        }
        self.page_rows += rows;
        self.group_rows += rows;
        let bytes = batch.columns().iter().map(bytes_of).sum::<usize>();
        self.page_bytes += bytes;
        self.group_bytes += bytes;
        let limits = &self.limits;
        if self.group_rows >= limits.group_rows || self.group_bytes >= limits.group_bytes {
            return self.end_group().map_err(StoreError::parquet(&self.path));
        }
        if self.page_rows >= limits.page_rows || self.page_bytes >= limits.page_bytes {
            self.columns.iter_mut().for_each(Column::end_page);
            self.page_rows = 0;
            self.page_bytes = 0;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<()> {
        if self.group_rows > 0 {
            let mut group = self.file.next_row_group()?;
            for column in &mut self.columns {
                let Chunk { bytes, close } = column.end_chunk(&mut self.codec)?;
                group.append_column(&bytes, close)?;
            }
            group.close()?;
        }
        self.page_rows = 0;
        self.group_rows = 0;
        self.page_bytes = 0;
        self.group_bytes = 0;
        Ok(())
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> std::result::Result<File, StoreError> {
        self.end_group()
            .and_then(|()| self.file.into_inner())
            .map_err(StoreError::parquet(&self.path))?
            .into_inner()
            .map_err(|error| StoreError::io("write", &self.path)(error.into_error()))
    }
}

fn encoder(field: &Field) -> Result<Encoder> {
    let (kind, nullable) = (field.data_type(), field.is_nullable());
    let delta = DELTA.contains(&field.name().as_str());
    FixedColumn::new(kind, nullable, delta)
        .map(Encoder::Fixed)
        .or_else(|| OctetsColumn::new(kind, nullable).map(Encoder::Octets))
        .ok_or_else(|| ParquetError::NYI(format!("column {} of type {kind}", field.name())))
}

/// A segment whose schema was damaged may lack a column that every flow has, or
/// hold something else under its name; the file could not be read.
fn refuse_foreign(segment: &Schema) -> Result<()> {
    let standard = FlowSchema::default().arrow_all();
    let is_foreign = |field: &&FieldRef| match segment.column_with_name(field.name()) {
        Some((_, found)) => {
            found.data_type() != field.data_type() || found.is_nullable() != field.is_nullable()
        }
        None => !field.is_nullable(),
    };
    match standard.fields().iter().find(is_foreign) {
        Some(field) => Err(ParquetError::General(format!(
            "the segment's column {} is not there or not a flow's",
            field.name()
        ))),
        None => Ok(()),
    }
}

/// The standard columns that the family can have, or the segment has, and the
/// segment's other columns: so that all files of a family have one schema.
fn file_fields(family: Family, segment: &Schema) -> Vec<FieldRef> {
    let standard = FlowSchema::default();
    let all = standard.arrow_all();
    let is_own = |name: &str| match family {
        Family::Ipv4 => !name.ends_with("_ipv6"),
        Family::Ipv6 => !name.ends_with("_ipv4"),
        Family::Other => !name.ends_with("_ipv4") && !name.ends_with("_ipv6"),
    };
    let has = |name: &str| segment.column_with_name(name).is_some();
    let added = segment.fields().iter();
    let added = added.filter(|field| all.column_with_name(field.name()).is_none());
    let own = all.fields().iter();
    own.filter(|field| has(field.name()) || is_own(field.name()))
        .chain(added)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
