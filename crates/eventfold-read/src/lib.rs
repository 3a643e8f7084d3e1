//! Reads of an eventfold log, and subscriptions to it.
//!
//! A [`ReadIndex`] shares the [`EventLog`](eventfold_store::EventLog) of a store: any number of threads and tasks read it while
//! another appends. It reads by position, stream and query, in both directions; each read is there as a call that blocks and
//! as a future. A [`Subscription`] yields history, then what comes, and never skips, repeats or reorders an event.
//!
//! Nothing here appends, and nothing needs a runtime: futures and streams are polled by any, and by none where the blocking
//! forms do. No `poll` reads the disk; a few threads that clones share do.
//!
//! ```
//! use eventfold_read::{ReadIndex, SubscriptionEvent};
//! use eventfold_store::{ExpectedVersion, ProposedEvent, Query, Store};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path();
//! let mut store = Store::open(path)?;
//! let index = ReadIndex::new(store.log()); // a cheap clone, for any thread
//! store.append("account-7", ExpectedVersion::NoStream, vec![ProposedEvent::new("Opened", "{}")])?;
//! assert_eq!(index.stream_version("account-7")?, Some(0));
//!
//! let watching = std::thread::spawn(move || -> Result<Vec<String>, eventfold_store::Error> {
//!     let mut types = Vec::new();
//!     for item in index.subscribe_blocking(Query::all(), 0)? {
//!         if let SubscriptionEvent::Event(event) = item? {
//!             types.push(event.event_type.to_string());
//!         }
//!     }
//!     Ok(types) // the store was closed
//! });
//! store.append("account-7", ExpectedVersion::Exact(0), vec![ProposedEvent::new("Deposited", "500")])?;
//! store.close()?;
//! assert_eq!(watching.join().unwrap()?, ["Opened", "Deposited"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod async_reads;
mod cursor;
mod dispatch;
mod events;
mod hub;
mod index;
mod pages;
mod pool;
mod registry;
mod source;
mod subscription;
mod sync;
mod until;

pub use async_reads::AsyncReads;
pub use events::Events;
pub use index::{DEFAULT_READER_THREADS, ReadIndex};
pub use pages::Pages;
pub use pool::Offload;
pub use subscription::{BlockingSubscription, Subscription, SubscriptionEvent, SubscriptionOptions};
pub use until::WaitUntil;

#[cfg(test)]
mod handover_tests;
