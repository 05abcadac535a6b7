//! The router: splits export traffic over collectors by exporter, and finds the split that is even.
//!
//! ```text
//! datagram → version → exporter ─ hash ─ mod P ─ shard ─ table ─ collector
//! ```

#![forbid(unsafe_code)]

pub mod balance;
mod hash;
mod table;

pub use hash::{Hash, is_prime, smallest_prime_from};
pub use table::{MAX_SHARDS, Table, TableError};
