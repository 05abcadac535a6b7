//! From export datagrams to batches of flows.
//!
//! ```text
//! datagram → session (address, port, domain) → set → plan → columns of a batch
//! ```
//!
//! [`Decoder`] is the whole of it: one per shard, on the thread that receives, so that it needs no
//! lock. What the network can make it keep is bounded by [`Limits`]; what it could not decode is in
//! [`Counters`].

#![forbid(unsafe_code)]

mod config;
mod counters;
mod decoder;
mod domain;
mod kernel;
mod mapping;
mod options;
mod plan;
mod plans;
mod queue;
mod rows;
mod run;
mod saved;
mod sequence;
mod sessions;
mod settler;
mod stage;
mod status;
mod time;
mod writer;

pub use config::{Columns, DecoderConfig, ExtraType, Limits};
pub use counters::{Counters, Reasons, Scope};
pub use decoder::Decoder;
pub use rows::{Output, ReadyBatch};
pub use run::{Clock, Collector, Config, Control, Shard, StartError};
pub use saved::{Saved, SavedError};
pub use settler::Format;
pub use status::{DomainKey, DomainStatus, FileStatus, ShardStatus, Status, Tables};
