//! Where the time comes in, and waiting, and chance.

use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "this is where the time comes in")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// So much later than now; never, where that is beyond what the clock can say.
pub(crate) fn after(time: Duration) -> Option<Instant> {
    now().checked_add(time)
}

/// Waits this long.
#[expect(clippy::disallowed_methods, reason = "this is where waiting comes in")]
pub(crate) async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Waits until then; for ever where there is no such time.
pub(crate) async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

/// What this gives before then.
pub(crate) async fn within<T>(until: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match until {
        Some(until) => tokio::time::timeout_at(until.into(), future).await.ok(),
        None => Some(future.await),
    }
}

/// Fills this with random bytes.
///
/// # Panics
///
/// Where the system has none to give: no id that was made then could be trusted to be the only one.
#[expect(clippy::disallowed_methods, reason = "this is where chance comes in")]
pub(crate) fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system gives random bytes");
}
