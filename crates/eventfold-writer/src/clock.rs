//! The clock by which the writer's figures are taken. Nothing is decided by it.

use std::time::{Duration, Instant, SystemTime};

#[expect(clippy::disallowed_methods, reason = "how long something took is measured for people, and decides nothing")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn since(begun: Instant) -> Duration {
    now().saturating_duration_since(begun)
}

#[expect(clippy::disallowed_methods, reason = "when something went wrong is reported to people, and decides nothing")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
