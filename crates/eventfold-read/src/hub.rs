//! What all that read one log through the same index share: the threads, and who waits.

use std::sync::Arc;
use std::task::Waker;

use eventfold_store::{Error, EventLog, WatchedTerm};

use crate::dispatch::{Dispatch, StoreLog};
use crate::pool::Pool;

/// The threads end when it is dropped, with the last index, subscription and future that has it.
#[derive(Debug)]
pub(crate) struct Hub {
    dispatch: Arc<Dispatch<StoreLog>>,
    pool: Arc<Pool>,
}

impl Hub {
    pub(crate) fn new(log: EventLog, reader_threads: usize) -> Self {
        Self { dispatch: Arc::new(Dispatch::new(StoreLog::new(log))), pool: Arc::new(Pool::new(reader_threads)) }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.dispatch.stop();
        self.pool.stop();
    }
}

/// The registration of one who waits, until it is dropped.
#[derive(Debug)]
pub(crate) struct Interest {
    hub: Arc<Hub>,
    id: u64,
}

impl Interest {
    /// Of one who waits for events with one of these terms, or for a position.
    pub(crate) fn new(hub: &Arc<Hub>, terms: Vec<WatchedTerm>) -> Result<Self, Error> {
        let id = hub.dispatch.register(terms).map_err(|source| Error::NoThread { source })?;
        Ok(Self { hub: hub.clone(), id })
    }

    /// Whether there is nothing yet for one who has looked at everything below `seen`, nor is the log at `at`, nor has it ended.
    /// If so, the waker is woken when that changes.
    pub(crate) fn sleep(&self, seen: u64, at: u64, waker: &Waker) -> bool {
        self.hub.dispatch.sleep(self.id, seen, at, waker)
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.hub.dispatch.unregister(self.id);
    }
}
