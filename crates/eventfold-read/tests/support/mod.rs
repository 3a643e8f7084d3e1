//! What the test files share: a store on a simulated disk with tiny segments, and a way to poll without a runtime.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

pub(crate) mod observed;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use eventfold_io::Disk;
use eventfold_io::sim::{SimDisk, SimOptions};
use eventfold_read::{ReadIndex, Subscription, SubscriptionEvent};
use eventfold_store::{Error, ExpectedVersion, MIN_SEGMENT_SIZE, ProposedEvent, RecordedEvent, Store};
use futures_core::Stream;

/// Longer than anything here takes: only a test that hangs waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn sim() -> SimDisk {
    SimDisk::new(SimOptions::new(1))
}

/// A store of segments of 64 KiB, in which nothing but its caller does anything.
pub(crate) fn open(disk: Arc<dyn Disk>) -> Store {
    Store::builder()
        .segment_size(MIN_SEGMENT_SIZE)
        .hot_tail_bytes(1 << 12)
        .cache_bytes(1 << 16)
        .background(false)
        .open_on(disk)
        .unwrap()
}

/// An event of so many bytes that forty fill a segment.
pub(crate) fn event(event_type: &str) -> ProposedEvent {
    ProposedEvent::new(event_type, vec![7; 1500])
}

/// Appends one event and returns it.
pub(crate) fn append(store: &mut Store, stream: &str, event_type: &str) -> RecordedEvent {
    store.append(stream, ExpectedVersion::Any, vec![event(event_type)]).unwrap().remove(0)
}

/// Counts how often it is woken, and lets a thread wait for that.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    count: AtomicUsize,
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::SeqCst);
        *self.woken.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

impl Wakes {
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until it was woken since the last time.
    pub(crate) fn park(&self) {
        let woken = self.woken.lock().unwrap();
        let (mut woken, timeout) = self.changed.wait_timeout_while(woken, PATIENCE, |woken| !*woken).unwrap();
        assert!(!timeout.timed_out(), "nobody wakes it");
        *woken = false;
    }
}

/// Runs a future on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let thread = Arc::new(Wakes::default());
    let waker = Waker::from(thread.clone());
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread.park(),
        }
    }
}

/// A subscription that is polled on this thread.
pub(crate) struct Polled {
    pub(crate) subscription: Subscription,
    pub(crate) wakes: Arc<Wakes>,
}

pub(crate) type Item = Option<Result<SubscriptionEvent, Error>>;

impl Polled {
    pub(crate) fn new(subscription: Subscription) -> Self {
        Self { subscription, wakes: Arc::default() }
    }

    pub(crate) fn poll(&mut self) -> Poll<Item> {
        let waker = Waker::from(self.wakes.clone());
        Pin::new(&mut self.subscription).poll_next(&mut Context::from_waker(&waker))
    }

    /// Polls a future once, with nobody to be woken.
    pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// The next item, however long it takes.
    pub(crate) fn next(&mut self) -> Item {
        loop {
            match self.poll() {
                Poll::Ready(item) => return item,
                Poll::Pending => self.wakes.park(),
            }
        }
    }

    pub(crate) fn event(&mut self) -> RecordedEvent {
        match self.next() {
            Some(Ok(SubscriptionEvent::Event(event))) => event,
            other => panic!("{other:?} instead of an event"),
        }
    }

    pub(crate) fn caught_up(&mut self) -> u64 {
        match self.next() {
            Some(Ok(SubscriptionEvent::CaughtUp { position })) => position,
            other => panic!("{other:?} instead of having caught up"),
        }
    }

    /// Polls until it waits for the log, and has no read under way. `index` has to have one reader thread, so that what is
    /// asked of it now is done after what was asked before.
    pub(crate) fn falls_asleep(&mut self, index: &ReadIndex) {
        loop {
            let before = self.wakes.count();
            if let Poll::Ready(item) = self.poll() {
                panic!("{item:?} instead of nothing");
            }
            block_on(index.offload(|_| Ok(()))).unwrap();
            if self.wakes.count() == before {
                return;
            }
        }
    }
}
