//! Encodes flow files: Parquet, with the encodings that suit flows.
//!
//! Parquet's own column writers take about 10 ns per value, most of it for a
//! dictionary of every column; a flow has some thirty values. What is known of
//! flows makes that several times cheaper:
//!
//! - Columns of the header repeat for all flows of a datagram: one look into
//!   the dictionary per run, and run lengths in the file.
//! - Ports, interfaces, protocols are small numbers: the dictionary is a table.
//! - Times and counters differ from row to row: differences, bit-packed.
//! - A column that nobody exported is a few bytes.
//!
//! The file's frame (page headers, row groups, footer) is the parquet crate's.

mod bits;
mod codec;
mod column;
mod delta;
mod interner;
mod octets;
mod page;
mod writer;

pub(crate) use writer::FlowFileWriter;
