//! The writer of the eventfold event store: many callers, one thread that appends for all of them in groups.
//!
//! A [`Writer`] owns a [`Store`](eventfold_store::Store) on a thread of its own. Callers hold a [`WriterHandle`] and ask from
//! threads or tasks; whatever is waiting is written with one write and one sync, and while that is under way the next group
//! is staged. An answer means that the events are durable and that readers see them.
//!
//! How much is held at once is bounded in requests and in bytes: [`WriterHandle::append`] waits for its turn,
//! [`WriterHandle::try_append`] says [`Backpressure`](eventfold_store::Error::Backpressure). An append that is refused harms no other.
//! Nothing here depends on an async runtime, and the same queue serves threads and tasks; the feature `tokio` adds
//! `spawn_writer`, and deadlines in async code.
//!
//! Reading is not done here: the log is [shared](WriterHandle::log) with whoever reads.
//!
//! ```
//! use eventfold_store::{ExpectedVersion, ProposedEvent, Store};
//! use eventfold_writer::{Writer, WriterOptions};
//!
//! # let directory = tempfile::tempdir()?;
//! let store = Store::open(directory.path())?;
//! let (writer, thread) = Writer::start(store, &WriterOptions::default())?;
//! let events = writer.append_blocking("account-7", ExpectedVersion::NoStream, vec![ProposedEvent::new("Opened", "{}")])?;
//! assert_eq!(events[0].global_position, 0);
//! assert_eq!(writer.log().read_all(0, 10)?, events);
//! writer.close_blocking()?;
//! thread.join();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod engine;
mod group;
mod handle;
mod inbox;
#[cfg(test)]
mod inbox_tests;
mod line;
mod pace;
mod panics;
mod pending;
mod pool;
mod request;
mod shared;
mod stats;
mod sync;
mod writer;

pub use handle::WriterHandle;
pub use panics::PanicReport;
pub use pending::PendingAppend;
pub use request::{AppendRequest, Sequence};
pub use stats::{Histogram, Rejections, WriterStats};
#[cfg(feature = "tokio")]
pub use writer::spawn_writer;
pub use writer::{DEFAULT_MAX_BYTES, DEFAULT_MAX_REQUESTS, Writer, WriterOptions, WriterThread};
