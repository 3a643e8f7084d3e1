//! Locks and threads: those of the standard library, and in this crate's own unit tests those of shuttle, which runs them in
//! many orders.

#[cfg(test)]
use shuttle::{sync, thread};
#[cfg(not(test))]
use std::{sync, thread};

use std::io;

pub(crate) use sync::{Condvar, Mutex, MutexGuard};

/// What a lock guards is whole after every call, also after one that has panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(sync::PoisonError::into_inner)
}

pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(sync::PoisonError::into_inner)
}

/// Starts a thread that nobody joins: it ends soon after it is told to, and what it was told by may be dropped on it.
#[cfg_attr(
    not(test),
    expect(clippy::disallowed_methods, reason = "the threads of this crate: named here, and ended by `Hub`")
)]
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map(drop)
}
