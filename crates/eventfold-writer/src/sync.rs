//! The locks of this crate, by a name of their own: a test that explores schedules compiles the inbox with other ones.

pub(crate) use eventfold_sync::{Condvar, Mutex, MutexGuard, PoisonError};
