//! The highest rate at which a collector loses nothing.
//!
//! * [`Search`] says which rate to try next.

mod limit;

pub use limit::{Ended, Found, Next, STEPS_MAX, Search, Settings, Tally, Verdict};
