//! Requests: what callers ask for, and what the writer keeps of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use eventfold_store::{Append, Error, PreparedAppend, RecordedEvent};

use crate::panics::guarded;

/// An append, and how long its caller waits for the answer.
///
/// ```
/// use eventfold_store::{Append, ExpectedVersion, ProposedEvent};
/// use eventfold_writer::AppendRequest;
///
/// let append = Append::new().events("account-7", vec![ProposedEvent::new("Opened", "{}")]);
/// let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
/// let request = AppendRequest::new(append).deadline(deadline);
/// # let _ = request;
/// ```
#[derive(Clone, Debug)]
pub struct AppendRequest {
    pub(crate) append: Append,
    pub(crate) deadline: Option<Instant>,
    pub(crate) sequence: Option<Sequence>,
}

/// Appends that are decided in the order in which they are handed over: those that are
/// [part of it](AppendRequest::in_sequence). Others go on meanwhile.
///
/// It may take another look at the log to decide an append, as when a segment was sealed while it waited. Then those behind it
/// in its sequence wait for it. They don't wait for one that [reads first](crate::PendingAppend::reads_first): who hands
/// them over waits for its answer.
///
/// Where one is dropped that still waits in line to be queued, the sequence ends there: those behind it are answered with
/// [`Error::NotReached`].
#[derive(Clone, Debug)]
pub struct Sequence(Arc<State>);

#[derive(Debug)]
struct State {
    /// No other has it.
    id: u64,
    /// Whether nothing is appended behind one that was refused.
    stops: bool,
    /// The number of the next that is handed over.
    next: AtomicU64,
    /// From this number on nothing is appended.
    end: AtomicU64,
}

/// One of a sequence.
#[derive(Debug)]
pub(crate) struct Turn {
    sequence: Sequence,
    /// How many were handed over before it.
    number: u64,
}

impl Sequence {
    /// One of its own. Where an append of it is refused, those behind it are decided without it.
    #[expect(clippy::new_without_default, reason = "no two are equal")]
    pub fn new() -> Self {
        Self::of(false)
    }

    /// One of its own that ends with the first append of it that is refused: those behind it are answered with
    /// [`Error::NotReached`]. So what is appended of it is its beginning, though its appends are under way together.
    pub fn until_refused() -> Self {
        Self::of(true)
    }

    fn of(stops: bool) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(State { id, stops, next: AtomicU64::new(0), end: AtomicU64::new(u64::MAX) }))
    }

    /// The next of it.
    pub(crate) fn turn(self) -> Turn {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        Turn { sequence: self, number }
    }
}

impl Turn {
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence.0.id
    }

    /// Whether the sequence has not ended before it.
    pub(crate) fn is_reached(&self) -> bool {
        self.number < self.sequence.0.end.load(Ordering::Acquire)
    }

    /// It was refused.
    fn refused(&self) {
        if self.sequence.0.stops {
            self.end();
        }
    }

    /// Nothing of the sequence is appended behind it.
    fn end(&self) {
        self.sequence.0.end.fetch_min(self.number, Ordering::AcqRel);
    }
}

impl AppendRequest {
    /// An append whose caller waits as long as it takes.
    pub fn new(append: Append) -> Self {
        Self { append, deadline: None, sequence: None }
    }

    /// As a part of a sequence, behind what was handed over of it before.
    #[must_use]
    pub fn in_sequence(mut self, sequence: Sequence) -> Self {
        self.sequence = Some(sequence);
        self
    }

    /// With a time at which the caller stops waiting and gets [`Error::OutcomeUnknown`]. If it was queued by then, the
    /// append may stand; nothing is asked for again.
    ///
    /// A thread that waits needs nothing for that. A task is woken by tokio's timer: by the feature `tokio`, and within its
    /// runtime, with time enabled. Elsewhere a task waits for the answer, however long that takes.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

impl From<Append> for AppendRequest {
    fn from(append: Append) -> Self {
        Self::new(append)
    }
}

pub(crate) type Answer = Result<Vec<RecordedEvent>, Error>;

/// An append that is on its way.
#[derive(Debug)]
pub(crate) struct Request {
    /// Or why that failed, where it was to be prepared again.
    pub(crate) prepared: Result<PreparedAppend, Error>,
    pub(crate) asked: Asked,
    /// Something was read for it, and it holds a place there until the writer has taken it.
    pub(crate) pooled: bool,
}

/// What is kept of a request until it is answered.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What it counts for while it is held.
    pub(crate) bytes: usize,
    /// How often it was prepared again.
    pub(crate) rounds: u32,
    pub(crate) turn: Option<Turn>,
    answer: oneshot::Sender<Answer>,
}

impl Asked {
    /// What is kept of an append that takes so much memory, and where its answer comes.
    pub(crate) fn new(bytes: usize, turn: Option<Turn>) -> (Self, oneshot::AsyncReceiver<Answer>) {
        let (answer, receiver) = oneshot::async_channel();
        (Self { bytes, rounds: 0, turn, answer }, receiver)
    }

    /// It was refused, or not.
    pub(crate) fn decided<T>(&self, outcome: &Result<T, Error>) {
        if let (Some(turn), Err(_)) = (&self.turn, outcome) {
            turn.refused();
        }
    }

    /// It is taken back before it was let in. What stands behind it in line is not to be made without it.
    pub(crate) fn withdrawn(&self) {
        if let Some(turn) = &self.turn {
            turn.end();
        }
    }

    pub(crate) fn answer(self, answer: Answer) {
        // It wakes who waits, and may log: neither is the writer's own.
        guarded(|| {
            let Err(unheard) = self.answer.send(answer) else { return };
            if let Ok(events) = unheard.as_inner()
                && let Some(first) = events.first()
            {
                let (stream, position) = (first.stream_id, first.global_position);
                tracing::warn!(%stream, position, events = events.len(), "nobody waits any more for an append that stands");
            }
        });
    }
}
