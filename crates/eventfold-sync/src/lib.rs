//! The locks, threads and clock of the eventfold event store.
//!
//! They are those of the standard library, by a name of their own: what waits for another thread, or for time to pass, does so
//! through this crate. Compiled with `--cfg eventfold_simulation` they are simulated instead: one seed decides which thread goes
//! on at every step and how fast time passes, and decides the same when it is run again. `tests/simulation` is what runs the
//! whole store so. No program that stores anything is compiled like that, which is why it is not a feature that a dependency
//! could switch on.
//!
//! Locks that are held for a few instructions and never while their holder reads the disk, waits or calls out need not come
//! from here: in a simulation nobody is ever interrupted within them.
//!
//! ```
//! use std::sync::Arc;
//! use eventfold_sync::{Condvar, Mutex, PoisonError, thread};
//!
//! let shared = Arc::new((Mutex::new(false), Condvar::new()));
//! let theirs = shared.clone();
//! let thread = thread::spawn("example", move || {
//!     *theirs.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
//!     theirs.1.notify_all();
//! })?;
//! let mut done = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
//! while !*done {
//!     done = shared.1.wait(done).unwrap_or_else(PoisonError::into_inner);
//! }
//! drop(done);
//! thread.join().expect("it has not panicked");
//! # Ok::<(), std::io::Error>(())
//! ```

#[cfg(eventfold_simulation)]
mod simulated;
#[cfg(not(eventfold_simulation))]
mod system;
mod wait;

#[cfg(eventfold_simulation)]
use simulated as backend;
#[cfg(not(eventfold_simulation))]
use system as backend;

#[cfg(eventfold_simulation)]
pub use backend::simulation;
pub use backend::{Condvar, Mutex, MutexGuard, RwLock, atomic, clock, mpsc, thread, thread_local};
pub use std::sync::PoisonError;
pub use wait::poll_until;
