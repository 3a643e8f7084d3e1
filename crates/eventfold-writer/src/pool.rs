//! Threads that read what appends' decisions take, for callers who must not wait for the disk themselves.
//!
//! What is read for is held apart from what is queued, and bounded alike: an append that waits for the disk keeps no other
//! from the queue. It holds its place here until the writer takes it, so that no thread of the pool ever waits for the queue: the
//! queue may wait for them. One thread is kept free of queries, which can read much, for those that read a page or two.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use eventfold_store::Unprepared;
use eventfold_sync::thread::{JoinHandle, spawn};

use crate::inbox::NotAdmitted;
use crate::line::{Line, Load};
use crate::panics::watch_this_thread;
use crate::request::{Asked, Request};
use crate::shared::Shared;
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A few cold appends at once keep a disk busy; more would only compete with readers for it.
const THREADS_MAX: usize = 4;

#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug)]
struct State {
    line: Line<Job>,
    /// Let in, and not begun.
    jobs: VecDeque<Job>,
    threads: Vec<JoinHandle<()>>,
    /// Threads that have nothing to do.
    idle: usize,
    /// Threads that are at a query.
    querying: usize,
    ended: bool,
}

#[derive(Debug)]
struct Job {
    unprepared: Unprepared,
    asked: Asked,
    /// It was queued before, and prepared too early: it is let in already, there as well as here.
    again: bool,
}

impl Pool {
    pub(crate) fn new(bounds: Load) -> Self {
        let line = Line::new(bounds);
        let state = State { line, jobs: VecDeque::new(), threads: Vec::new(), idle: 0, querying: 0, ended: false };
        Self { state: Mutex::new(state), wake: Condvar::new() }
    }

    /// Starts the first thread. Others follow when there is something to do for them.
    pub(crate) fn start(&self, shared: &Arc<Shared>) -> io::Result<()> {
        self.state().start_thread(shared)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has an append prepared and then queued, when there is space for it here: until then it can be
    /// [withdrawn](Self::withdraw) by a ticket.
    pub(crate) fn submit(
        &self,
        shared: &Arc<Shared>,
        unprepared: Unprepared,
        asked: Asked,
    ) -> Result<Option<u64>, NotAdmitted> {
        shared.inbox.announce()?;
        let mut state = self.state();
        if state.ended {
            return Err(NotAdmitted::Closed);
        }
        let bytes = asked.bytes;
        match state.line.enter(Job { unprepared, asked, again: false }, bytes) {
            Ok(job) => {
                self.add(&mut state, shared, job);
                Ok(None)
            }
            Err(ticket) => Ok(Some(ticket)),
        }
    }

    /// As [`submit`](Self::submit), if there is space now.
    pub(crate) fn try_submit(
        &self,
        shared: &Arc<Shared>,
        unprepared: Unprepared,
        asked: Asked,
    ) -> Result<(), NotAdmitted> {
        shared.inbox.announce()?;
        let mut state = self.state();
        if state.ended {
            return Err(NotAdmitted::Closed);
        }
        let bytes = asked.bytes;
        match state.line.try_enter(Job { unprepared, asked, again: false }, bytes) {
            Ok(job) => {
                self.add(&mut state, shared, job);
                Ok(())
            }
            Err(refused) => {
                let held = state.line.held();
                // What it drops may be anybody's code.
                drop(state);
                drop(refused);
                shared.inbox.call_off();
                Err(NotAdmitted::Full(held))
            }
        }
    }

    /// Has an append prepared again that the writer has in its hands.
    pub(crate) fn prepare_again(&self, shared: &Arc<Shared>, unprepared: Unprepared, asked: Asked) {
        self.add(&mut self.state(), shared, Job { unprepared, asked, again: true });
    }

    /// Takes an append back that still waits for space.
    pub(crate) fn withdraw(&self, shared: &Arc<Shared>, ticket: u64) {
        let mut state = self.state();
        let Some(job) = state.line.withdraw(ticket) else { return };
        job.asked.withdrawn();
        self.admit_waiting(&mut state, shared);
        drop(state);
        drop(job);
        shared.inbox.call_off();
    }

    /// What is held here.
    pub(crate) fn held(&self) -> Load {
        self.state().line.held()
    }

    /// Nothing more is prepared. Returns who waits for what was not begun.
    pub(crate) fn end(&self) -> Vec<Asked> {
        let mut state = self.state();
        state.ended = true;
        let jobs = std::mem::take(&mut state.jobs);
        let all = jobs.into_iter().chain(state.line.clear()).map(|job| job.asked).collect();
        drop(state);
        self.wake.notify_all();
        all
    }

    /// Waits for the threads, after the end.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut self.state().threads);
        for thread in threads {
            // Their panics are caught.
            drop(thread.join());
        }
    }

    fn add(&self, state: &mut State, shared: &Arc<Shared>, job: Job) {
        state.jobs.push_back(job);
        if state.jobs.len() > state.idle && state.threads.len() < THREADS_MAX {
            // Where it can't be had, those that there are do it later.
            drop(state.start_thread(shared));
        }
        self.wake.notify_one();
    }

    /// Makes space for others: an append was prepared, and the writer has taken it.
    pub(crate) fn release(&self, shared: &Arc<Shared>, bytes: usize) {
        let mut state = self.state();
        if !state.ended {
            state.line.release(Load { requests: 1, bytes });
            self.admit_waiting(&mut state, shared);
        }
    }

    fn admit_waiting(&self, state: &mut State, shared: &Arc<Shared>) {
        while let Some(job) = state.line.next() {
            self.add(state, shared, job);
        }
    }

    /// A thread of the pool.
    fn work(&self, shared: &Arc<Shared>) {
        watch_this_thread();
        let mut state = self.state();
        while !state.ended {
            if let Some(job) = state.take() {
                let queries = job.unprepared.has_queries();
                state.querying += usize::from(queries);
                drop(state);
                self.run(shared, job);
                state = self.state();
                state.querying -= usize::from(queries);
            } else {
                state.idle += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    fn run(&self, shared: &Arc<Shared>, job: Job) {
        let Job { unprepared, asked, again } = job;
        let bytes = asked.bytes;
        let prepared = match catch_unwind(AssertUnwindSafe(|| shared.log.finish_preparing(unprepared))) {
            Ok(prepared) => prepared,
            Err(payload) => {
                shared.panics.caught(&*payload);
                shared.abandon(asked);
                return;
            }
        };
        let unheard = match prepared {
            Ok(prepared) => {
                let request = Request { prepared: Ok(prepared), asked, pooled: !again };
                let queued = if again { shared.inbox.put_back(request) } else { shared.inbox.arrive(request, bytes) };
                queued.err().map(|request| (request.asked, shared.stopped()))
            }
            // Others may wait for it: the writer has to know.
            Err(error) if again => {
                let request = Request { prepared: Err(error), asked, pooled: false };
                shared.inbox.put_back(request).err().map(|request| (request.asked, shared.stopped()))
            }
            Err(error) => {
                self.release(shared, bytes);
                shared.inbox.call_off();
                Some((asked, error))
            }
        };
        if let Some((asked, error)) = unheard {
            shared.stats().rejections.count(&error);
            let answer = Err(error);
            asked.decided(&answer);
            asked.answer(answer);
        }
    }
}

impl State {
    fn start_thread(&mut self, shared: &Arc<Shared>) -> io::Result<()> {
        let for_thread = shared.clone();
        let thread = spawn("eventfold-prepare", move || for_thread.pool.work(&for_thread))?;
        self.threads.push(thread);
        Ok(())
    }

    /// The next job that a thread may begin.
    fn take(&mut self) -> Option<Job> {
        if self.querying + 1 < THREADS_MAX {
            return self.jobs.pop_front();
        }
        let plain = self.jobs.iter().position(|job| !job.unprepared.has_queries())?;
        self.jobs.remove(plain)
    }
}
