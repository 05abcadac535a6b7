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
mod error;
mod schema;
mod segment;
mod segment_reader;
mod settle;

pub use batch::{ColumnData, FlowBatch};
pub use column::{BytesColumn, Column};
pub use dataset::{Dataset, PARQUET_EXTENSION, SEGMENT_EXTENSION, SegmentName};
pub use error::StoreError;
pub use schema::{
    COLUMNS_MAX, ColumnError, ColumnId, ColumnSet, ColumnType, Family, FlowSchema, columns,
};
pub use segment::{ClosedSegment, FamilyWriter, Rotation, SegmentWriter, Written};
pub use segment_reader::SegmentReader;
pub use settle::{Compression, Kept, SettleOptions, Settled, keep, recover, settle};

// The benches' generator names this crate from outside.
#[cfg(test)]
extern crate self as forebay_store;
#[cfg(test)]
#[path = "../benches/support/mod.rs"]
mod support;
