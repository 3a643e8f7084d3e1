//! The clock of this process, for what is measured and for when to tell how far something is.

use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "nothing is decided by it")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// How long ago that was.
pub(crate) fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}

/// Looks away for as long.
#[expect(clippy::disallowed_methods, reason = "nothing is decided by it")]
pub(crate) async fn sleep(pause: Duration) {
    tokio::time::sleep(pause).await;
}
