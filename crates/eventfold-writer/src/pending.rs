//! Appends whose answers are waited for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use eventfold_store::{Error, RecordedEvent};
use eventfold_sync::poll_until;

use crate::request::{Answer, Request};
use crate::shared::Shared;

/// An append that was handed to the writer: a future of its answer, for which a thread can [wait](Self::wait) as well.
///
/// Dropping it changes nothing for an append that was let in: it is appended like any other. One that still waits for space
/// is taken back, and nothing of it is appended.
#[must_use = "dropping it does not take the append back"]
#[derive(Debug)]
pub struct PendingAppend {
    receiver: oneshot::AsyncReceiver<Answer>,
    waits: Waits,
    shared: Arc<Shared>,
    deadline: Option<Instant>,
    /// Something is read for it before it is queued.
    reads_first: bool,
    /// Lasts until the append is answered, or nobody waits any more.
    _span: tracing::Span,
    #[cfg(feature = "tokio")]
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waits {
    /// Its answer, or nothing any more.
    ForAnswer,
    /// Space in the queue.
    ToBeQueued(u64),
    /// Space among those for which something is read.
    ToBePrepared(u64),
}

impl PendingAppend {
    pub(crate) fn new(
        receiver: oneshot::AsyncReceiver<Answer>,
        waits: Waits,
        shared: Arc<Shared>,
        deadline: Option<Instant>,
        reads_first: bool,
        bytes: usize,
    ) -> Self {
        Self {
            receiver,
            waits,
            shared,
            deadline,
            reads_first,
            _span: tracing::debug_span!("append", bytes),
            #[cfg(feature = "tokio")]
            timer: None,
        }
    }

    /// Whether something is read for it before it is queued. Appends that are handed over meanwhile may be decided before it;
    /// who wants theirs in order waits for its answer first.
    pub fn reads_first(&self) -> bool {
        self.reads_first
    }

    /// Waits for the answer on this thread.
    ///
    /// # Errors
    ///
    /// Those of [`WriterHandle::append`](crate::WriterHandle::append).
    pub fn wait(mut self) -> Result<Vec<RecordedEvent>, Error> {
        let receiving = &mut self.receiver;
        match poll_until(self.deadline, |context| Pin::new(&mut *receiving).poll(context)) {
            Poll::Ready(received) => self.answered(received),
            Poll::Pending => Err(self.deadline_passed()),
        }
    }

    fn answered(&mut self, received: Result<Answer, oneshot::RecvError>) -> Answer {
        self.waits = Waits::ForAnswer;
        // Nobody is left who could answer: a thread of the writer has panicked with the request in its hands.
        received.unwrap_or_else(|_| Err(Error::OutcomeUnknown { cause: self.shared.log.poison() }))
    }

    fn deadline_passed(&mut self) -> Error {
        let error = Error::OutcomeUnknown { cause: None };
        self.shared.stats().rejections.count(&error);
        error
    }

    #[cfg(feature = "tokio")]
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        if self.timer.is_none() && tokio::runtime::Handle::try_current().is_err() {
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        timer.as_mut().poll(context)
    }

    #[cfg(not(feature = "tokio"))]
    #[expect(clippy::unused_self, reason = "there is no clock to wait by without a runtime")]
    fn poll_deadline(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Future for PendingAppend {
    type Output = Result<Vec<RecordedEvent>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(received) = Pin::new(&mut self.receiver).poll(context) {
            return Poll::Ready(self.answered(received));
        }
        ready!(self.poll_deadline(context));
        Poll::Ready(Err(self.deadline_passed()))
    }
}

impl Drop for PendingAppend {
    fn drop(&mut self) {
        match self.waits {
            Waits::ForAnswer => {}
            Waits::ToBeQueued(ticket) => {
                drop(self.shared.inbox.withdraw(ticket, |request: &Request| request.asked.withdrawn()));
            }
            Waits::ToBePrepared(ticket) => self.shared.pool.withdraw(&self.shared, ticket),
        }
    }
}
