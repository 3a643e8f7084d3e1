//! The durable log of the eventfold event store: segments, group commit, recovery, and the index over them.
//!
//! A [`Store`] is a directory that one process has open for appending. An append is atomic, under conditions that are
//! checked against the very state that it is appended to, and it is durable when [`Store::append`] returns. All events have
//! one contiguous order; those of a stream have versions of their own. Reading by position, stream, type and tag goes
//! through an index, never through the whole log. After a crash, opening decides what stands, and refuses a log that has lost
//! what was safe.
//!
//! Everything here is synchronous. Who appends from many tasks wants the writer of `eventfold-writer`, which drives the group
//! commit of this crate ([`Store::stage`], [`Store::begin_commit`]); who only reads a log while others append to it
//! shares its [`EventLog`].
//!
//! ```
//! use eventfold_store::{Direction, ExpectedVersion, ProposedEvent, QueryItem, Store};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path();
//! let mut store = Store::open(path)?;
//! store.append("account-7", ExpectedVersion::NoStream, vec![ProposedEvent::new("Opened", "{}").with_tags(["owner:ann"])])?;
//! store.append("account-7", ExpectedVersion::Exact(0), vec![ProposedEvent::new("Deposited", r#"{"cents":500}"#)])?;
//!
//! let log = store.log(); // a cheap clone, for any thread
//! assert_eq!(log.global_position(), 2);
//! assert_eq!(log.read_stream("account-7", 0, 10)?.len(), 2);
//! assert_eq!(log.query(QueryItem::new().tags(["owner:ann"]), 0, 10)?[0].event_type, "Opened");
//! let last = log.snapshot().read_all(u64::MAX, 1, Direction::Backward)?;
//! assert_eq!(last[0].event_type, "Deposited");
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod append;
mod cached_only;
mod checkpoint;
mod copy;
mod decide;
mod directory;
mod environment;
mod error;
mod event_reader;
mod file_index;
mod files;
mod frames;
mod index;
mod log;
mod lookup;
mod maintenance;
mod open;
mod options;
mod preparation;
mod prepare;
mod query;
mod read;
mod repair;
mod roll;
mod scan;
mod seal;
mod segment;
mod stage;
mod storage;
mod store;
mod sync;
mod tail;
mod try_prepare;
mod verify;
mod watch;
mod watermark;
mod window;
mod writer;

pub use append::{Append, Condition, MAX_CONDITION_TERMS, MAX_CONDITIONS};
pub use bytes::Bytes;
pub use copy::{SealedFile, SnapshotFile};
pub use environment::{Environment, SystemEnvironment};
pub use error::{Damage, Error, ErrorKind, FailedCondition, Poison, ReadError};
pub use eventfold_codec::recovery::{Boundary, Broken, Corruption, Extent, Proof, TailEnd};
pub use eventfold_codec::{
    ChecksumMismatch, DEFAULT_IDEMPOTENCY_WINDOW, DEFAULT_SEGMENT_SIZE, EventRef, EventType, ExpectedVersion,
    FooterError, FrameError, HeaderCopyError, InvalidAppend, InvalidStreamName, Link, MAX_APPEND_SIZE, MAX_EVENT_SIZE,
    MAX_EVENT_TYPE_LEN, MAX_EVENTS_PER_APPEND, MAX_IDEMPOTENCY_WINDOW, MAX_SEGMENT_SIZE, MAX_STREAM_NAME_LEN,
    MAX_TAG_LEN, MAX_TAGS, MIN_SEGMENT_SIZE, NO_STREAM, ProposedEvent, RecordedEvent, ResolvedStream, Rule,
    STREAM_NAMESPACE, SegmentHeaderError, StreamName, StreamRef, Tag, Tags, Unsupported,
};
pub use eventfold_io::{Access, Disk, DiskFile, DiskLock, IoError, IoErrorKind, LockMode, Operation, StdDisk};
pub use log::{EventLog, Snapshot};
pub use open::{Healed, RecoveryReport};
pub use options::{DEFAULT_CACHE_BYTES, DEFAULT_HOT_TAIL_BYTES, DEFAULT_MAX_OPEN_FILES, StoreOptions};
pub use prepare::PreparedAppend;
pub use query::{
    InvalidQuery, MAX_QUERY_ITEMS, MAX_QUERY_TAGS, MAX_QUERY_TYPES, Query, QueryItem, ValidQuery, WatchedTerm,
};
pub use read::{Batch, BatchLimits, Direction, StreamInfo};
pub use repair::{Cut, RepairOptions, RepairProgress, RepairReport, repair, repair_on};
pub use scan::{AppendEvents, Scan};
pub use stage::{NotStaged, Staged};
pub use storage::CacheStats;
pub use store::Store;
pub use try_prepare::{Preparation, Unprepared};
pub use uuid::Uuid;
pub use verify::{Consequence, Finding, FindingCause, VerifyProgress, VerifyReport, verify, verify_on};
pub use watch::HeadWatch;
pub use writer::{Commit, Committed};
