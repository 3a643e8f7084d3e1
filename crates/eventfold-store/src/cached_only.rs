//! Looking things up without the disk: under a guard, whatever would be read fails instead, on the guard's thread alone.
//!
//! What is asked under it may be answered wrongly where a read was refused, so nothing of it may be used then: callers look
//! at [`is_refused`] before they look at the answer.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;

use eventfold_io::{IoError, Operation};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Allowed,
    Forbidden,
    /// Forbidden, and something had to be read.
    Refused,
}

eventfold_sync::thread_local! {
    static READING: Cell<Reading> = const { Cell::new(Reading::Allowed) };
}

/// While this lives, its thread reads nothing from a store's files.
pub(crate) struct CachedOnly(PhantomData<*const ()>);

impl CachedOnly {
    pub(crate) fn begin() -> Self {
        READING.with(|reading| reading.set(Reading::Forbidden));
        Self(PhantomData)
    }
}

impl Drop for CachedOnly {
    fn drop(&mut self) {
        READING.with(|reading| reading.set(Reading::Allowed));
    }
}

/// Whether this thread's guard has refused a read, so that what was looked up is worth nothing.
pub(crate) fn is_refused() -> bool {
    READING.with(Cell::get) == Reading::Refused
}

/// Refuses a read where this thread may not.
pub(crate) fn check(name: &str) -> Result<(), IoError> {
    if READING.with(Cell::get) == Reading::Allowed {
        return Ok(());
    }
    READING.with(|reading| reading.set(Reading::Refused));
    Err(IoError::new(Operation::Read, io::ErrorKind::WouldBlock.into()).with_name(name))
}
