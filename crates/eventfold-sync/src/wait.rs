//! Waiting on the calling thread for what wakes a waker.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use crate::clock;
use crate::thread::Parker;

struct Unpark(Parker);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls on this thread until it is ready, or gives up when the time has come: then it is `Pending`.
///
/// ```
/// use std::pin::pin;
/// use std::task::Poll;
///
/// let mut future = pin!(async { 7 });
/// let polled = eventfold_sync::poll_until(None, |context| future.as_mut().poll(context));
/// assert_eq!(polled, Poll::Ready(7));
/// ```
pub fn poll_until<T>(until: Option<Instant>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    let unpark = Arc::new(Unpark(Parker::new()));
    let waker = Waker::from(unpark.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = poll(&mut context) {
            return Poll::Ready(value);
        }
        if until.is_some_and(|until| clock::now() >= until) {
            return Poll::Pending;
        }
        unpark.0.park(until);
    }
}

#[cfg(all(test, not(eventfold_simulation)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wake_up_is_not_lost_where_something_else_waits_on_the_thread_meanwhile() {
        let until = clock::now() + Duration::from_secs(30);
        let mut polls = 0;
        let woken_in_time = poll_until(Some(until), |context| {
            polls += 1;
            if polls == 1 {
                context.waker().wake_by_ref();
                // As a channel or a lock of the system does that has to wait.
                std::thread::park();
                return Poll::Pending;
            }
            Poll::Ready(clock::now() < until)
        });
        assert_eq!(woken_in_time, Poll::Ready(true));
    }
}
