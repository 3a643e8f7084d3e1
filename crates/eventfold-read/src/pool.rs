//! A few threads that read the disk for those who must not block.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::Result as Outcome;

use eventfold_store::Error;

use crate::hub::Hub;
use crate::sync::{Condvar, Mutex, lock, spawn, wait};

type Job = Box<dyn FnOnce() + Send>;

/// Threads that are started when there is more to do than those that are there can, up to a bound.
pub(crate) struct Pool {
    threads_max: usize,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    stop: bool,
}

impl Pool {
    pub(crate) fn new(threads_max: usize) -> Self {
        Self { threads_max: threads_max.max(1), state: Mutex::new(State::default()), work: Condvar::new() }
    }

    /// Has this done, in the order in which it was asked for.
    fn submit(self: &Arc<Self>, job: Job) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.jobs.len() >= state.idle && state.threads < self.threads_max {
            let pool = self.clone();
            match spawn("eventfold-read", move || pool.run()) {
                Ok(()) => state.threads += 1,
                // Those that are there get to it.
                Err(_) if state.threads > 0 => {}
                Err(error) => return Err(error),
            }
        }
        state.jobs.push_back(job);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Ends the threads. Nobody waits for what is not done yet.
    pub(crate) fn stop(&self) {
        let mut state = lock(&self.state);
        state.stop = true;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        drop(jobs);
        self.work.notify_all();
    }

    fn run(&self) {
        let mut state = lock(&self.state);
        while !state.stop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // What a job reads with, or finds, is dropped with it, and may panic then. The thread has others to serve.
                drop(catch_unwind(AssertUnwindSafe(job)));
                state = lock(&self.state);
            } else {
                state.idle += 1;
                state = wait(&self.work, state);
                state.idle -= 1;
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads_max", &self.threads_max).finish_non_exhaustive()
    }
}

/// A read that is done by another thread: a future that never blocks. It is on its way when it is made; dropping it gives it
/// up.
#[must_use = "nobody looks at the result of a read whose future is dropped"]
pub struct Offload<T> {
    slot: Arc<Mutex<Slot<T>>>,
    /// Keeps the threads.
    _hub: Arc<Hub>,
}

enum Slot<T> {
    Pending(Option<Waker>),
    Done(Outcome<Result<T, Error>>),
    Taken,
}

impl<T: Send + 'static> Offload<T> {
    pub(crate) fn new(hub: Arc<Hub>, read: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Self {
        let slot = Arc::new(Mutex::new(Slot::Pending(None)));
        let filled = slot.clone();
        let job = Box::new(move || {
            if Arc::strong_count(&filled) > 1 {
                let outcome = catch_unwind(AssertUnwindSafe(read));
                fill(&filled, outcome);
            }
        });
        if let Err(source) = hub.pool().submit(job) {
            fill(&slot, Ok(Err(Error::NoThread { source })));
        }
        Self { slot, _hub: hub }
    }
}

fn fill<T>(slot: &Mutex<Slot<T>>, outcome: Outcome<Result<T, Error>>) {
    let before = std::mem::replace(&mut *lock(slot), Slot::Done(outcome));
    if let Slot::Pending(Some(waker)) = before {
        // A panic of somebody's waker must not end the thread that others wait for.
        drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
    }
}

impl<T> Future for Offload<T> {
    type Output = Result<T, Error>;

    /// # Panics
    ///
    /// If the read has panicked, or has been taken already.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = context.waker().clone();
        let mut slot = lock(&self.slot);
        let before = std::mem::replace(&mut *slot, Slot::Taken);
        let replaced = match before {
            Slot::Done(Ok(result)) => return Poll::Ready(result),
            Slot::Done(Err(panic)) => {
                drop(slot);
                resume_unwind(panic);
            }
            Slot::Taken => panic!("a read was polled after it was done"),
            Slot::Pending(replaced) => replaced,
        };
        *slot = Slot::Pending(Some(waker));
        drop(slot);
        drop(replaced);
        Poll::Pending
    }
}

impl<T> fmt::Debug for Offload<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offload").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use shuttle::thread;

    use super::*;

    #[test]
    fn every_job_is_done_by_no_more_threads_than_allowed_and_they_end() {
        let run = || {
            let pool = Arc::new(Pool::new(2));
            let state = Arc::new((Mutex::new((0, 0)), Condvar::new()));
            let submitters: Vec<_> = (0..2)
                .map(|_| {
                    let (pool, state) = (pool.clone(), state.clone());
                    thread::spawn(move || {
                        for _ in 0..2 {
                            let state = state.clone();
                            let job = move || {
                                let (figures, changed) = &*state;
                                lock(figures).0 += 1;
                                assert!(lock(figures).0 <= 2, "more at once than there may be threads");
                                let mut figures = lock(figures);
                                *figures = (figures.0 - 1, figures.1 + 1);
                                changed.notify_all();
                            };
                            pool.submit(Box::new(job)).expect("threads can be started");
                        }
                    })
                })
                .collect();
            let (figures, changed) = &*state;
            let mut guard = lock(figures);
            while guard.1 < 4 {
                guard = wait(changed, guard);
            }
            drop(guard);
            for submitter in submitters {
                submitter.join().expect("no panic");
            }
            // Its threads end, or shuttle would find them waiting for ever.
            pool.stop();
        };
        shuttle::check_random(run, 2_000);
        shuttle::check_pct(run, 1_000, 3);
    }
}
