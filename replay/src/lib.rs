//! Generate, record and replay export traffic.
//!
//! * [`generate`] makes export traffic whose content is known beforehand, to a capture file or to a
//!   collector.

#![forbid(unsafe_code)]

pub mod generate;
pub mod search;
