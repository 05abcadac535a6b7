//! Generate, record and replay export traffic.
//!
//! * [`generate`] makes export traffic whose content is known beforehand, to a capture file or to a
//!   collector.
//! * [`record`] writes datagrams to capture files, whole and rotated.
//! * [`Recording`] is a capture's export messages in memory; [`Player`] sends them at a [`Pace`], from the recorded
//!   addresses or others, and says in a [`Report`] what was reached.

#![forbid(unsafe_code)]

mod clock;
mod error;
mod filter;
pub mod generate;
pub mod record;
pub mod search;

mod outlet;
mod output;
mod pace;
mod player;
mod recording;
mod report;
mod templates;

pub use error::ReplayError;
pub use filter::{Filter, Network, NetworkError};
pub use outlet::{Source, can_be_bound};
pub use pace::{Pace, PaceError, Unit};
pub use player::{PlayOptions, Player};
pub use recording::{LeftOut, Recording};
pub use report::{Ended, Lateness, Report, SendErrors, SendFailure};
