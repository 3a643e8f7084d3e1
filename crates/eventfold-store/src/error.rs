//! What can go wrong, as facts.

use std::sync::Arc;

use eventfold_codec::recovery::{Corruption, RecoveryError};
use eventfold_codec::{
    ExpectedVersion, FooterError, FrameError, InvalidAppend, InvalidStreamName, SegmentHeaderError, StreamName,
    Unsupported,
};
use eventfold_io::{IoError, IoErrorKind, Operation};
use uuid::Uuid;

use crate::files::FileName;
use crate::query::InvalidQuery;

/// Why something could not be read from the disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A frame is damaged.
    #[error("{file} is damaged at offset {offset}: {source}")]
    Frame {
        /// The file.
        file: String,
        /// Where the frame stands.
        offset: u64,
        /// What is wrong with it.
        source: FrameError,
    },
    /// A footer is damaged.
    #[error("the footer of {file} is damaged: {source}")]
    Footer {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: FooterError,
    },
    /// A part of an index is damaged. It can be made again from the frames.
    #[error("the index in {file} is damaged: {what}")]
    Index {
        /// The file.
        file: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Who has the store could not read it, and has said so: it is a server's.
    #[error("{what}")]
    Reported {
        /// The file, where it is about one.
        file: Option<String>,
        /// Where in the file.
        offset: Option<u64>,
        /// Something is damaged; otherwise the disk failed.
        is_damage: bool,
        /// What a caller can do about it.
        kind: ErrorKind,
        /// What was said.
        what: String,
    },
}

impl ReadError {
    /// The file that could not be read, where it is about one.
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Io(error) => error.name(),
            Self::Frame { file, .. } | Self::Footer { file, .. } | Self::Index { file, .. } => Some(file),
            Self::Reported { file, .. } => file.as_deref(),
        }
    }

    /// Where in the file, where that is known.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Io(error) => error.offset(),
            Self::Frame { offset, .. } => Some(*offset),
            Self::Footer { .. } | Self::Index { .. } => None,
            Self::Reported { offset, .. } => *offset,
        }
    }

    /// Whether what was read is damaged. Otherwise it could not be read.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Io(_) | Self::Reported { is_damage: false, .. })
    }
}

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Read again what the append was based on, and decide anew.
    Conflict,
    /// Ask for something else: the same request fails again.
    InvalidRequest,
    /// What was asked for is not there.
    NotFound,
    /// Try again after a while.
    Retry,
    /// It is not known whether the append stands. Where the caller had set the [id](eventfold_codec::ProposedEvent::with_id)
    /// of each of its events, sending the same again is safe: it stands once, and the answer is that of the first. Ids that
    /// the store has made up are not told with an error. Without one's own, an append whose events break its conditions
    /// ([`ExpectedVersion::Exact`], [`ExpectedVersion::NoStream`], a query that they match) can't stand twice either, but
    /// the second is refused as a conflict; any other may stand twice.
    ///
    /// Whether the store has to be opened again first is told by the cause in [`Error::OutcomeUnknown`].
    Unknown,
    /// Open the store again.
    Reopen,
    /// Somebody has to look after the disk, the files or the configuration.
    Operator,
    /// The caller has no right to it, or has not said who it is. No store of one's own says so; a remote one does.
    Forbidden,
}

/// A condition that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailedCondition {
    /// A stream is at another version.
    Version {
        /// Which condition of the append, from 0.
        index: usize,
        /// The stream.
        stream_id: Uuid,
        /// Its name, where the append gave it.
        name: Option<StreamName>,
        /// What was expected.
        expected: ExpectedVersion,
        /// The version of its last event; `None` where it has none.
        actual: Option<u64>,
    },
    /// An event matches a query.
    Match {
        /// Which condition of the append, from 0.
        index: usize,
        /// The position of the first event that matches.
        position: u64,
    },
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A stream is at another version than the append expects. The first condition that failed is told here, all in
    /// `failed`.
    #[error(
        "stream {} {}, expected {}",
        stream_label(*.stream_id, .failed),
        actual_version(*.actual),
        expected_version(*.expected)
    )]
    WrongExpectedVersion {
        /// The stream.
        stream_id: Uuid,
        /// What was expected.
        expected: ExpectedVersion,
        /// The version of its last event; `None` where it has none.
        actual: Option<u64>,
        /// All conditions that failed, in the append's order.
        failed: Vec<FailedCondition>,
    },
    /// An event matches a query of which the append says that none does.
    #[error("the event at position {position} matches the query of condition {index}")]
    QueryMatched {
        /// Which condition of the append, from 0.
        index: usize,
        /// The position of the first event that matches.
        position: u64,
        /// All conditions that failed, in the append's order.
        failed: Vec<FailedCondition>,
    },
    /// The append's first event id was used before, with other events or other contents.
    #[error("event id {event_id} was used before, by another append at position {position}")]
    DuplicateEventId {
        /// The id.
        event_id: Uuid,
        /// The position of the event that has it.
        position: u64,
    },
    /// There is no such stream.
    #[error("there is no stream {stream}")]
    StreamNotFound {
        /// As it was asked for.
        stream: String,
    },
    /// The stream that a name stands for has another name.
    #[error("the stream {stream_id} of the name {asked} has the name {stored}")]
    StreamNameMismatch {
        /// The stream.
        stream_id: Uuid,
        /// The name that was asked for.
        asked: StreamName,
        /// The name that it has.
        stored: StreamName,
    },
    /// The events that belong to no stream can't be read as one.
    #[error("the nil stream is where events go that belong to no stream; it can't be read as one")]
    NoSuchStream,
    /// The events that belong to no stream have no version that could be expected.
    #[error(
        "the nil stream is where events go that belong to no stream; nothing but Any can be expected of it, not {expected:?}"
    )]
    NoSuchStreamCondition {
        /// What was expected.
        expected: ExpectedVersion,
    },
    /// An event is larger than any can be.
    #[error("event {index} has {size} bytes; at most {max} are allowed")]
    EventTooLarge {
        /// The event's index in the append.
        index: usize,
        /// Its size.
        size: usize,
        /// The most allowed.
        max: usize,
    },
    /// All events of an append together are larger than they can be.
    #[error("the append has {size} bytes; at most {max} are allowed")]
    AppendTooLarge {
        /// Its size.
        size: usize,
        /// The most allowed.
        max: usize,
    },
    /// The append breaks another rule.
    #[error(transparent)]
    InvalidAppend(InvalidAppend),
    /// An append has more conditions than it can.
    #[error("the append has {count} conditions; at most {max} are allowed")]
    TooManyConditions {
        /// How many.
        count: usize,
        /// The most allowed.
        max: usize,
    },
    /// The queries of an append's conditions ask for more than they can.
    #[error(
        "the queries of the append's conditions have {count} types, tags, streams and prefixes; at most {max} are allowed"
    )]
    TooManyConditionTerms {
        /// For how much they ask together.
        count: usize,
        /// The most allowed.
        max: usize,
    },
    /// A text is neither a stream's name nor a UUID's.
    #[error(transparent)]
    InvalidStreamName(#[from] InvalidStreamName),
    /// A query breaks a rule.
    #[error(transparent)]
    InvalidQuery(#[from] InvalidQuery),
    /// Too many appends, or bytes, wait already. Nothing of this one is queued.
    #[error("{waiting} appends of {bytes} bytes wait already")]
    Backpressure {
        /// How many wait.
        waiting: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// The log moved on faster than the append's conditions could be looked up, in several rounds.
    #[error("the log moved on while the append's conditions were looked up, {rounds} times in a row")]
    Busy {
        /// How often it was tried.
        rounds: u32,
    },
    /// An append before it was refused, and its caller has said that then nothing behind that is to be appended.
    #[error("an append before it in its sequence was refused, so it was not made")]
    NotReached,
    /// The disk is full. Nothing of the append is there, and appends work again when there is space.
    #[error("the disk is full: {source}")]
    StorageFull {
        /// What was being done.
        source: Arc<IoError>,
    },
    /// A write or sync failed or the store was stopped while the append was under way, or its deadline passed: it may stand or
    /// not. [`ErrorKind::Unknown`] says how it is sent again.
    #[error("it is not known whether the append stands: {}", unknown_because(.cause.as_ref()))]
    OutcomeUnknown {
        /// What failed: the store takes no more appends, and opening it again decides what stands. `None` where no answer came
        /// before the deadline: the store takes appends as before, and this one may still be on its way, so that not finding
        /// it now proves nothing.
        #[source]
        cause: Option<Poison>,
    },
    /// An earlier failure made further appends impossible. Reads go on; opening the store again leads on.
    #[error("the store takes no more appends: {cause}")]
    Poisoned {
        /// What failed.
        #[source]
        cause: Poison,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The store was opened for reading alone.
    #[error("the store was opened read-only")]
    ReadOnly,
    /// Somebody else has the store open; or it was dropped, and is still being closed.
    #[error("the store is open elsewhere, in this process or another one, or is still being closed: {source}")]
    Locked {
        /// The lock that could not be had.
        source: IoError,
    },
    /// The system gives no thread for what is done in the background.
    #[error("the system gives no thread: {source}")]
    NoThread {
        /// What the system says.
        source: std::io::Error,
    },
    /// There is no store in the directory.
    #[error("there is no store here: {what}")]
    NoStore {
        /// What is missing.
        what: &'static str,
    },
    /// An option is out of bounds.
    #[error("{option} is {value}; it must be a multiple of {step}, from {min} to {max}")]
    InvalidOption {
        /// Which.
        option: &'static str,
        /// What was asked for.
        value: u64,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
        /// What it must be a multiple of.
        step: u64,
    },
    /// An option was asked for that an existing store has otherwise.
    #[error("{option} of this store is {stored} and can't be changed by opening it with {asked}")]
    OptionDiffers {
        /// Which.
        option: &'static str,
        /// What the store has.
        stored: u64,
        /// What was asked for.
        asked: u64,
    },
    /// Acknowledged events may be lost. Nothing was changed; `repair` can keep what is intact.
    #[error("the log is corrupt: {0}")]
    Corrupt(#[source] Box<Damage>),
    /// A newer version wrote this. Nothing was changed.
    #[error("{file}: {source}")]
    Unsupported {
        /// The file.
        file: String,
        /// What this version does not know.
        source: Unsupported,
    },
    /// Something could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk failed.
    #[error(transparent)]
    Io(IoError),
}

/// What is wrong with a log that can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// Its frames.
    #[error("{corruption}{}", at_risk(.corruption))]
    Log {
        /// Where, what, and what proves it.
        corruption: Corruption,
    },
    /// A segment's header.
    #[error("the header of {file}: {source}")]
    Header {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: SegmentHeaderError,
    },
    /// A file of another store.
    #[error("{file} belongs to the store {found}, this one is {expected}")]
    ForeignStore {
        /// The file.
        file: String,
        /// This store.
        expected: Uuid,
        /// The file's.
        found: Uuid,
    },
    /// A file that was renamed or copied.
    #[error("{file} is segment {found}")]
    Misnamed {
        /// The file.
        file: String,
        /// Which segment its header says it is.
        found: u32,
    },
    /// A segment that is not there.
    #[error("segment {segment} is missing")]
    MissingSegment {
        /// Which.
        segment: u32,
    },
    /// A segment with other fixed options than the store.
    #[error("{file} has segments of {found} bytes, the store has {expected}")]
    ForeignOptions {
        /// The file.
        file: String,
        /// The store's segment size.
        expected: u64,
        /// The file's.
        found: u64,
    },
    /// A sealed segment that does not continue the one before.
    #[error("{file} does not continue the segment before it: its footer names another digest or position")]
    BrokenChain {
        /// The file.
        file: String,
    },
    /// A sealed segment that ends before its frames do.
    #[error("{file} has {len} bytes, and the next segment's link proves that its frames go on to {needed}")]
    ShortFile {
        /// The file.
        file: String,
        /// Its length.
        len: u64,
        /// Where its frames end.
        needed: u64,
    },
    /// A sealed segment of which both the footer and the frames are damaged.
    #[error("a footer is damaged, and so is what it could be made again from: {source}")]
    Frames {
        /// What is wrong with the frames.
        source: ReadError,
    },
    /// The fixed options of the store can't be read.
    #[error("{file}: {what}")]
    Meta {
        /// The file.
        file: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The format has no number left for another opening.
    #[error("no incarnation is left after {highest}")]
    IncarnationsExhausted {
        /// The highest.
        highest: u32,
    },
}

impl Damage {
    /// What is wrong with a log of which no end can be decided; `first` is the first of the segments that were looked at.
    pub(crate) fn of_log(error: RecoveryError, first: u32) -> Self {
        match error {
            RecoveryError::Corruption(corruption) => Self::Log { corruption: *corruption },
            RecoveryError::IncarnationsExhausted { highest } => Self::IncarnationsExhausted { highest },
            _ => Self::MissingSegment { segment: first },
        }
    }

    /// The file that is damaged, and where.
    pub(crate) fn place(&self) -> (String, Option<u64>) {
        match self {
            Self::Log { corruption } => (FileName::Segment(corruption.segment).to_string(), Some(corruption.offset)),
            Self::MissingSegment { segment } => (FileName::Segment(*segment).to_string(), None),
            Self::Header { file, .. } | Self::ForeignStore { file, .. } | Self::Misnamed { file, .. } => {
                (file.clone(), Some(0))
            }
            Self::ForeignOptions { file, .. } => (file.clone(), Some(0)),
            Self::BrokenChain { file } | Self::ShortFile { file, .. } | Self::Meta { file, .. } => (file.clone(), None),
            Self::Frames { source } => (source.file().unwrap_or_default().to_owned(), source.offset()),
            // It is the log as a whole that has none left.
            Self::IncarnationsExhausted { .. } => (FileName::Meta.to_string(), None),
        }
    }
}

/// What made a store stop taking appends.
#[derive(Clone, Debug)]
pub struct Poison(Arc<PoisonCause>);

#[derive(Debug, thiserror::Error)]
pub(crate) enum PoisonCause {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("while a segment was sealed: {0}")]
    Seal(#[source] ReadError),
    #[error("the thread that prepares and seals segments has panicked")]
    Panicked,
    #[error("what appends to the store has panicked")]
    OwnerPanicked,
    #[error("{what}")]
    Reported { what: String, is_damage: bool },
}

impl Poison {
    /// What another process says has stopped its store, in its words, and whether it is damage, so that opening it again leads
    /// nowhere.
    pub fn reported(what: impl Into<String>, is_damage: bool) -> Self {
        Self::new(PoisonCause::Reported { what: what.into(), is_damage })
    }

    /// Whether it is damage: opening again would refuse it.
    fn is_damage(&self) -> bool {
        self.damage().is_some() || matches!(*self.0, PoisonCause::Reported { is_damage: true, .. })
    }

    pub(crate) fn new(cause: impl Into<PoisonCause>) -> Self {
        Self(Arc::new(cause.into()))
    }

    /// The disk's error, where that is what it was.
    pub fn io_error(&self) -> Option<&IoError> {
        match &*self.0 {
            PoisonCause::Io(error) | PoisonCause::Seal(ReadError::Io(error)) => Some(error),
            PoisonCause::Seal(_)
            | PoisonCause::Panicked
            | PoisonCause::OwnerPanicked
            | PoisonCause::Reported { .. } => None,
        }
    }

    /// What of the log is damaged, where that is what it was: a segment that was to be sealed.
    pub fn damage(&self) -> Option<&ReadError> {
        match &*self.0 {
            PoisonCause::Seal(error) if error.is_damage() => Some(error),
            PoisonCause::Seal(_)
            | PoisonCause::Io(_)
            | PoisonCause::Panicked
            | PoisonCause::OwnerPanicked
            | PoisonCause::Reported { .. } => None,
        }
    }
}

impl std::fmt::Display for Poison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Poison {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.0)
    }
}

impl Error {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::WrongExpectedVersion { .. } | Self::QueryMatched { .. } | Self::NotReached => ErrorKind::Conflict,
            Self::DuplicateEventId { .. }
            | Self::StreamNameMismatch { .. }
            | Self::NoSuchStream
            | Self::NoSuchStreamCondition { .. }
            | Self::EventTooLarge { .. }
            | Self::AppendTooLarge { .. }
            | Self::InvalidAppend(_)
            | Self::TooManyConditions { .. }
            | Self::TooManyConditionTerms { .. }
            | Self::InvalidStreamName(_)
            | Self::InvalidQuery(_)
            | Self::ReadOnly
            | Self::InvalidOption { .. }
            | Self::OptionDiffers { .. } => ErrorKind::InvalidRequest,
            Self::StreamNotFound { .. } | Self::NoStore { .. } => ErrorKind::NotFound,
            Self::Backpressure { .. }
            | Self::Busy { .. }
            | Self::StorageFull { .. }
            | Self::Locked { .. }
            | Self::NoThread { .. } => ErrorKind::Retry,
            Self::OutcomeUnknown { .. } => ErrorKind::Unknown,
            Self::Poisoned { cause } if cause.is_damage() => ErrorKind::Operator,
            Self::Poisoned { .. } | Self::Closed => ErrorKind::Reopen,
            Self::Read(ReadError::Io(error)) | Self::Io(error) => kind_of(error),
            Self::Read(ReadError::Reported { kind, .. }) => *kind,
            Self::Corrupt(_) | Self::Unsupported { .. } | Self::Read(_) => ErrorKind::Operator,
        }
    }

    pub(crate) fn window_too_large(asked: u32) -> Self {
        Self::InvalidOption {
            option: "idempotency_window",
            value: u64::from(asked),
            min: 0,
            max: u64::from(eventfold_codec::MAX_IDEMPOTENCY_WINDOW),
            step: 1,
        }
    }
}

fn kind_of(error: &IoError) -> ErrorKind {
    match error.kind() {
        IoErrorKind::StorageFull | IoErrorKind::TooManyOpenFiles | IoErrorKind::Locked => ErrorKind::Retry,
        // A file of the store that is gone is a loss; it is not that there are no such events.
        IoErrorKind::NotFound if error.operation() == Operation::OpenDirectory => ErrorKind::NotFound,
        _ => ErrorKind::Operator,
    }
}

impl From<IoError> for Error {
    fn from(error: IoError) -> Self {
        match error.kind() {
            IoErrorKind::StorageFull => Self::StorageFull { source: Arc::new(error) },
            IoErrorKind::Locked => Self::Locked { source: error },
            _ => Self::Io(error),
        }
    }
}

impl From<InvalidAppend> for Error {
    fn from(invalid: InvalidAppend) -> Self {
        match invalid {
            InvalidAppend::EventTooLarge { index, size, max } => Self::EventTooLarge { index, size, max },
            InvalidAppend::AppendTooLarge { size, max } => Self::AppendTooLarge { size, max },
            other => Self::InvalidAppend(other),
        }
    }
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Self {
        Self::Corrupt(Box::new(damage))
    }
}

/// A stream as the append gave it: by its name, if it did.
fn stream_label(id: Uuid, failed: &[FailedCondition]) -> String {
    match failed.first() {
        Some(FailedCondition::Version { name: Some(name), .. }) => name.to_string(),
        _ => id.to_string(),
    }
}

fn unknown_because(cause: Option<&Poison>) -> String {
    cause.map_or_else(|| "no answer came in time".to_owned(), Poison::to_string)
}

fn actual_version(actual: Option<u64>) -> String {
    actual.map_or_else(|| "has no events".to_owned(), |version| format!("is at version {version}"))
}

fn expected_version(expected: ExpectedVersion) -> String {
    match expected {
        ExpectedVersion::Any => "anything".to_owned(),
        ExpectedVersion::NoStream => "no events".to_owned(),
        ExpectedVersion::Exists => "any event".to_owned(),
        ExpectedVersion::Exact(version) => format!("version {version}"),
    }
}

fn at_risk(corruption: &Corruption) -> String {
    let next = match corruption.next_valid {
        Some(next) => format!("; the next valid frame has position {}", next.position),
        None => String::new(),
    };
    match corruption.events_at_risk() {
        Some(events) => format!("; up to {events} events are at risk{next}"),
        None => next,
    }
}
