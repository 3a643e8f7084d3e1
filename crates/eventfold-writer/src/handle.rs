//! The callers' side.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use eventfold_store::{Append, Error, EventLog, ExpectedVersion, Preparation, ProposedEvent, RecordedEvent, StreamRef};
use eventfold_sync::poll_until;

use crate::inbox::{NotAdmitted, Place};
use crate::panics::PanicReport;
use crate::pending::{PendingAppend, Waits};
use crate::request::{AppendRequest, Asked, Request, Sequence};
use crate::shared::Shared;
use crate::stats::WriterStats;

/// Appends to a store, from any thread or task: a cheap clone.
///
/// When the last handle is gone the writer commits what was asked for, closes the store and ends.
#[derive(Clone, Debug)]
pub struct WriterHandle {
    inner: Arc<Inner>,
}

/// What all clones of a handle share, and the writer's threads don't.
#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.inbox.close();
    }
}

impl WriterHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { inner: Arc::new(Inner { shared }) }
    }

    /// Appends events to one stream: all or none of them. They are durable, and readers see them, when this is ready.
    ///
    /// Where the queue is full this waits for its turn. A future that is dropped by then has appended nothing; dropping it
    /// later, once it is queued or something is read for it, changes nothing. No poll waits for the disk: where the decision takes a read, a thread of the writer does it, and
    /// the append is queued after that. So of several appends that are under way at once, a later one may stand first.
    ///
    /// # Errors
    ///
    /// [`Error::WrongExpectedVersion`] where the stream is not at the version expected; [`Error::EventTooLarge`] and others
    /// that tell what is wrong with the events; [`Error::StorageFull`] where there is no room, and nothing of the append is
    /// there; [`Error::Busy`] where the log moves on faster than the conditions can be looked up;
    /// [`Error::OutcomeUnknown`] where a write or sync failed or a deadline passed; [`Error::Poisoned`] after an earlier
    /// failure; [`Error::Closed`] when the writer was closed.
    pub async fn append(
        &self,
        stream: impl Into<StreamRef>,
        expected: ExpectedVersion,
        events: Vec<ProposedEvent>,
    ) -> Result<Vec<RecordedEvent>, Error> {
        self.append_request(to_one_stream(stream.into(), expected, events)).await
    }

    /// Appends events to one or several streams, under any conditions: all or none of them.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append), and [`Error::QueryMatched`] where a query matches that must not.
    pub async fn append_request(&self, request: impl Into<AppendRequest>) -> Result<Vec<RecordedEvent>, Error> {
        self.hand_over(request)?.await
    }

    /// As [`append_request`](Self::append_request), as a future of its own, of which the request is with the writer already: it
    /// is queued, or waits for its turn to be. Whoever hands over one after the other has them decided in that order where they are
    /// [in sequence](AppendRequest::in_sequence), but for those [for which something is read first](PendingAppend::reads_first).
    ///
    /// # Errors
    ///
    /// What is wrong with the append itself; [`Error::Poisoned`], [`Error::Closed`]. The rest is told by what this returns.
    pub fn hand_over(&self, request: impl Into<AppendRequest>) -> Result<PendingAppend, Error> {
        let request = request.into();
        let work = self.counted(self.shared().log.try_prepare(request.append))?;
        self.submit(work, request.deadline, request.sequence)
    }

    /// As [`append`](Self::append), if the queue has space now. What this returns is queued already.
    ///
    /// # Errors
    ///
    /// [`Error::Backpressure`] where the queue is full, and nothing is queued; what is wrong with the append itself;
    /// [`Error::Poisoned`], [`Error::Closed`]. The rest is told by what this returns.
    pub fn try_append(
        &self,
        stream: impl Into<StreamRef>,
        expected: ExpectedVersion,
        events: Vec<ProposedEvent>,
    ) -> Result<PendingAppend, Error> {
        self.try_append_request(to_one_stream(stream.into(), expected, events))
    }

    /// As [`append_request`](Self::append_request), if the queue has space now.
    ///
    /// # Errors
    ///
    /// As for [`try_append`](Self::try_append).
    pub fn try_append_request(&self, request: impl Into<AppendRequest>) -> Result<PendingAppend, Error> {
        let AppendRequest { append, deadline, sequence } = request.into();
        let shared = self.shared();
        let work = self.counted(shared.log.try_prepare(append))?;
        let (asked, receiver) = Asked::new(work.weight(), sequence.map(Sequence::turn));
        let (bytes, reads_first) = (asked.bytes, matches!(work, Preparation::NeedsDisk(_)));
        let submitted = match work {
            Preparation::Ready(prepared) => {
                shared.inbox.try_submit(Request { prepared: Ok(prepared), asked, pooled: false }, bytes)
            }
            Preparation::NeedsDisk(unprepared) => shared.pool.try_submit(shared, unprepared, asked),
        };
        self.counted(submitted.map_err(|reason| self.error(reason)))?;
        Ok(PendingAppend::new(receiver, Waits::ForAnswer, shared.clone(), deadline, reads_first, bytes))
    }

    /// As [`append`](Self::append), for a thread that can wait, also for the disk.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub fn append_blocking(
        &self,
        stream: impl Into<StreamRef>,
        expected: ExpectedVersion,
        events: Vec<ProposedEvent>,
    ) -> Result<Vec<RecordedEvent>, Error> {
        self.append_request_blocking(to_one_stream(stream.into(), expected, events))
    }

    /// As [`append_request`](Self::append_request), for a thread that can wait, also for the disk.
    ///
    /// # Errors
    ///
    /// As for [`append_request`](Self::append_request).
    pub fn append_request_blocking(&self, request: impl Into<AppendRequest>) -> Result<Vec<RecordedEvent>, Error> {
        let AppendRequest { append, deadline, sequence } = request.into();
        if self.is_closed() {
            return self.counted(Err(self.shared().stopped()));
        }
        // This thread can read for itself, if it may take as long as that takes.
        let log = &self.shared().log;
        let work =
            if deadline.is_none() { log.prepare(append).map(Preparation::Ready) } else { log.try_prepare(append) };
        let work = self.counted(work)?;
        self.submit(work, deadline, sequence)?.wait()
    }

    fn submit(
        &self,
        work: Preparation,
        deadline: Option<Instant>,
        sequence: Option<Sequence>,
    ) -> Result<PendingAppend, Error> {
        let shared = self.shared();
        let (asked, receiver) = Asked::new(work.weight(), sequence.map(Sequence::turn));
        let (bytes, reads_first) = (asked.bytes, matches!(work, Preparation::NeedsDisk(_)));
        let submitted = match work {
            Preparation::Ready(prepared) => shared
                .inbox
                .submit(Request { prepared: Ok(prepared), asked, pooled: false }, bytes)
                .map(|place| match place {
                    Place::Admitted => Waits::ForAnswer,
                    Place::Waiting(ticket) => Waits::ToBeQueued(ticket),
                }),
            Preparation::NeedsDisk(unprepared) => (shared.pool.submit(shared, unprepared, asked))
                .map(|ticket| ticket.map_or(Waits::ForAnswer, Waits::ToBePrepared)),
        };
        let waits = self.counted(submitted.map_err(|reason| self.error(reason)))?;
        Ok(PendingAppend::new(receiver, waits, shared.clone(), deadline, reads_first, bytes))
    }

    /// Closes the writer, for all handles: what was asked for is committed and answered, the store is closed, and its
    /// lock let go of. Returns how that went.
    ///
    /// # Errors
    ///
    /// What went wrong, told to the first who asks; the others get [`Error::Closed`].
    pub async fn close(self) -> Result<(), Error> {
        self.shared().inbox.close();
        // The writer tells when it has ended, whatever happened to it.
        let _ = self.shared().wait_end().await;
        self.shared().tell_end()
    }

    /// As [`close`](Self::close), for a thread that can wait.
    ///
    /// # Errors
    ///
    /// As for [`close`](Self::close).
    pub fn close_blocking(self) -> Result<(), Error> {
        self.shared().inbox.close();
        // The writer tells when it has ended, whatever happened to it.
        let mut ended = self.shared().wait_end();
        let _ = poll_until(None, |context| Pin::new(&mut ended).poll(context));
        self.shared().tell_end()
    }

    /// Whether the writer was closed, or has ended after a panic.
    pub fn is_closed(&self) -> bool {
        self.shared().inbox.is_closed()
    }

    /// The log, to be shared with readers.
    pub fn log(&self) -> EventLog {
        self.shared().log.clone()
    }

    /// What the writer has done so far.
    pub fn stats(&self) -> WriterStats {
        let (now, peak) = self.shared().inbox.load();
        let mut stats = self.shared().stats().clone();
        (stats.queued_requests, stats.queued_bytes) = (now.requests, now.bytes);
        (stats.queued_requests_peak, stats.queued_bytes_peak) = (peak.requests, peak.bytes);
        stats.preparing_requests = self.shared().pool.held().requests;
        stats.panics = self.last_panic().map_or(0, |report| report.count);
        stats
    }

    /// The last panic of one of the writer's threads.
    pub fn last_panic(&self) -> Option<PanicReport> {
        self.shared().panics.last()
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn wait_end(&self) -> oneshot::AsyncReceiver<()> {
        self.shared().wait_end()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    fn error(&self, reason: NotAdmitted) -> Error {
        match reason {
            NotAdmitted::Closed => self.shared().stopped(),
            NotAdmitted::Full(held) => Error::Backpressure { waiting: held.requests, bytes: held.bytes },
        }
    }

    /// Counts an error that the writer does not get to see.
    fn counted<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            self.shared().stats().rejections.count(error);
        }
        result
    }
}

fn to_one_stream(stream: StreamRef, expected: ExpectedVersion, events: Vec<ProposedEvent>) -> Append {
    Append::new().expect(&stream, expected).events(stream, events)
}
