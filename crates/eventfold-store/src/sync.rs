//! The locks of this crate, by a name of their own: a test that explores schedules compiles parts of it with other ones.

pub(crate) use eventfold_sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use eventfold_sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};

/// What hashes the keys of tables and caches: with a seed of its own for each, so that nobody can choose keys that collide. In a
/// simulation all have the same, since what a cache drops depends on it.
#[cfg(not(eventfold_simulation))]
pub(crate) type HashBuilder = hashbrown::DefaultHashBuilder;
#[cfg(eventfold_simulation)]
pub(crate) type HashBuilder = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;
