//! A batch: the flows of one address family while they gather, as typed columns.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_schema::{ArrowError, DataType};

use crate::column::{BytesColumn, Column, Presence};
use crate::schema::{ColumnId, ColumnSet, ColumnType, FlowSchema};

/// A column's values, by type.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is the column type of that name")]
pub enum ColumnData {
    U8(Column<u8>),
    U16(Column<u16>),
    U32(Column<u32>),
    U64(Column<u64>),
    I64(Column<i64>),
    F64(Column<f64>),
    Timestamp(Column<i64>),
    Mac(Column<[u8; 6]>),
    Ipv6(Column<[u8; 16]>),
    Text(BytesColumn),
    Octets(BytesColumn),
    Exporter(Column<i32>),
}

macro_rules! each_column {
    ($data:expr, $column:ident => $body:expr) => {
        match $data {
            ColumnData::U8($column) => $body,
            ColumnData::U16($column) => $body,
            ColumnData::U32($column) => $body,
            ColumnData::U64($column) => $body,
            ColumnData::I64($column) | ColumnData::Timestamp($column) => $body,
            ColumnData::F64($column) => $body,
            ColumnData::Mac($column) => $body,
            ColumnData::Ipv6($column) => $body,
            ColumnData::Text($column) | ColumnData::Octets($column) => $body,
            ColumnData::Exporter($column) => $body,
        }
    };
}

impl ColumnData {
    fn new(kind: ColumnType, capacity: usize) -> Self {
        match kind {
            ColumnType::U8 => Self::U8(Column::with_capacity(capacity)),
            ColumnType::U16 => Self::U16(Column::with_capacity(capacity)),
            ColumnType::U32 => Self::U32(Column::with_capacity(capacity)),
            ColumnType::U64 => Self::U64(Column::with_capacity(capacity)),
            ColumnType::I64 => Self::I64(Column::with_capacity(capacity)),
            ColumnType::F64 => Self::F64(Column::with_capacity(capacity)),
            ColumnType::Timestamp => Self::Timestamp(Column::with_capacity(capacity)),
            ColumnType::Mac => Self::Mac(Column::with_capacity(capacity)),
            ColumnType::Ipv6 => Self::Ipv6(Column::with_capacity(capacity)),
            ColumnType::Text => Self::Text(BytesColumn::new()),
            ColumnType::Octets => Self::Octets(BytesColumn::new()),
            ColumnType::Exporter => Self::Exporter(Column::with_capacity(capacity)),
        }
    }

    /// How many of `rows`, which were written, are null.
    pub fn nulls_among(&self, rows: Range<usize>) -> usize {
        self.presence().nulls_among(rows)
    }

    fn presence(&self) -> &Presence {
        each_column!(self, column => &column.presence)
    }

    fn bytes(&self) -> usize {
        each_column!(self, column => column.bytes())
    }

    fn into_array(self, rows: usize, exporters: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let nulls = self.presence().nulls(rows);
        Ok(match self {
            Self::U8(column) => Arc::new(UInt8Array::try_new(column.into_buffer(rows), nulls)?),
            Self::U16(column) => Arc::new(UInt16Array::try_new(column.into_buffer(rows), nulls)?),
            Self::U32(column) => Arc::new(UInt32Array::try_new(column.into_buffer(rows), nulls)?),
            Self::U64(column) => Arc::new(UInt64Array::try_new(column.into_buffer(rows), nulls)?),
            Self::I64(column) => Arc::new(Int64Array::try_new(column.into_buffer(rows), nulls)?),
            Self::F64(column) => Arc::new(Float64Array::try_new(column.into_buffer(rows), nulls)?),
            Self::Timestamp(column) => {
                let array = TimestampMicrosecondArray::try_new(column.into_buffer(rows), nulls)?;
                Arc::new(array.with_timezone("UTC"))
            }
            Self::Mac(column) => column.into_fixed_binary(rows, nulls)?,
            Self::Ipv6(column) => column.into_fixed_binary(rows, nulls)?,
            Self::Text(column) => {
                let (offsets, data) = column.into_parts(rows);
                Arc::new(StringArray::try_new(offsets, data, nulls)?)
            }
            Self::Octets(column) => {
                let (offsets, data) = column.into_parts(rows);
                Arc::new(BinaryArray::try_new(offsets, data, nulls)?)
            }
            Self::Exporter(column) => {
                let keys = Int32Array::try_new(column.into_buffer(rows), nulls)?;
                Arc::new(DictionaryArray::<Int32Type>::try_new(
                    keys,
                    Arc::clone(exporters),
                )?)
            }
        })
    }
}

/// A column of that type in which no row has a value. It takes no memory, nor any of the disk in a
/// segment.
///
/// # Errors
/// No column is of that type.
pub fn absent_column(kind: &DataType, rows: usize) -> Result<ArrayRef, ArrowError> {
    let column = ColumnType::of(kind)
        .ok_or_else(|| ArrowError::NotYetImplemented(format!("a column of type {kind}")))?;
    let nobody: ArrayRef = Arc::new(StringArray::from_iter_values([""; 0]));
    ColumnData::new(column, 0).into_array(rows, &nobody)
}

/// Flows of one address family, column by column.
///
/// A writer fills the columns of some rows, beginning with row [`rows`](Self::rows),
/// and then calls [`advance`](Self::advance). Columns that it leaves alone are
/// null there.
#[derive(Debug)]
pub struct FlowBatch {
    columns: Vec<ColumnData>,
    exporters: Vec<Arc<str>>,
    rows: usize,
}

impl FlowBatch {
    /// An empty batch with room for `capacity` rows, in the columns that get any.
    pub fn new(schema: &FlowSchema, capacity: usize) -> Self {
        let columns = schema
            .columns()
            .map(|id| ColumnData::new(schema.kind(id), capacity))
            .collect();
        Self {
            columns,
            exporters: Vec::new(),
            rows: 0,
        }
    }

    /// The number of whole rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Ends `count` rows that were written to the columns.
    pub fn advance(&mut self, count: usize) {
        self.rows += count;
    }

    /// A column to write to.
    pub fn column(&mut self, id: ColumnId) -> &mut ColumnData {
        &mut self.columns[usize::from(id.0)]
    }

    /// Several columns to write to side by side.
    ///
    /// # Panics
    /// A column is named twice.
    pub fn columns_mut<const N: usize>(&mut self, ids: [ColumnId; N]) -> [&mut ColumnData; N] {
        let places = ids.map(|id| usize::from(id.0));
        self.columns
            .get_disjoint_mut(places)
            .expect("different columns of this schema")
    }

    /// Adds an exporter's name to this batch's dictionary: the key to fill
    /// [`columns::EXPORTER`](crate::columns::EXPORTER) with.
    pub fn add_exporter(&mut self, name: &Arc<str>) -> i32 {
        self.exporters.push(Arc::clone(name));
        // There are no more exporters in a batch than rows, and rows are counted in thousands.
        self.exporters.len() as i32 - 1
    }

    /// The columns that have a value in some row.
    pub fn present(&self) -> ColumnSet {
        let mut set = ColumnSet::default();
        for (data, place) in self.columns.iter().zip(0..) {
            if !data.presence().is_empty() {
                set.insert(ColumnId(place));
            }
        }
        set
    }

    /// The memory that the values take, for bounds on queues.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(ColumnData::bytes).sum()
    }

    /// Turns the batch into Arrow's form, without copying, with the columns of `set`.
    ///
    /// # Errors
    /// Arrow refuses the parts, which would be a bug of this crate.
    pub fn into_record_batch(
        self,
        schema: &FlowSchema,
        set: ColumnSet,
    ) -> Result<RecordBatch, ArrowError> {
        let rows = self.rows;
        let exporters: ArrayRef = Arc::new(StringArray::from_iter_values(self.exporters));
        let arrays = self
            .columns
            .into_iter()
            .zip(schema.columns())
            .filter(|&(_, id)| set.contains(id))
            .map(|(data, _)| data.into_array(rows, &exporters))
            .collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(schema.arrow(set), arrays)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::UInt32Type;

    use super::*;
    use crate::columns;

    #[test]
    fn a_batch_becomes_arrow_columns_with_nulls_where_nothing_was_written() {
        let schema = FlowSchema::default();
        let mut batch = FlowBatch::new(&schema, 8);
        let key = batch.add_exporter(&"192.0.2.1".into());
        for (rows, address) in [(2, Some(0x0a00_0001)), (1, None)] {
            let row = batch.rows();
            let ColumnData::Exporter(column) = batch.column(columns::EXPORTER) else {
                panic!()
            };
            column.fill(row, rows, key);
            if let Some(address) = address {
                let ColumnData::U32(column) = batch.column(columns::SRC_IPV4) else {
                    panic!()
                };
                column.fill(row, rows, address);
            }
            batch.advance(rows);
        }
        let mut set = batch.present();
        assert!(set.contains(columns::SRC_IPV4) && !set.contains(columns::DST_IPV4));
        set.insert(columns::DST_IPV4);

        let record_batch = batch.into_record_batch(&schema, set).expect("parts agree");
        assert_eq!(record_batch.num_rows(), 3);
        assert_eq!(record_batch.num_columns(), 3);
        let sources = record_batch.column(1).as_primitive::<UInt32Type>();
        assert_eq!(
            sources.iter().collect::<Vec<_>>(),
            [Some(0x0a00_0001); 2]
                .into_iter()
                .chain([None])
                .collect::<Vec<_>>()
        );
        assert_eq!(record_batch.column(2).null_count(), 3);
    }
}
