//! The clocks: read here and nowhere else.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[expect(
    clippy::disallowed_methods,
    reason = "the command is the edge where time comes from"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Microseconds since it was first asked, by a clock that nobody sets back.
pub(crate) fn running_us() -> i64 {
    static FIRST: LazyLock<Instant> = LazyLock::new(now);
    // Before the time now, which must not be earlier.
    let first = *FIRST;
    i64::try_from(now().duration_since(first).as_micros()).unwrap_or(i64::MAX)
}

/// Nanoseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the command is the edge where time comes from"
)]
pub(crate) fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// Microseconds since 1970.
pub(crate) fn unix_us() -> i64 {
    i64::try_from(unix_ns() / 1_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_clock_starts_from_0_and_goes_on() {
        let first = running_us();
        // Not since 1970, nor since the machine started.
        assert!((0..60_000_000).contains(&first), "{first}");
        let later = (0..1_000_000)
            .map(|_| running_us())
            .find(|now| *now > first);
        assert!(later.is_some());
    }
}
