//! Requests: what callers ask for, and what the writer keeps of it.

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
}

impl AppendRequest {
    /// An append whose caller waits as long as it takes.
    pub fn new(append: Append) -> Self {
        Self { append, deadline: None }
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
    pub(crate) prepared: PreparedAppend,
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
    answer: oneshot::Sender<Answer>,
}

impl Asked {
    /// What is kept of an append that takes so much memory, and where its answer comes.
    pub(crate) fn new(bytes: usize) -> (Self, oneshot::AsyncReceiver<Answer>) {
        let (answer, receiver) = oneshot::async_channel();
        (Self { bytes, rounds: 0, answer }, receiver)
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
