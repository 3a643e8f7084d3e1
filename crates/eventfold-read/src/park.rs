//! Waiting on the calling thread for what wakes a waker.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// A waker that a thread waits for.
#[derive(Debug, Default)]
struct Parker {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}

/// When to give up waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) const NEVER: Self = Self(None);

    #[expect(clippy::disallowed_methods, reason = "how long a caller waits is no part of what a log decides")]
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// How long there is left; `None` without a bound.
    #[expect(clippy::disallowed_methods, reason = "how long a caller waits is no part of what a log decides")]
    fn left(self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }
}

/// Polls until it is ready, or `Pending` when time is up.
pub(crate) fn poll_until<T>(deadline: Deadline, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    let parker = Arc::new(Parker::default());
    let waker = Waker::from(parker.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = poll(&mut context) {
            return Poll::Ready(value);
        }
        let mut woken = parker.woken.lock().unwrap_or_else(PoisonError::into_inner);
        while !*woken {
            woken = match deadline.left() {
                None => parker.changed.wait(woken).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Poll::Pending,
                Some(left) => parker.changed.wait_timeout(woken, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        *woken = false;
    }
}
