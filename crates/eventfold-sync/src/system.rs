//! What the standard library has.

pub use std::sync::{Condvar, Mutex, MutexGuard, RwLock, atomic, mpsc};
pub use std::thread_local;

pub mod thread {
    //! Threads that have names.

    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};
    pub use std::thread::JoinHandle;
    use std::thread::{Builder, Thread};
    use std::time::Instant;

    use crate::clock;

    /// Starts a thread.
    ///
    /// # Errors
    ///
    /// Where the system has none to give.
    #[expect(clippy::disallowed_methods, reason = "the one place where threads are started; who starts one, ends it")]
    pub fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
        Builder::new().name(name.to_owned()).spawn(run)
    }

    /// Lets a thread wait until another wakes it.
    #[derive(Debug)]
    pub(crate) struct Parker {
        thread: Thread,
        /// Whoever else waits on this thread meanwhile, as std's channels do and some of its locks, takes what `unpark` has left
        /// for `park`. This is nobody else's.
        woken: AtomicBool,
    }

    impl Parker {
        /// For this thread, which alone waits by it.
        pub(crate) fn new() -> Self {
            Self { thread: std::thread::current(), woken: AtomicBool::new(false) }
        }

        /// Ends the wait that is under way, or else the next one.
        pub(crate) fn unpark(&self) {
            self.woken.store(true, Ordering::Release);
            self.thread.unpark();
        }

        /// Waits until it is woken or the time has come, or for no reason.
        pub(crate) fn park(&self, until: Option<Instant>) {
            if self.woken.swap(false, Ordering::Acquire) {
                return;
            }
            match until {
                None => std::thread::park(),
                Some(until) => std::thread::park_timeout(until.saturating_duration_since(clock::now())),
            }
            self.woken.swap(false, Ordering::Acquire);
        }
    }
}

pub mod clock {
    //! The time. Nothing that a log decides depends on it.

    use std::time::{Duration, Instant, SystemTime};

    /// Now, by a clock that goes forward only.
    #[expect(clippy::disallowed_methods, reason = "the one place where this clock is read")]
    pub fn now() -> Instant {
        Instant::now()
    }

    /// How long ago that was.
    pub fn since(begun: Instant) -> Duration {
        now().saturating_duration_since(begun)
    }

    /// Now, as people say it.
    #[expect(clippy::disallowed_methods, reason = "the one place where this clock is read")]
    pub fn wall() -> SystemTime {
        SystemTime::now()
    }
}
