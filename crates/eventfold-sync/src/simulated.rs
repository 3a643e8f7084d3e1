//! Threads of which one goes on at a time, and time that passes when the scheduler says so.

mod condvar;
pub mod simulation;
mod time;

pub use condvar::Condvar;
pub use shuttle::sync::{Mutex, MutexGuard, RwLock, atomic, mpsc};
pub use shuttle::thread_local;

pub mod thread {
    //! Threads of the simulation.

    use std::io;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::PoisonError;
    use std::thread::Result;
    use std::time::Instant;

    use shuttle::sync::Mutex;

    use super::Condvar;
    use super::time::Time;
    use crate::clock;

    /// A thread that can be waited for.
    #[derive(Debug)]
    pub struct JoinHandle<T>(shuttle::thread::JoinHandle<Result<T>>);

    impl<T> JoinHandle<T> {
        /// Waits for the thread to end.
        ///
        /// # Errors
        ///
        /// What it has panicked with.
        pub fn join(self) -> Result<T> {
            self.0.join().and_then(|ended| ended)
        }
    }

    /// Starts a thread.
    ///
    /// # Errors
    ///
    /// None.
    pub fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
        let time = Time::current();
        time.thread_begins();
        let run = move || {
            // The scheduler would end everything where a thread panics; the system ends that thread.
            let ended = catch_unwind(AssertUnwindSafe(run));
            time.thread_ends();
            ended
        };
        shuttle::thread::Builder::new().name(name.to_owned()).spawn(run).map(JoinHandle)
    }

    /// Lets a thread wait until another wakes it.
    #[derive(Debug)]
    pub(crate) struct Parker {
        woken: Mutex<bool>,
        changed: Condvar,
    }

    impl Parker {
        pub(crate) fn new() -> Self {
            Self { woken: Mutex::new(false), changed: Condvar::new() }
        }

        pub(crate) fn unpark(&self) {
            *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.changed.notify_all();
        }

        pub(crate) fn park(&self, until: Option<Instant>) {
            let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
            while !*woken {
                woken = match until.map(|until| until.saturating_duration_since(clock::now())) {
                    None => self.changed.wait(woken).unwrap_or_else(PoisonError::into_inner),
                    Some(left) if left.is_zero() => return,
                    Some(left) => self.changed.wait_timeout(woken, left).unwrap_or_else(PoisonError::into_inner).0,
                };
            }
            *woken = false;
        }
    }
}

pub mod clock {
    //! The time of the simulation.

    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use super::time::Time;

    /// Now, by a clock that goes forward only.
    pub fn now() -> Instant {
        Time::current().instant()
    }

    /// How long ago that was.
    pub fn since(begun: Instant) -> Duration {
        now().saturating_duration_since(begun)
    }

    /// Now, as people say it.
    pub fn wall() -> SystemTime {
        UNIX_EPOCH + Time::current().passed()
    }
}
