//! The writer: what it may do between two recoveries.

use crate::content::{Content, Kind};
use crate::moves::Moves;
use crate::scope::Rule;
use crate::state::{A, B, Process, State, unit};

impl Moves<'_> {
    /// Everything a running process can do, and everything that can happen to it.
    pub(crate) fn write(&mut self, state: &State) {
        self.kill(state);
        if state.disk.is_deceptive() {
            self.cut_power(state);
        }
        let mut left = state.clone();
        let Some(writes) = state.writes.checked_sub(1) else {
            return;
        };
        left.writes = writes;
        let groups = self.scope.groups;
        for events in groups {
            self.append_group(&left, events);
        }
        if left.active() == A {
            self.roll(&left, &[]);
            for events in groups {
                self.roll(&left, events);
            }
        }
        self.mark(&left);
        self.close(&left);
    }

    /// What the next frame's `durable_through` is: where the group starts, or an unsynced watermark before it.
    fn durable_through(&self, state: &State) -> u8 {
        let end = state.len[state.active()];
        match state.unsynced {
            Some(mark) if self.scope.rules.keep(Rule::HonestMark) => mark,
            _ => end,
        }
    }

    fn fits(&self, state: &State, segment: usize, frames: usize) -> bool {
        usize::from(state.len[segment]) + frames <= usize::from(self.scope.sizes[segment])
    }

    fn append_group(&mut self, state: &State, events: &[u8]) {
        let segment = state.active();
        if self.fits(state, segment, events.len()) {
            let mark = self.note(|| format!("a group of {} is written", events.len()));
            let frames: Vec<_> = events.iter().map(|events| (Kind::Append, *events)).collect();
            let durable_through = self.durable_through(state);
            self.commit(state, segment, &frames, durable_through);
            self.forget(mark);
        }
    }

    /// Goes on in the second segment: what stands below its link is synced first.
    fn roll(&mut self, state: &State, events: &[u8]) {
        if !self.fits(state, B, 1 + events.len()) {
            return;
        }
        let mut frames = vec![(Kind::Link, 0)];
        frames.extend(events.iter().map(|events| (Kind::Append, *events)));
        let link = |moves: &mut Self, mut state: State| {
            state.unsynced = None;
            let mark = moves.note(|| format!("a link and a group of {} are written", events.len()));
            moves.commit(&state, B, &frames, 0);
            moves.forget(mark);
        };
        let mark = self.note(|| "the writer rolls".to_owned());
        if self.scope.rules.keep(Rule::SyncedLink) {
            self.sync(state, A, &mut |moves, mut state| {
                state.acknowledge();
                link(moves, state);
            });
        } else {
            link(self, state.clone());
        }
        self.forget(mark);
    }

    /// Writes frames in one go and syncs them: only then are they acknowledged.
    fn commit(&mut self, state: &State, segment: usize, frames: &[(Kind, u8)], durable_through: u8) {
        let mut state = state.clone();
        for (kind, events) in frames {
            let at = unit(self.scope, segment, state.len[segment]);
            let next = state.next_frame(self.scope, segment, *kind, *events, durable_through);
            // A process that is killed within the write leaves some of it in the cache, in order.
            for torn in [Some(Content::GARBAGE), next.torn()].into_iter().flatten() {
                let mut torn_state = state.clone();
                torn_state.disk.write(at, torn);
                self.kill(&torn_state);
            }
            self.kill(&state);
            state.append(self.scope, segment, *kind, *events, durable_through);
        }
        self.sync(&state, segment, &mut |moves, mut state| {
            state.acknowledge();
            moves.reach(state);
        });
    }

    /// An idle writer's watermark, synced or not.
    fn mark(&mut self, state: &State) {
        let segment = state.active();
        if !self.fits(state, segment, 1) || state.unsynced.is_some() {
            return;
        }
        let mark = self.note(|| "a watermark is written".to_owned());
        let end = state.len[segment];
        self.commit(state, segment, &[(Kind::Watermark, 0)], end);
        let mut lazy = state.clone();
        lazy.append(self.scope, segment, Kind::Watermark, 0, end);
        lazy.unsynced = Some(end);
        self.reach(lazy);
        self.forget(mark);
    }

    fn close(&mut self, state: &State) {
        let segment = state.active();
        if !self.fits(state, segment, 1) {
            return;
        }
        let mut state = state.clone();
        let durable_through = self.durable_through(&state);
        let mark = self.note(|| "a close frame is written".to_owned());
        self.kill(&state);
        state.append(self.scope, segment, Kind::Close, 0, durable_through);
        self.sync(&state, segment, &mut |moves, mut state| {
            state.acknowledge();
            state.process = Process::Closed;
            moves.cut_power(&state);
            moves.restart(state);
        });
        self.forget(mark);
    }
}
