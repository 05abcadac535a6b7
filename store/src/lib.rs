//! The flow schema, batches of flows, segments and flow files.
//!
//! A [`FlowBatch`] gathers flows column by column; batches are appended to a
//! segment (an Arrow IPC stream); closed segments settle into Parquet files.
//! Nothing here knows where flows come from.

#![forbid(unsafe_code)]

mod batch;
mod column;
mod schema;

pub use batch::{ColumnData, FlowBatch};
pub use column::{BytesColumn, Column};
pub use schema::{
    COLUMNS_MAX, ColumnError, ColumnId, ColumnSet, ColumnType, Family, FlowSchema, columns,
};
