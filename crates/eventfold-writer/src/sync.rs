//! The locks of the inbox, by a name of their own: a test that explores schedules compiles the inbox with other ones.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
