//! The highest rate at which a collector loses nothing.
//!
//! * [`Search`] says which rate to try next;
//! * a [`Probe`] says what the collector has counted so far, and a [`Process`] what that cost it;
//! * [`run()`] takes a step at each rate and judges it by them.

use std::time::Instant;

mod limit;
mod probe;
mod process;
mod run;
mod step;

pub use limit::{Ended, Found, Next, STEPS_MAX, Search, Settings, Tally, Verdict};
pub use probe::{Count, Counted, Probe, ProbeError, Reading};
pub use process::{Process, ProcessError, Usage};
pub use run::{Instruments, Results, SearchError, SoFar, run};
pub use step::{Grown, Sent, Step};

#[expect(
    clippy::disallowed_methods,
    reason = "how long a probe may take and a collector needs is told by this clock"
)]
fn now() -> Instant {
    Instant::now()
}
