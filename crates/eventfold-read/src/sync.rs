//! Locks and threads, which in this crate's own unit tests are those of shuttle, which runs them in many orders.

use std::io;
use std::sync::PoisonError;

#[cfg(not(test))]
use eventfold_sync::thread;
#[cfg(not(test))]
pub(crate) use eventfold_sync::{Condvar, Mutex, MutexGuard};
#[cfg(test)]
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};

/// What a lock guards is whole after every call, also after one that has panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Starts a thread that nobody joins: it ends soon after it is told to, and what it was told by may be dropped on it.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    #[cfg(test)]
    let started = shuttle::thread::Builder::new().name(name.to_owned()).spawn(body);
    #[cfg(not(test))]
    let started = thread::spawn(name, body);
    started.map(drop)
}
