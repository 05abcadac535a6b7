//! The time that sending is paced by.

use std::hint;
use std::num::NonZero;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::thread::set_current_timer_slack;

/// Below this a wait is spun: sleeping would end too late.
const SPIN: Duration = Duration::from_micros(80);
/// How much less than asked is slept, so that what is left can be spun: a sleep takes 20 to 60 µs more than asked for.
const MARGIN: Duration = Duration::from_micros(60);

/// What time it is, and waiting. Tests have another than the system's.
pub(crate) trait Clock {
    /// The time since some moment.
    fn now(&self) -> Duration;
    /// Waits until then, or somewhat less.
    fn wait(&mut self, until: Duration);
    /// Nanoseconds since 1970.
    fn unix_ns(&self) -> u64;
}

/// The system's clock.
#[derive(Debug)]
pub(crate) struct SystemClock {
    began: Instant,
}

impl SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "sending is the edge: its pace is one of this clock"
    )]
    pub(crate) fn new() -> Self {
        // A sleep of this thread otherwise takes 50 µs more. Where that cannot be had it stays so.
        let _unchanged = set_current_timer_slack(NonZero::new(1));
        Self {
            began: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn wait(&mut self, until: Duration) {
        let left = until.saturating_sub(self.now());
        if left > SPIN {
            thread::sleep(left - MARGIN);
            return;
        }
        while self.now() < until {
            hint::spin_loop();
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "sending is the edge: what is sent is moved to the present"
    )]
    fn unix_ns(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
    }
}
