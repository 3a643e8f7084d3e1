//! What is done beside appends: the next segment is prepared, closed ones are sealed, indexes are merged.
//!
//! All of it is done by one thread, or, without one, within the calls that find it due. The writer waits for it in two
//! places alone: when it rolls and the next segment is not ready, or too many wait for their footers.

use std::collections::VecDeque;
use std::sync::Arc;

use eventfold_codec::SegmentHeader;
use eventfold_io::{DiskFile, IoError, IoErrorKind};
use eventfold_sync::thread::{self, JoinHandle};
use uuid::Uuid;

use crate::directory;
use crate::environment::new_salt;
use crate::error::{Error, Poison, PoisonCause, ReadError};
use crate::index::IndexOptions;
use crate::log::Shared;
use crate::preparation::{self, PreparedFile};
use crate::seal::seal;
use crate::segment::OpenSegment;
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Prepares and seals segments.
#[derive(Debug)]
pub(crate) struct Maintenance {
    worker: Arc<Worker>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Worker {
    shared: Arc<Shared>,
    options: SegmentOptions,
    state: Mutex<State>,
    /// There may be work.
    work: Condvar,
    /// Something was done.
    done: Condvar,
}

/// What all segments of a store have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentOptions {
    pub(crate) store_id: Uuid,
    pub(crate) segment_size: u64,
    pub(crate) idempotency_window: u32,
    pub(crate) index: IndexOptions,
}

#[derive(Debug, Default)]
struct State {
    /// The segment to prepare.
    wanted: Option<u32>,
    prepared: Option<Arc<PreparedFile>>,
    /// Why preparing failed the last time.
    prepare_error: Option<IoError>,
    /// Closed segments and where they end, in order.
    closed: VecDeque<(Arc<OpenSegment>, u64)>,
    /// Why sealing failed the last time, where trying again can help.
    seal_error: Option<IoError>,
    /// How much of the active segment is used, and how much there is.
    used: (u64, u64),
    /// Whether merging is due.
    merge: bool,
    stop: bool,
    panicked: bool,
}

enum Job {
    Prepare(u32),
    Seal(Arc<OpenSegment>, u64),
    Fill(Arc<PreparedFile>),
    Merge,
}

impl Maintenance {
    /// With a thread of its own where `background` says so.
    pub(crate) fn new(shared: Arc<Shared>, options: SegmentOptions, background: bool) -> Result<Self, Error> {
        let worker =
            Arc::new(Worker { shared, options, state: Mutex::default(), work: Condvar::new(), done: Condvar::new() });
        let thread = if background { Some(spawn(worker.clone())?) } else { None };
        Ok(Self { worker, thread })
    }

    /// A segment that recovery found prepared.
    pub(crate) fn found_prepared(&self, header: SegmentHeader, handle: Arc<dyn DiskFile>, file_len: u64) {
        self.worker.state().prepared = Some(Arc::new(PreparedFile::filled(header, handle, file_len)));
    }

    /// There may be indexes to merge.
    pub(crate) fn want_merged(&self) {
        self.worker.state().merge = true;
    }

    /// Asks for a segment, which is prepared when there is time for it.
    pub(crate) fn want_prepared(&self, number: u32) {
        let mut state = self.worker.state();
        if state.prepared.is_none() {
            state.wanted = Some(number);
        }
        drop(state);
        self.wake();
    }

    /// The segment, if it is prepared.
    pub(crate) fn prepared(&self, number: u32) -> Option<Arc<PreparedFile>> {
        self.worker.state().prepared.clone().filter(|prepared| prepared.header.number == number)
    }

    /// The segment, prepared.
    pub(crate) fn wait_prepared(&self, number: u32) -> Result<Arc<PreparedFile>, Error> {
        let mut state = self.worker.state();
        if state.prepared.is_none() {
            state.prepare_error = None;
            state.wanted = Some(number);
        }
        self.wait_until(state, |state| {
            if let Some(error) = state.prepare_error.take() {
                return Some(Err(error.into()));
            }
            state.prepared.clone().map(Ok)
        })
    }

    /// The prepared segment is in use from here on.
    pub(crate) fn take_prepared(&self) {
        let mut state = self.worker.state();
        state.prepared = None;
        state.wanted = None;
    }

    /// Seals a segment, which ends at `end`, when there is time for it.
    pub(crate) fn close_segment(&self, segment: Arc<OpenSegment>, end: u64) {
        let mut state = self.worker.state();
        state.closed.push_back((segment, end));
        state.seal_error = None;
        drop(state);
        self.wake();
    }

    /// Waits until fewer than `max` segments wait for their footers.
    pub(crate) fn wait_for_room(&self, shared: &Shared, max: usize) -> Result<(), Error> {
        let mut state = self.worker.state();
        if state.closed.len() < max {
            return Ok(());
        }
        state.seal_error = None;
        self.wait_until(state, |state| {
            if state.closed.len() < max {
                return Some(Ok(()));
            }
            if let Some(cause) = shared.poison() {
                return Some(Err(Error::Poisoned { cause: cause.clone() }));
            }
            Some(Err(state.seal_error.take()?.into()))
        })
    }

    /// Tells how far the active segment is used: filling the next one goes by that.
    pub(crate) fn used(&self, used: u64, capacity: u64) {
        let mut state = self.worker.state();
        let steps = |used: u64| used * preparation::STEPS / capacity.max(1);
        let moved = steps(state.used.0) != steps(used) || state.used.1 != capacity;
        state.used = (used, capacity);
        drop(state);
        if moved {
            self.wake();
        }
    }

    /// Does what is due, if no thread does.
    pub(crate) fn run_due(&self) {
        if self.thread.is_none() {
            while self.worker.run_one() {}
        }
    }

    /// Ends the thread, when the step it is at is done. Closed segments are sealed first, if that is possible.
    pub(crate) fn stop(&mut self) {
        let mut state = self.worker.state();
        state.stop = true;
        state.seal_error = None;
        drop(state);
        self.wake();
        match self.thread.take() {
            Some(thread) => drop(thread.join()),
            None => while self.worker.run_one() {},
        }
    }

    fn wake(&self) {
        self.worker.work.notify_all();
    }

    /// Waits until `ready` gives something. Without a thread, the work is done here.
    fn wait_until<'a, T>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        mut ready: impl FnMut(&mut State) -> Option<Result<T, Error>>,
    ) -> Result<T, Error> {
        loop {
            if let Some(result) = ready(&mut state) {
                return result;
            }
            if state.panicked {
                let cause = Poison::new(PoisonCause::Panicked);
                self.worker.shared.set_poison(cause.clone());
                return Err(Error::Poisoned { cause });
            }
            self.wake();
            if self.thread.is_some() {
                state = self.worker.done.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                drop(state);
                let done = self.worker.run_one();
                state = self.worker.state();
                assert!(done || ready_after_idle(&state), "what is waited for is always work to do");
            }
        }
    }
}

/// Whether an idle worker has left an answer for who waits.
fn ready_after_idle(state: &State) -> bool {
    state.prepare_error.is_some() || state.seal_error.is_some() || state.prepared.is_some()
}

/// The one thread of a store, which `Maintenance::stop` joins.
fn spawn(worker: Arc<Worker>) -> Result<JoinHandle<()>, Error> {
    thread::spawn("eventfold-seal", move || worker.run()).map_err(|source| Error::NoThread { source })
}

impl Worker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let _panicked = PanicFlag(self);
        loop {
            if self.run_one() {
                continue;
            }
            let state = self.state();
            if state.stop {
                return;
            }
            if self.next_job(&state).is_none() {
                drop(self.work.wait(state).unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// What to do next: what appends may wait for comes first.
    fn next_job(&self, state: &State) -> Option<Job> {
        if let Some(number) = state.wanted
            && state.prepared.is_none()
            && state.prepare_error.is_none()
            && !state.stop
        {
            return Some(Job::Prepare(number));
        }
        if let Some((segment, end)) = state.closed.front()
            && state.seal_error.is_none()
            && self.shared.poison().is_none()
        {
            return Some(Job::Seal(segment.clone(), *end));
        }
        if state.stop {
            return None;
        }
        if let Some(prepared) = &state.prepared
            && prepared.wants_filling(state.used.0, state.used.1)
        {
            return Some(Job::Fill(prepared.clone()));
        }
        let merge = state.merge || self.shared.parts().directories.are_damaged();
        merge.then_some(Job::Merge)
    }

    /// Does one thing that is due. Returns whether there was any.
    fn run_one(&self) -> bool {
        let job = self.next_job(&self.state());
        match job {
            None => return false,
            Some(Job::Prepare(number)) => self.prepare(number),
            Some(Job::Seal(segment, end)) => self.seal(&segment, end),
            Some(Job::Fill(prepared)) => prepared.fill_step(),
            Some(Job::Merge) => self.merge(),
        }
        self.done.notify_all();
        true
    }

    fn prepare(&self, number: u32) {
        let header = SegmentHeader {
            store_id: self.options.store_id,
            number,
            salt: new_salt(&*self.shared.environment),
            segment_size: self.options.segment_size,
            idempotency_window: self.options.idempotency_window,
        };
        let prepared = preparation::prepare(self.shared.storage.disk(), header);
        let mut state = self.state();
        match prepared {
            Ok(prepared) => {
                state.wanted = None;
                state.prepared = Some(Arc::new(prepared));
            }
            Err(error) => {
                tracing::warn!(segment = number, %error, "the next segment could not be prepared");
                state.prepare_error = Some(error);
            }
        }
    }

    /// What can't be merged is asked for one by one: slower, and tried again when the next segment is sealed.
    fn merge(&self) {
        let merged = directory::merge(&self.shared, &self.options).unwrap_or_else(|error| {
            tracing::warn!(%error, "the indexes of sealed segments could not be merged");
            false
        });
        self.state().merge = merged;
    }

    fn seal(&self, segment: &Arc<OpenSegment>, end: u64) {
        let parts = self.shared.parts();
        let previous = parts.sealed.last().map(|sealed| sealed.summary);
        match seal(&self.shared.storage, segment, end, previous.as_ref(), self.options.index) {
            Ok(sealed) => {
                let sealed = Arc::new(sealed);
                self.shared.change_parts(|parts| {
                    debug_assert_eq!(parts.open[0].number(), sealed.number(), "segments are sealed in order");
                    parts.open.remove(0);
                    parts.sealed.push(sealed);
                });
                let mut state = self.state();
                state.closed.pop_front();
                state.merge = true;
            }
            Err(ReadError::Io(error))
                if matches!(error.kind(), IoErrorKind::StorageFull | IoErrorKind::TooManyOpenFiles) =>
            {
                tracing::warn!(segment = segment.number(), %error, "a segment could not be sealed");
                self.state().seal_error = Some(error);
            }
            Err(error) => {
                // Under the lock, or who has just looked for poison would wait for news of this for ever.
                let _state = self.state();
                self.shared.set_poison(Poison::new(PoisonCause::Seal(error)));
            }
        }
    }
}

/// Tells who waits that nobody works any more.
struct PanicFlag<'a>(&'a Worker);

impl Drop for PanicFlag<'_> {
    fn drop(&mut self) {
        self.0.state().panicked = true;
        self.0.done.notify_all();
    }
}
