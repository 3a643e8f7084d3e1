//! The loop that appends for all: drain, stage, commit, answer.
//!
//! One group is open, one at most is under way to the disk, and those that are through are answered. The open group is closed
//! when the disk is free and not before, so that it takes in all that came meanwhile; the [`Pace`] may keep it open a moment
//! longer. It is written and synced on this thread where nothing is to be done meanwhile, since handing it over costs more than
//! it gives then; else on a thread of its own, while this one stages the next.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use eventfold_store::{Commit, Error, NotStaged, PreparedAppend, Store};
use eventfold_sync::thread::JoinHandle;
use eventfold_sync::{clock, mpsc};

use crate::group::Group;
use crate::inbox::Taken;
use crate::pace::Pace;
use crate::panics::{guarded, watch_this_thread};
use crate::request::{Asked, Request, Turn};
use crate::shared::{Shared, Synced};

/// How often an append is prepared again, before it is refused as [`Error::Busy`].
const ROUNDS_MAX: u32 = 8;

/// While the disk is busy the writer is woken for this many requests, so that they are staged by the time it is free. For
/// fewer the end of the sync is soon enough, and a wake-up of its own would cost more than staging them.
const WORTH_WAKING: usize = 32;

/// After so long without a request the store is told that it is idle.
const IDLE_AFTER: Duration = Duration::from_millis(50);

pub(crate) struct Engine {
    shared: Arc<Shared>,
    store: Store,
    commits: mpsc::Sender<Commit>,
    syncing: JoinHandle<()>,
    /// Taken from the inbox, and not staged yet.
    batch: VecDeque<Request>,
    /// Sequences of which a request was sent back to be prepared again, and what has come of them since.
    away: BTreeMap<u64, VecDeque<Request>>,
    /// Whose append is being staged. Like all who wait it is kept where a panic does not drop it: it would be told that
    /// nobody answers before the store is poisoned.
    staging: Option<Asked>,
    open: Group,
    /// What is under way to the disk, and how many bytes that are.
    running: Option<(Group, usize)>,
    /// Through, and not answered yet; with whether it stands.
    owed: VecDeque<(Group, bool)>,
    pace: Pace,
    /// The store knows that it is idle.
    idle: bool,
}

/// What the engine waits for.
enum Wait {
    /// The end of the commit that is under way, or many requests.
    Disk,
    /// So many requests, for so long.
    Wave(usize, Duration),
    /// Any request. After so long the store is idle.
    Request(Option<Duration>),
}

/// A thread that the writer relies on has panicked, and will never tell what came of a commit.
struct Failed;

impl Engine {
    pub(crate) fn new(
        shared: Arc<Shared>,
        store: Store,
        (commits, syncing): (mpsc::Sender<Commit>, JoinHandle<()>),
    ) -> Self {
        Self {
            shared,
            store,
            commits,
            syncing,
            batch: VecDeque::new(),
            away: BTreeMap::new(),
            staging: None,
            open: Group::default(),
            running: None,
            owed: VecDeque::new(),
            pace: Pace::default(),
            idle: false,
        }
    }

    /// The writer's thread.
    pub(crate) fn run(mut self) {
        watch_this_thread();
        match catch_unwind(AssertUnwindSafe(|| self.serve())) {
            Ok(Ok(())) => self.close(),
            Ok(Err(Failed)) => self.fail(),
            Err(payload) => {
                self.shared.panics.caught(&*payload);
                self.fail();
            }
        }
    }

    /// Serves requests until there are no more.
    fn serve(&mut self) -> Result<(), Failed> {
        loop {
            let wait = self.wait();
            let (wanted, patience) = match wait {
                Wait::Disk => (WORTH_WAKING, None),
                Wait::Wave(missing, patience) => (missing, Some(patience)),
                Wait::Request(patience) => (1, patience),
            };
            let synced = match self.shared.inbox.take(&mut self.batch, wanted, patience) {
                Taken::Ended => return Ok(()),
                Taken::Failed => return Err(Failed),
                Taken::Idle => {
                    match wait {
                        // Those who came are not kept waiting for those who did not.
                        Wait::Wave(..) => self.begin(),
                        Wait::Disk | Wait::Request(_) => self.note_idle(),
                    }
                    self.answer();
                    continue;
                }
                Taken::Work(synced) => synced,
            };
            self.idle = false;
            if let Some(synced) = synced {
                self.finish(synced);
                if self.open.len() > self.batch.len() && self.pace.missing(self.open.len()).is_none() {
                    // The disk should not wait for the rest to be staged, nor for the answers.
                    self.begin();
                }
                self.answer();
            }
            self.stage_batch()?;
            if self.running.is_none() && self.pace.missing(self.open.len()).is_none() {
                self.begin();
            }
            self.answer();
        }
    }

    /// What is waited for.
    fn wait(&self) -> Wait {
        if self.running.is_some() {
            return Wait::Disk;
        }
        match self.pace.missing(self.open.len()) {
            Some((missing, patience)) => Wait::Wave(missing, patience),
            // Its time may have passed this very moment.
            None if !self.open.is_empty() => Wait::Wave(0, Duration::ZERO),
            None => Wait::Request((!self.idle).then_some(IDLE_AFTER)),
        }
    }

    fn note_idle(&mut self) {
        self.idle = true;
        if let Err(error) = self.store.note_idle() {
            guarded(|| tracing::debug!(%error, "the store could not write down that it is idle"));
        }
    }

    fn stage_batch(&mut self) -> Result<(), Failed> {
        let (began, appends) = (clock::now(), self.batch.len());
        let mut waited = false;
        while let Some(request) = self.batch.pop_front() {
            let Some(request) = self.in_its_turn(request) else { continue };
            waited |= self.stage(request)?;
        }
        if !waited {
            self.pace.staged(appends, began);
        }
        Ok(())
    }

    /// Keeps a request for which another of its sequence is away. With the one that was, the others follow.
    fn in_its_turn(&mut self, request: Request) -> Option<Request> {
        let Some(sequence) = request.asked.turn.as_ref().map(Turn::sequence) else { return Some(request) };
        if request.asked.rounds > 0 {
            // It may be sent away again, and then they are kept again.
            for behind in self.away.remove(&sequence).into_iter().flatten().rev() {
                self.batch.push_front(behind);
            }
            return Some(request);
        }
        match self.away.get_mut(&sequence) {
            Some(behind) => {
                behind.push_back(request);
                None
            }
            None => Some(request),
        }
    }

    /// Stages an append. Returns whether that has taken waiting for the disk.
    fn stage(&mut self, request: Request) -> Result<bool, Failed> {
        let Request { prepared, asked, pooled } = request;
        if pooled {
            self.shared.pool.release(&self.shared, asked.bytes);
        }
        let is_reached = asked.turn.as_ref().is_none_or(Turn::is_reached);
        let prepared = if is_reached { prepared } else { Err(Error::NotReached) };
        asked.decided(&prepared);
        let mut prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.open.add(asked, Err(error));
                return Ok(false);
            }
        };
        let mut waited = false;
        let rounds = asked.rounds;
        self.staging = Some(asked);
        let outcome = loop {
            match self.store.stage(prepared) {
                Ok(staged) => break Ok(staged),
                Err(NotStaged::Refused(error)) => break Err(error),
                Err(NotStaged::CommitFirst(again)) => {
                    self.commit_all()?;
                    waited = true;
                    prepared = again;
                }
                Err(NotStaged::Outdated(again)) if rounds < ROUNDS_MAX => {
                    self.prepare_again(again);
                    return Ok(waited);
                }
                // Whatever else may stand in the way, trying again is right.
                Err(_) => break Err(Error::Busy { rounds }),
            }
        };
        if let Some(asked) = self.staging.take() {
            asked.decided(&outcome);
            self.open.add(asked, outcome);
        }
        Ok(waited)
    }

    /// Sends an append back for which too much has happened since it was prepared.
    fn prepare_again(&mut self, prepared: PreparedAppend) {
        if let Some(mut asked) = self.staging.take() {
            asked.rounds += 1;
            if let Some(turn) = &asked.turn {
                self.away.entry(turn.sequence()).or_default();
            }
            self.shared.pool.prepare_again(&self.shared, prepared.into(), asked);
        }
    }

    /// Closes the open group and has it committed. Nothing is under way.
    fn begin(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let bytes = self.store.staged_bytes();
        let begun = self.store.begin_commit();
        let group = std::mem::take(&mut self.open);
        let elsewhere = self.pace.closes(group.len(), self.held());
        match begun {
            Ok(Some(commit)) => {
                self.running = Some((group, bytes));
                if elsewhere {
                    // It ends with this engine alone, and takes a commit until then.
                    drop(self.commits.send(commit));
                } else {
                    self.answer();
                    let synced = run(commit);
                    self.finish(synced);
                }
            }
            // Refusals alone, and appends that stood already: all that they rest on is committed.
            Ok(None) => self.owed.push_back((group, true)),
            // Poisoned, or read-only: then there are refusals alone.
            Err(_) => self.owed.push_back((group, self.shared.log.poison().is_none())),
        }
    }

    /// How many requests are in the writer's hands.
    fn held(&self) -> usize {
        self.shared.inbox.load().0.requests
    }

    /// Takes note of what came of the commit that was under way.
    fn finish(&mut self, synced: Synced) {
        let Synced { committed, took } = synced;
        let stands = self.store.finish_commit(committed).is_ok();
        let Some((group, bytes)) = self.running.take() else { return };
        self.pace.synced(self.held(), took);
        if stands {
            group.count(&self.shared, bytes, took);
        }
        let appends = group.len();
        self.owed.push_back((group, stands));
        guarded(|| tracing::debug!(appends, bytes, stands, ?took, "a group was committed"));
    }

    /// Commits all that is staged, and waits for it.
    fn commit_all(&mut self) -> Result<(), Failed> {
        loop {
            if self.running.is_some() {
                let synced = self.shared.inbox.wait_committed().ok_or(Failed)?;
                self.finish(synced);
            }
            self.begin();
            self.answer();
            if self.running.is_none() {
                return Ok(());
            }
        }
    }

    fn answer(&mut self) {
        while let Some((group, stands)) = self.owed.pop_front() {
            group.answer(&self.shared, stands);
        }
    }

    /// Everything is answered, and nobody is left to ask: closes the store.
    fn close(self) {
        let Self { shared, store, commits, syncing, .. } = self;
        drop(shared.pool.end());
        shared.pool.join();
        drop(commits);
        // Its panics are caught.
        drop(syncing.join());
        let log = &shared.log;
        let closed = catch_unwind(AssertUnwindSafe(|| store.close())).unwrap_or_else(|payload| {
            shared.panics.caught(&*payload);
            Err(Error::OutcomeUnknown { cause: log.poison() })
        });
        if let Err(error) = &closed {
            guarded(|| tracing::error!(%error, "the store could not be closed cleanly"));
        }
        shared.set_end(closed);
    }

    /// After a panic nobody knows what is staged for whom. All who wait are told so, and the store is let go of as it is.
    fn fail(self) {
        let Self { shared, mut store, commits, syncing, batch, away, staging, open, running, owed, .. } = self;
        // It logs, and that may be what has panicked. By then the cause is known.
        let cause = catch_unwind(AssertUnwindSafe(|| store.poison_after_panic())).ok().or_else(|| shared.log.poison());
        let cause = cause.expect("a store that is poisoned knows why");
        let unknown = running.map(|(group, _)| group).into_iter().chain([open]).map(|group| (group, false));
        for (group, stands) in owed.into_iter().chain(unknown) {
            group.answer(&shared, stands);
        }
        let in_doubt = || Err(Error::OutcomeUnknown { cause: Some(cause.clone()) });
        if let Some(asked) = staging {
            asked.answer(in_doubt());
        }
        let kept = away.into_values().flatten();
        let queued = batch.into_iter().chain(kept).chain(shared.inbox.end()).map(|request| request.asked);
        for asked in queued.chain(shared.pool.end()) {
            asked.answer(Err(Error::Poisoned { cause: cause.clone() }));
        }
        // From here on it may take a while.
        drop(commits);
        shared.pool.join();
        for asked in shared.take_abandoned() {
            asked.answer(in_doubt());
        }
        // Its panics are caught.
        drop(syncing.join());
        guarded(|| drop(store));
        shared.set_end(Err(Error::Poisoned { cause }));
    }
}

/// The thread that writes and syncs groups while the next are staged.
pub(crate) fn sync(shared: &Shared, commits: &mpsc::Receiver<Commit>) {
    watch_this_thread();
    for commit in commits {
        match catch_unwind(AssertUnwindSafe(|| run(commit))) {
            Ok(synced) => shared.inbox.committed(synced),
            Err(payload) => {
                shared.panics.caught(&*payload);
                shared.inbox.fail();
            }
        }
    }
}

fn run(commit: Commit) -> Synced {
    let began = clock::now();
    let committed = commit.run();
    Synced { committed, took: clock::since(began) }
}
