//! Flow files, read by all cores: summarized by key, merged, without their duplicates.
//!
//! ```text
//! files → scan: batches of the wanted columns → rows: partitions by key → summarize | dedupe
//! ```

#![forbid(unsafe_code)]

mod columns;
mod dedupe;
mod error;
mod filter;
mod nearest;
mod rows;
mod scan;
mod summarize;
#[cfg(test)]
mod testing;
mod workers;

pub use columns::columns_of;
pub use dedupe::{Agreement, DedupeError, DedupeOptions, DedupeReport, Keep, Pair, Rules, dedupe};
pub use error::AnalyzeError;
pub use filter::{Filter, FilterError, parse_time, protocol_name};
pub use nearest::nearest;
pub use rows::{MemoryLimit, available_bytes};
pub use scan::{Control, InputOptions, Inputs, Skipped};
pub use summarize::{Answer, Counts, Key, Sort, Summary, SummaryError, Value, summarize};
