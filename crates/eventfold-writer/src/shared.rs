//! What the handles, the writer's threads and those who wait for answers share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use eventfold_store::{Committed, Error, EventLog};

use crate::inbox::Inbox;
use crate::line::Load;
use crate::panics::{Panics, guarded};
use crate::pool::Pool;
use crate::request::{Asked, Request};
use crate::stats::WriterStats;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) log: EventLog,
    pub(crate) inbox: Inbox<Request, Synced>,
    pub(crate) pool: Pool,
    pub(crate) panics: Panics,
    /// Who waits for what a thread had in its hands that has panicked.
    abandoned: Mutex<Vec<Asked>>,
    stats: Mutex<WriterStats>,
    end: Mutex<End>,
}

/// What came of a commit, and how long it took.
#[derive(Debug)]
pub(crate) struct Synced {
    pub(crate) committed: Committed,
    pub(crate) took: std::time::Duration,
}

/// How the writer has ended, once it has.
#[derive(Debug, Default)]
struct End {
    how: Option<Result<(), Error>>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Shared {
    pub(crate) fn new(log: EventLog, bounds: Load) -> Self {
        Self {
            log,
            inbox: Inbox::new(bounds),
            pool: Pool::new(bounds),
            panics: Panics::default(),
            abandoned: Mutex::default(),
            stats: Mutex::default(),
            end: Mutex::default(),
        }
    }

    /// A thread has panicked with this in its hands: the writer ends, and tells who waits for it.
    pub(crate) fn abandon(&self, asked: Asked) {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        self.inbox.fail();
    }

    pub(crate) fn take_abandoned(&self) -> Vec<Asked> {
        std::mem::take(&mut self.abandoned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn stats(&self) -> MutexGuard<'_, WriterStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing is appended any more.
    pub(crate) fn stopped(&self) -> Error {
        self.log.poison().map_or(Error::Closed, |cause| Error::Poisoned { cause })
    }

    /// The writer has ended. It holds nothing any more.
    pub(crate) fn set_end(&self, how: Result<(), Error>) {
        let mut end = self.end();
        end.how.get_or_insert(how);
        let waiting = std::mem::take(&mut end.waiting);
        drop(end);
        for waiting in waiting {
            // Who has stopped waiting for it does not want to know.
            guarded(|| drop(waiting.send(())));
        }
    }

    /// Ready as soon as the writer has ended.
    pub(crate) fn wait_end(&self) -> oneshot::AsyncReceiver<()> {
        let (sender, receiver) = oneshot::async_channel();
        let mut end = self.end();
        if end.how.is_some() {
            drop(sender.send(()));
        } else {
            end.waiting.push(sender);
        }
        receiver
    }

    /// How it has ended. An error can't be copied: the first who asks is told, the others that there is nothing to close.
    pub(crate) fn tell_end(&self) -> Result<(), Error> {
        match &mut self.end().how {
            Some(how @ Err(_)) => std::mem::replace(how, Err(Error::Closed)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
