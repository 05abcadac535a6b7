//! The clocks: read here and nowhere else.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[expect(
    clippy::disallowed_methods,
    reason = "the command is the edge where time comes from"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
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
