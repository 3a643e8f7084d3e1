//! What processes and disks do to a log: kills, power cuts, failed syncs, lost writes, rot.

use std::ops::Range;

use crate::content::Content;
use crate::disk::UNITS;
use crate::moves::Moves;
use crate::scope::Scope;
use crate::state::{A, B, State, unit, units};

impl Moves<'_> {
    /// The process is killed, the page cache stays.
    pub(crate) fn kill(&mut self, state: &State) {
        let mut state = state.clone();
        if spend(&mut state.budget.crashes) {
            let mark = self.note(|| "killed".to_owned());
            self.restart(state);
            self.forget(mark);
        }
    }

    /// The process ends. Until it is started again, clean pages may have been dropped, and are read from the disk.
    pub(crate) fn restart(&mut self, mut state: State) {
        state.stop();
        self.evict(state, 0);
    }

    fn evict(&mut self, state: State, from: usize) {
        let deceptive = (from..UNITS).find(|at| {
            let unit = &state.disk.units[*at];
            unit.cache != unit.durable && !state.disk.is_dirty(*at)
        });
        let Some(at) = deceptive else {
            return self.reach(state);
        };
        let mut evicted = state.clone();
        evicted.disk.evict(at);
        let mark = self.note(|| format!("the page of {} is dropped", name(self.scope, at)));
        self.evict(evicted, at + 1);
        self.forget(mark);
        self.evict(state, at + 1);
    }

    /// The power goes: every unsynced unit has reached the disk or not, and the cache is gone.
    pub(crate) fn cut_power(&mut self, state: &State) {
        let mut state = state.clone();
        if spend(&mut state.budget.crashes) {
            let mark = self.note(|| "power cut".to_owned());
            self.scatter(state, 0..UNITS, self.scope.tears, &mut |moves, mut state| {
                for at in 0..UNITS {
                    state.disk.evict(at);
                }
                state.stop();
                moves.reach(state);
            });
            self.forget(mark);
        }
    }

    /// For each dirty unit of the range, chooses what of it reached the disk.
    fn scatter(&mut self, state: State, range: Range<usize>, tears: u8, then: &mut dyn FnMut(&mut Self, State)) {
        let Some(at) = range.clone().find(|at| state.disk.is_dirty(*at)) else {
            return then(self, state);
        };
        let (fates, whole, all) = state.disk.fates(at, tears > 0);
        for (index, fate) in fates[..all].iter().enumerate() {
            let mut state = state.clone();
            state.disk.settle(at, *fate);
            let mark = self.note(|| format!("{} has {fate}", name(self.scope, at)));
            let left = if index < whole { tears } else { tears - 1 };
            self.scatter(state, at + 1..range.end, left, then);
            self.forget(mark);
        }
    }

    /// Syncs a segment, or fails to, or only seems to. `then` goes on where the sync reported success.
    pub(crate) fn sync(&mut self, state: &State, segment: usize, then: &mut dyn FnMut(&mut Self, State)) {
        let range = units(self.scope, segment);
        let dirty: Vec<usize> = range.clone().filter(|at| state.disk.is_dirty(*at)).collect();
        if !dirty.is_empty() {
            self.kill(state);
            self.cut_power(state);
            self.fail_sync(state, range);
        }
        let synced = |lost: Option<usize>| {
            let mut state = state.clone();
            for at in &dirty {
                if lost == Some(*at) {
                    state.disk.lose(*at);
                } else {
                    state.disk.sync_unit(*at);
                }
            }
            state
        };
        for lost in &dirty {
            let mut state = synced(Some(*lost));
            if state.disk.units[*lost].durable != state.disk.units[*lost].cache && spend(&mut state.budget.losses) {
                state.faulted = true;
                let mark = self.note(|| format!("synced, but {} is not on the disk", name(self.scope, *lost)));
                then(self, state);
                self.forget(mark);
            }
        }
        let mark = self.note(|| "synced".to_owned());
        then(self, synced(None));
        self.forget(mark);
    }

    /// The sync fails, which ends the process: the cache keeps what it has, and calls it clean.
    fn fail_sync(&mut self, state: &State, range: Range<usize>) {
        let mut state = state.clone();
        if spend(&mut state.budget.failures) {
            let mark = self.note(|| "the sync fails".to_owned());
            self.scatter(state, range, self.scope.tears, &mut |moves, state| {
                moves.restart(state);
            });
            self.forget(mark);
        }
    }

    /// A unit of the disk can't be read as what was written any more.
    pub(crate) fn rot(&mut self, state: &State) {
        for segment in [A, B] {
            for at in units(self.scope, segment) {
                for content in [Content::GARBAGE, Content::ZERO] {
                    let mut state = state.clone();
                    if state.disk.units[at].durable != content && spend(&mut state.budget.rots) {
                        state.disk.rot(at, content);
                        state.faulted = true;
                        let mark = self.note(|| format!("{} rots to {content}", name(self.scope, at)));
                        self.reach(state);
                        self.forget(mark);
                    }
                }
            }
        }
    }
}

fn spend(budget: &mut u8) -> bool {
    let left = budget.checked_sub(1);
    *budget = left.unwrap_or(0);
    left.is_some()
}

/// A unit's name in traces.
pub(crate) fn name(scope: &Scope, at: usize) -> String {
    let first = unit(scope, B, 0);
    if at < first { format!("A{at}") } else { format!("B{}", at - first) }
}
