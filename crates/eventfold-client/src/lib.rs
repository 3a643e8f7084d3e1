//! The eventfold event store from elsewhere, and one trait for a store wherever it is.
//!
//! An application holds an [`Arc<dyn EventStore>`](EventStore): a store in its own process, one in memory for its tests, or a
//! [`Client`] of a server. What it does with it is the same, down to the typed errors, and it changes from one to the other by a
//! line:
//!
//! ```
//! use std::sync::Arc;
//!
//! use eventfold_client::{Client, Error, EventStore, EventStoreExt, ExpectedVersion, ProposedEvent, StoreError};
//! # #[cfg(feature = "memory")]
//! use eventfold_client::EventfoldDb;
//!
//! /// Opens an account, if there is none of that name.
//! async fn open_account(store: &dyn EventStore, account: &str) -> Result<bool, Error> {
//!     match store.append(account, ExpectedVersion::NoStream, vec![ProposedEvent::new("Opened", "{}")]).await {
//!         Ok(_) => Ok(true),
//!         Err(Error::Store(StoreError::WrongExpectedVersion { .. })) => Ok(false),
//!         Err(error) => Err(error),
//!     }
//! }
//!
//! async fn store(server: Option<&str>) -> Result<Arc<dyn EventStore>, Error> {
//!     Ok(match server {
//!         Some(server) => Arc::new(Client::builder().endpoint(server).connect().await?),
//! #       #[cfg(feature = "memory")]
//!         None => Arc::new(EventfoldDb::in_memory()?), // or `EventfoldDb::open(path)?`
//! #       #[cfg(not(feature = "memory"))]
//! #       None => unreachable!(),
//!     })
//! }
//!
//! # #[cfg(feature = "memory")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let store = store(None).await?;
//! assert!(open_account(&*store, "account-7").await?);
//! assert!(!open_account(&*store, "account-7").await?);
//! assert_eq!(store.read_stream("account-7", 0, 10).await?.len(), 1);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "memory"))]
//! # fn main() {}
//! ```
//!
//! # What a client does by itself
//!
//! - **It sends again what is safe to be sent again.** An append gets ids for those of its events that have none, so it stands once
//!   however often it is sent. It is sent again where the server asks for that, and where the connection broke. Where its fate is
//!   still open when the deadline passes, the error is [`StoreError::OutcomeUnknown`]; where an answer came that makes no sense,
//!   [`Error::Protocol`]. Both are of the kind [`ErrorKind::Unknown`], and every other kind means that the append does not stand.
//! - **A subscription goes on where it was** when the connection broke or the server was restarted, without a gap or a repetition,
//!   for ever or for [as long as is said](ClientBuilder::resume_for). It may be told again that it has caught up. An error that
//!   trying again can't mend ends it.
//! - **A read goes on where it was**, too. What it yields is the log's events in their order, each once, as always. But a read
//!   forward that was interrupted ends at the head of the log as it stood when it went on, not when it began; one that has to be
//!   of a single moment says where that ends, by [`Read::max_count`] or backward.
//! - **It tells what is wrong with a request by itself**, with the same errors as the store, without asking the server.
//!
//! Many appends at once are fastest in an [`AppendSession`].
//!
//! # Features
//!
//! | feature | on by default | what it adds |
//! |---|---|---|
//! | `admin` | | `Client::admin`: backups, exports, imports and verifying |
//! | `embedded` | | [`EventStore`] for `EventfoldDb`, a store of the program's own |
//! | `memory` | | `EventfoldDb::in_memory`, for tests |
//! | `native-roots` | | TLS that trusts whom the system trusts |

#[cfg(feature = "admin")]
mod admin;
mod ahead;
mod appending;
mod builder;
mod client;
mod clock;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod exchange;
mod ext;
mod following;
mod place;
mod reading;
mod request;
mod retry;
mod session;
mod store;
mod taken;
mod tls;
mod transport;
mod trouble;

#[cfg(feature = "admin")]
pub use admin::{Admin, Verified, VerifyFinding};
pub use builder::{ClientBuilder, ConfigError, DEFAULT_DEADLINE, DEFAULT_ENDPOINT};
pub use client::Client;
pub use error::Error;
#[cfg(feature = "embedded")]
pub use eventfold_db::EventfoldDb;
pub use eventfold_proto::v1::StatusResponse;
#[cfg(feature = "admin")]
pub use eventfold_proto::v1::verify_response::Summary as VerifySummary;
pub use eventfold_read::SubscriptionEvent;
#[cfg(feature = "admin")]
pub use eventfold_store::Consequence;
pub use eventfold_store::{
    Append, Bytes, Condition, Direction, Error as StoreError, ErrorKind, EventType, ExpectedVersion, FailedCondition,
    InvalidQuery, InvalidStreamName, NO_STREAM, Poison, ProposedEvent, Query, QueryItem, RecordedEvent, StreamInfo,
    StreamName, StreamRef, Tag, Uuid,
};
pub use ext::EventStoreExt;
pub use futures_util::future::BoxFuture;
pub use futures_util::stream::BoxStream;
pub use request::{Read, Source, Subscribe};
pub use session::{AppendSession, PendingAnswer};
pub use store::EventStore;
pub use tls::Tls;
