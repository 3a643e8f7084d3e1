//! Where the time comes in.

use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "this is where the time comes in")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits this long.
#[expect(clippy::disallowed_methods, reason = "this is where waiting comes in")]
pub(crate) async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The time of the calendar, in Unix seconds. What expires is measured by it.
#[expect(clippy::disallowed_methods, reason = "this is where the time comes in")]
pub(crate) fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock from before 1970 is not set: what expires is then taken for expired, rather than for good.
    since.map_or(u64::MAX, |since| since.as_secs())
}
