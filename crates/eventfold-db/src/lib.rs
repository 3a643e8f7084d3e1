//! An append-only event store, embedded in a program as `SQLite` is.
//!
//! Events belong to streams and are appended atomically, under conditions: that a stream is at the version that a decision
//! was based on, or that no event matches a query. What was acknowledged is on the disk. All events have one contiguous
//! order; reading by stream, type and tag goes through an index; subscriptions yield history and then what comes, and never
//! skip, repeat or reorder an event.
//!
//! [`EventfoldDb`] is the one-call way in:
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use eventfold_db::{EventfoldDb, ExpectedVersion, ProposedEvent};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path();
//! let db = EventfoldDb::open(path)?;
//! db.append("account-7", ExpectedVersion::NoStream, vec![ProposedEvent::new("Opened", "{}")]).await?;
//! let events = db.reads().read_stream("account-7", 0, 100)?;
//! assert_eq!(events[0].event_type, "Opened");
//! db.close().await?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "tokio"))]
//! # fn main() {}
//! ```
//!
//! # What is where
//!
//! | to | see |
//! |---|---|
//! | append only if what was decided on still holds | [`ExpectedVersion`]; [`Append`], for several streams and for conditions on queries |
//! | know what to do about an error | [`Error::kind`] |
//! | send an append again whose answer was lost | [`EventfoldDb::append`] |
//! | read in a thread, and in async code | [`ReadIndex`], whose reads block; [`ReadIndex::in_background`], whose reads don't |
//! | find events by type, tag, stream or a prefix of its name | [`ReadIndex::query`], [`QueryItem`] |
//! | follow what comes | [`ReadIndex::subscribe`], a `Stream`, of which `StreamExt` of `futures-util` or `tokio-stream` makes `next().await`; [`ReadIndex::subscribe_blocking`], an iterator |
//! | read one's own writes in another task | [`ReadIndex::wait_until`] |
//! | find a stream's name, of which an event has the id | [`ReadIndex::stream_info`] |
//! | share a store | clones of [`EventfoldDb::writer`] and [`EventfoldDb::reads`] |
//! | end | [`EventfoldDb::close`] |
//! | test with a store in memory | `EventfoldDb::in_memory`, of the feature `memory` |
//! | look after a store | [`verify`](fn@verify), [`repair`](fn@repair), [`RecoveryReport`] |
//!
//! # Layers
//!
//! Beneath are layers, each a crate that can be used alone, and all that they offer is here too:
//!
//! - [`Store`] is the log itself, synchronous, with one owner that appends;
//! - [`WriterHandle`] lets any number of callers append through one thread, in groups that share a sync;
//! - [`ReadIndex`] reads and subscribes, from any thread;
//! - [`spawn_writer`](fn@spawn_writer) joins the three.
//!
//! # Features
//!
//! | feature | on by default | what it adds |
//! |---|---|---|
//! | `tokio` | yes | `spawn_writer`, deadlines in async code. Without it no tokio is compiled: futures and streams work on any executor, and every call has a form that blocks |
//! | `serde` | | `ProposedEvent::json` and `RecordedEvent::json` |
//! | `memory` | | `EventfoldDb::in_memory` and `MemoryDirectory`: stores in memory, for tests of what uses them |

mod db;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "tokio")]
mod spawn;

pub use db::{Builder, EventfoldDb};
pub use eventfold_read::*;
pub use eventfold_store::*;
pub use eventfold_writer::{
    AppendRequest, DEFAULT_MAX_BYTES, DEFAULT_MAX_REQUESTS, Histogram, PanicReport, PendingAppend, Rejections,
    Sequence, Writer, WriterHandle, WriterOptions, WriterStats, WriterThread,
};
#[cfg(feature = "memory")]
pub use memory::MemoryDirectory;
#[cfg(feature = "tokio")]
pub use spawn::spawn_writer;

/// The README's example, so that it is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
