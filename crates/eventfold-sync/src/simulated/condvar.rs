//! Waiting that a timeout can end.

use std::sync::{Arc, LockResult, PoisonError};
use std::time::Duration;

use shuttle::sync::MutexGuard;

use super::time::Time;

/// What threads wait by. It also wakes those whose time has not come, now and then, as the system's may.
#[derive(Debug, Default)]
pub struct Condvar(Arc<shuttle::sync::Condvar>);

/// How a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time has come.
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl Condvar {
    /// One that nobody waits by.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits to be woken.
    ///
    /// # Errors
    ///
    /// Where the lock is poisoned.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    /// Waits to be woken, for so long.
    ///
    /// # Errors
    ///
    /// Where the lock is poisoned.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let time = Time::current();
        let timer = time.start_timer(timeout, self.0.clone());
        let waited = self.0.wait(guard);
        let result = WaitTimeoutResult(time.end_timer(timer));
        match waited {
            Ok(guard) => Ok((guard, result)),
            Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), result))),
        }
    }

    /// Wakes one who waits.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
