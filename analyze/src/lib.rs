//! Flow files, read by all cores: summarized by key, merged, without their duplicates.
//!
//! ```text
//! files → scan: batches of the wanted columns → rows: partitions by key → summarize | dedupe
//! ```

#![forbid(unsafe_code)]

mod dedupe;
mod error;
mod filter;
mod rows;
mod scan;
mod summarize;
#[cfg(test)]
mod testing;
mod workers;

pub use error::AnalyzeError;
pub use rows::{MemoryLimit, available_bytes};
pub use scan::{Control, InputOptions, Inputs, Skipped};
