//! The router: splits export traffic over collectors by exporter, and finds the split that is even.
//!
//! ```text
//! datagram → version → exporter ─ hash ─ mod P ─ shard ─ table ─ collector
//! ```

#![forbid(unsafe_code)]

pub mod balance;
mod config;
mod counters;
mod exporters;
mod forwarder;
mod hash;
mod health;
mod outlet;
mod prefix;
mod routing;
mod run;
mod spool;
mod status;
mod table;
mod templates;

pub use config::{
    Collector, Config, ConfigError, ConfigProblem, CopyTo, Down, Limits, MAX_TARGETS, MAX_WEIGHT,
    Part, Pin, ProbeUrl, ProbeUrlError, Route, VERSIONS, default_shards,
};
pub use counters::{Counters, Reasons, Tally, TargetCounters};
pub use exporters::ExporterCounters;
pub use forwarder::{Forwarder, RouteCounters};
pub use hash::{Hash, is_prime, smallest_prime_from};
pub use health::looped;
pub use outlet::Outlet;
pub use prefix::{Prefix, PrefixError};
pub use routing::Routing;
pub use run::{Clock, Control, Input, ReloadError, Router, Setup, StartError, Worker};
pub use spool::SpoolError;
pub use status::{Exporter, Status, TargetStatus, ThreadStatus};
pub use table::{MAX_SHARDS, Table, TableError};
pub use templates::TemplateCounts;
