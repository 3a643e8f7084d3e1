//! The inbox: where callers put what the writer takes, bounded in requests and in bytes.
//!
//! Invariants:
//! - what is let in counts towards the bounds until it is released, which is when it is answered;
//! - what was [announced](Inbox::announce) is waited for: the writer does not end before it has come, or was called off;
//! - whoever gives the writer a reason to go on finds either that it is awake, and will look again before it sleeps, or that
//!   it sleeps, and wakes it: both look under the lock.

use std::collections::VecDeque;
use std::time::Duration;

use crate::line::{Line, Load};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Requests of type `T` for the writer, and what came of a commit, of type `C`.
#[derive(Debug)]
pub(crate) struct Inbox<T, C> {
    state: Mutex<State<T, C>>,
    /// The writer has a reason to go on.
    wake: Condvar,
}

#[derive(Debug)]
struct State<T, C> {
    line: Line<T>,
    /// Let in, and not taken yet.
    queued: VecDeque<T>,
    /// How many were announced and have not come yet.
    announced: usize,
    committed: Option<C>,
    /// A thread that the writer relies on has panicked.
    failed: bool,
    closed: bool,
    /// The writer is gone.
    ended: bool,
    /// The writer sleeps, and wants to be woken when this many are queued.
    wake_at: Option<usize>,
}

/// Where a request was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The writer gets it.
    Admitted,
    /// It waits for space, and can be withdrawn by this ticket.
    Waiting(u64),
}

/// Why a request was not put anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    Closed,
    /// So much is held already.
    Full(Load),
}

/// Why the writer goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<C> {
    /// There are requests, or a commit has ended, or both.
    Work(Option<C>),
    /// For as long as it wanted to wait, there was nothing.
    Idle,
    /// It is closed, and everything was released.
    Ended,
    /// See [`Inbox::fail`].
    Failed,
}

impl<T, C> Inbox<T, C> {
    pub(crate) fn new(bounds: Load) -> Self {
        let state = State {
            line: Line::new(bounds),
            queued: VecDeque::new(),
            announced: 0,
            committed: None,
            failed: false,
            closed: false,
            ended: false,
            wake_at: None,
        };
        Self { state: Mutex::new(state), wake: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T, C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The callers' side.

    /// Puts a request in, or in line where there is no space.
    pub(crate) fn submit(&self, item: T, bytes: usize) -> Result<Place, NotAdmitted> {
        let mut state = self.state();
        if state.closed {
            return Err(NotAdmitted::Closed);
        }
        match state.line.enter(item, bytes) {
            Ok(item) => {
                state.queued.push_back(item);
                self.wake_for_requests(state);
                Ok(Place::Admitted)
            }
            Err(ticket) => Ok(Place::Waiting(ticket)),
        }
    }

    /// Puts a request in, if there is space now and nobody waits for it.
    pub(crate) fn try_submit(&self, item: T, bytes: usize) -> Result<(), NotAdmitted> {
        let mut state = self.state();
        if state.closed {
            return Err(NotAdmitted::Closed);
        }
        match state.line.try_enter(item, bytes) {
            Ok(item) => {
                state.queued.push_back(item);
                self.wake_for_requests(state);
                Ok(())
            }
            Err(refused) => {
                let held = state.line.held();
                // What it drops may be anybody's code.
                drop(state);
                drop(refused);
                Err(NotAdmitted::Full(held))
            }
        }
    }

    /// Takes a request back that still waits for space. It is shown before others are let in for it.
    pub(crate) fn withdraw(&self, ticket: u64, show: impl FnOnce(&T)) -> Option<T> {
        let mut state = self.state();
        let withdrawn = state.line.withdraw(ticket)?;
        show(&withdrawn);
        self.admit_waiting(state);
        Some(withdrawn)
    }

    /// Nothing more is let in. What was put in or announced before, in line or not, is still taken.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.wake.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// What is held now, and the most that was.
    pub(crate) fn load(&self) -> (Load, Load) {
        let state = self.state();
        (state.line.held(), state.line.peak())
    }

    // For requests of which something is read first.

    /// A request is going to come: it [does](Self::arrive), or is [called off](Self::call_off).
    pub(crate) fn announce(&self) -> Result<(), NotAdmitted> {
        let mut state = self.state();
        if state.closed {
            return Err(NotAdmitted::Closed);
        }
        state.announced += 1;
        Ok(())
    }

    /// Puts a request in that was announced, or in line where there is no space. Gives it back where the writer has ended.
    pub(crate) fn arrive(&self, item: T, bytes: usize) -> Result<(), T> {
        let mut state = self.state();
        if state.ended {
            return Err(item);
        }
        // From here on it is in line at the least, which the writer waits for as well.
        state.announced -= 1;
        if let Ok(item) = state.line.enter(item, bytes) {
            state.queued.push_back(item);
            self.wake_for_requests(state);
        }
        Ok(())
    }

    /// A request that was announced is not going to come.
    pub(crate) fn call_off(&self) {
        let mut state = self.state();
        if !state.ended {
            state.announced -= 1;
            self.wake_for_the_end(state);
        }
    }

    /// Puts a request in again that was let in before. Gives it back where the writer has ended.
    pub(crate) fn put_back(&self, item: T) -> Result<(), T> {
        let mut state = self.state();
        if state.ended {
            return Err(item);
        }
        state.queued.push_back(item);
        self.wake_for_requests(state);
        Ok(())
    }

    // The writer's side, and that of its helpers.

    /// Waits until `wanted` requests are queued or a commit has ended, and moves all that is queued to `batch`, which is
    /// empty. After `patience` it makes do with fewer.
    pub(crate) fn take(&self, batch: &mut VecDeque<T>, wanted: usize, patience: Option<Duration>) -> Taken<C> {
        let mut state = self.state();
        let mut timed_out = false;
        loop {
            if state.failed {
                return Taken::Failed;
            }
            let committed = state.committed.take();
            let enough = state.queued.len() >= wanted || timed_out && !state.queued.is_empty();
            if committed.is_some() || enough {
                std::mem::swap(&mut state.queued, batch);
                return Taken::Work(committed);
            }
            if state.is_through() {
                return Taken::Ended;
            }
            if timed_out {
                return Taken::Idle;
            }
            state.wake_at = Some(wanted);
            state = match patience {
                Some(time) => {
                    let (state, timeout) = self.wake.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner);
                    timed_out = timeout.timed_out();
                    state
                }
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.wake_at = None;
        }
    }

    /// Waits for the end of the commit that is under way; `None` where that is never told.
    pub(crate) fn wait_committed(&self) -> Option<C> {
        let mut state = self.state();
        loop {
            if state.failed {
                return None;
            }
            if let Some(committed) = state.committed.take() {
                return Some(committed);
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Tells the writer that a commit has ended.
    pub(crate) fn committed(&self, committed: C) {
        self.state().committed = Some(committed);
        self.wake.notify_all();
    }

    /// Tells the writer that a thread it relies on has panicked.
    pub(crate) fn fail(&self) {
        self.state().failed = true;
        self.wake.notify_all();
    }

    /// Makes space for others, now that so much was answered.
    pub(crate) fn release(&self, load: Load) {
        let mut state = self.state();
        // At the end everything is let go of at once.
        if !state.ended {
            state.line.release(load);
            self.admit_waiting(state);
        }
    }

    /// The writer ends, whatever is in here: it is handed out, and nothing comes in from now on.
    pub(crate) fn end(&self) -> Vec<T> {
        let mut state = self.state();
        (state.closed, state.ended) = (true, true);
        let queued = std::mem::take(&mut state.queued);
        let all = queued.into_iter().chain(state.line.clear()).collect();
        drop(state);
        all
    }

    /// Whether the first in line could be let in.
    #[cfg(test)]
    pub(crate) fn first_waiting_fits(&self) -> bool {
        self.state().line.first_fits()
    }

    fn admit_waiting(&self, mut state: MutexGuard<'_, State<T, C>>) {
        while let Some(item) = state.line.next() {
            state.queued.push_back(item);
        }
        if state.is_through() { self.wake_for_the_end(state) } else { self.wake_for_requests(state) }
    }

    /// Wakes the writer if there is nothing left for it, ever.
    fn wake_for_the_end(&self, state: MutexGuard<'_, State<T, C>>) {
        if state.is_through() {
            drop(state);
            self.wake.notify_all();
        }
    }

    /// Wakes the writer if it sleeps and enough is queued for what it said.
    fn wake_for_requests(&self, mut state: MutexGuard<'_, State<T, C>>) {
        if state.wake_at.is_some_and(|wanted| state.queued.len() >= wanted) {
            // One wake-up is enough until it sleeps again.
            state.wake_at = None;
            drop(state);
            self.wake.notify_all();
        }
    }
}

impl<T, C> State<T, C> {
    /// Whether it is closed, and everything was released.
    fn is_through(&self) -> bool {
        self.closed && self.announced == 0 && self.line.is_empty()
    }
}
