//! Where a subscription stands, and what it does next: how history is handed over to what comes.
//!
//! A cursor has no thread, lock or disk. It says what it needs (a read, to be woken) and is told what came of it. What it
//! keeps to:
//!
//! - It hands out each event once and in order: it reads on where the last read stopped, and from nowhere else.
//! - It never waits beside something to read: it waits only where a read has found nothing more, and says up to where that
//!   read has looked. Whatever comes from there on wakes it.
//! - It says that it has caught up when it has read up to the head that the read saw, and again if it had something to catch
//!   up with since.

use std::vec;

use eventfold_store::RecordedEvent;

/// What has a place in the log.
pub(crate) trait Placed {
    fn position(&self) -> u64;
}

impl Placed for RecordedEvent {
    fn position(&self) -> u64 {
        self.global_position
    }
}

/// What a read has found.
#[derive(Clone, Debug)]
pub(crate) struct Found<T> {
    pub(crate) events: Vec<T>,
    /// Where to go on: no other event below it is wanted.
    pub(crate) next: u64,
    /// The head of the log as it was read.
    pub(crate) head: u64,
    /// Whether the log had ended before it was read, so that its head is the last.
    pub(crate) ended: bool,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<T> {
    /// Hand this out.
    Event(T),
    /// Say that everything below this position was handed out, and there is no more by now.
    CaughtUp(u64),
    /// Say that everything below this position was handed out.
    Checkpoint(u64),
    /// Read from here on, and tell what was [found](Cursor::found). If the read fails, ask again.
    Read(u64),
    /// Wait until something comes at or behind `seen`, or the log's head is at `at`, or the log ends; then ask
    /// [again](Cursor::wake).
    Wait { seen: u64, at: u64 },
    /// The log has ended, and everything was handed out. Said once.
    Stop,
    /// As before.
    Stopped,
}

#[derive(Clone, Debug)]
pub(crate) struct Cursor<T> {
    /// Everything below was handed out or isn't wanted.
    next: u64,
    /// The position that the subscriber was told last.
    told: u64,
    checkpoint_interval: u64,
    caught_up: bool,
    state: State<T>,
}

#[derive(Clone, Debug)]
enum State<T> {
    /// There may be more from `next` on.
    Behind,
    /// This was found, and is handed out.
    Handing {
        events: vec::IntoIter<T>,
        next: u64,
        head: u64,
        ended: bool,
    },
    /// Nothing was found, and everything below `next` was looked at.
    Waiting,
    Stopped,
}

impl<T: Placed> Cursor<T> {
    pub(crate) fn new(from: u64, checkpoint_interval: u64) -> Self {
        let checkpoint_interval = checkpoint_interval.max(1);
        Self { next: from, told: from, checkpoint_interval, caught_up: false, state: State::Behind }
    }

    pub(crate) fn set_checkpoint_interval(&mut self, positions: u64) {
        self.checkpoint_interval = positions.max(1);
    }

    /// The position to read next: everything below was handed out or isn't wanted.
    pub(crate) fn position(&self) -> u64 {
        self.next
    }

    pub(crate) fn step(&mut self) -> Step<T> {
        loop {
            match &mut self.state {
                State::Behind => return Step::Read(self.next),
                State::Waiting => {
                    return Step::Wait { seen: self.next, at: self.told.saturating_add(self.checkpoint_interval) };
                }
                State::Stopped => return Step::Stopped,
                State::Handing { events, next, head, ended } => {
                    if let Some(event) = events.next() {
                        self.next = event.position() + 1;
                        self.told = self.next;
                        self.caught_up = false;
                        return Step::Event(event);
                    }
                    self.next = *next;
                    if next < head {
                        self.caught_up = false;
                        self.state = State::Behind;
                    } else if !self.caught_up {
                        self.caught_up = true;
                        self.told = self.next;
                        return Step::CaughtUp(self.next);
                    } else if *ended {
                        self.state = State::Stopped;
                        return Step::Stop;
                    } else {
                        self.state = State::Waiting;
                    }
                    if self.next - self.told >= self.checkpoint_interval {
                        self.told = self.next;
                        return Step::Checkpoint(self.next);
                    }
                }
            }
        }
    }

    /// Takes what the read has found that it asked for.
    pub(crate) fn found(&mut self, found: Found<T>) {
        let Found { events, next, head, ended } = found;
        debug_assert!(matches!(self.state, State::Behind), "nothing is read but what was asked for");
        debug_assert!(next >= self.next, "a read goes on");
        self.state = State::Handing { events: events.into_iter(), next, head, ended };
    }

    /// What it waited for has come.
    pub(crate) fn wake(&mut self) {
        if matches!(self.state, State::Waiting) {
            self.state = State::Behind;
        }
    }
}
