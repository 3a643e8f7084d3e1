//! The durable watermark: how far readers see, and how others wait for it to move.

use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, PoisonError};

/// Set in the watermark's number when it moves no more. No log has so many events that a position needs it.
const ENDED: u64 = 1 << 63;

/// How far readers see.
///
/// Where it is and whether it moves on are one number, so that nothing is published any more once somebody was told that
/// nothing more is coming.
///
/// Who moves it stores that number and, where nobody waits, does no more. Who waits makes that known before looking at the
/// number for the last time, so that one of the two sees the other: hence the sequentially consistent orderings.
#[derive(Debug)]
pub(crate) struct Watermark {
    /// The next position that readers don't see yet: everything below is durable and indexed. With [`ENDED`].
    state: AtomicU64,
    waiting: AtomicUsize,
    lock: Mutex<()>,
    moved: Condvar,
}

impl Watermark {
    pub(crate) fn new(head: u64) -> Self {
        Self { state: AtomicU64::new(head), waiting: AtomicUsize::new(0), lock: Mutex::new(()), moved: Condvar::new() }
    }

    pub(crate) fn head(&self) -> u64 {
        self.state.load(Ordering::Acquire) & !ENDED
    }

    /// Moves it, unless it has ended: then nobody is going to see what lies between. Returns whether it has moved. One thread
    /// alone does this.
    #[must_use]
    pub(crate) fn publish(&self, head: u64) -> bool {
        let before = self.head();
        let moved = self.state.compare_exchange(before, head, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        self.wake();
        moved
    }

    /// Tells those who wait that nothing more is coming.
    pub(crate) fn end(&self) {
        self.state.fetch_or(ENDED, Ordering::SeqCst);
        self.wake();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state.load(Ordering::SeqCst) & ENDED != 0
    }

    /// Waits until the head is another than `seen`, it has ended, or `interrupted` is set, which is taken back. Returns the
    /// head.
    pub(crate) fn wait(&self, seen: u64, interrupted: &AtomicBool) -> u64 {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.lock();
        // Anything else than the head that was seen: another one, or one with the end.
        while self.state.load(Ordering::SeqCst) == seen && !interrupted.swap(false, Ordering::SeqCst) {
            guard = self.moved.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        drop(guard);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.head()
    }

    /// Wakes all who wait, so that they look again.
    pub(crate) fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // Under the lock: who waits has either not looked yet, or is waiting already.
            drop(self.lock());
            self.moved.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
