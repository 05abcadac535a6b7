//! The flow schema, batches of flows, segments and flow files.
//!
//! A [`FlowBatch`] gathers flows column by column; batches are appended to a
//! segment (an Arrow IPC stream); closed segments settle into Parquet files.
//! Nothing here knows where flows come from.

#![forbid(unsafe_code)]

mod batch;
mod civil;
mod column;
mod dataset;
mod encode;
mod error;
mod files;
mod ledger;
mod origin;
mod output;
mod parts;
mod read;
mod retention;
mod schema;
mod segment;
mod segment_reader;
mod settle;
mod space;
mod stream;
mod table;
mod views;
mod zeros;

pub use batch::{ColumnData, FlowBatch, absent_column};
pub use column::{BytesColumn, Column};
pub use dataset::{Dataset, PARQUET_EXTENSION, SEGMENT_EXTENSION, SegmentName};
pub use error::StoreError;
pub use ledger::{LedgerRow, ReasonCount, Scope, write_ledger};
pub use origin::{NotWritten, Origin};
pub use output::{FileFormat, FlowWriter, NewDataset};
pub use parts::{BatchMemory, Bounds, FlowPart, FlowParts, PartReader};
pub use read::{FlowFile, find_inputs, received_us};
pub use retention::{Removed, Retention, retain};
pub use schema::{
    COLUMNS_MAX, ColumnError, ColumnId, ColumnSet, ColumnType, Family, FlowSchema, SEEN_BY,
    SEEN_EXPORTERS, columns, seen_fields,
};
pub use segment::{ClosedSegment, FamilyWriter, SegmentWriter, Written};
pub use segment_reader::SegmentReader;
pub use settle::{Compression, Kept, SettleOptions, Settled, keep, keep_closed, recover, settle};
pub use space::free_bytes;
pub use table::{TableFormat, TableWriter};
pub use views::write_views;

// The benches' generator names this crate from outside.
#[cfg(test)]
extern crate self as forebay_store;
#[cfg(test)]
#[path = "../benches/support/mod.rs"]
mod support;
