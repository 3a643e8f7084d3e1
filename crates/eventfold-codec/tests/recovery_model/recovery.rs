//! Recovery: its decision is checked, then its steps are carried out, each of which may be the last.

use eventfold_codec::recovery::{Extent, Recovery, RecoveryError, Step, TailEnd};

use crate::content::{Content, Kind};
use crate::moves::Moves;
use crate::property::Property;
use crate::reading::{index, read};
use crate::scope::Rule;
use crate::state::{A, B, Process, State, unit};

impl Moves<'_> {
    /// The store is opened.
    pub(crate) fn open(&mut self, state: &State) {
        self.rot(state);
        let reading = read(self.scope, state);
        let recovery = match &reading.decision {
            Ok(recovery) => recovery,
            Err(RecoveryError::Corruption(_)) if state.faulted => return,
            Err(error) => {
                let mark = self.note(|| format!("recovery says: {error}"));
                self.violate(Property::FalseCorruption);
                return self.forget(mark);
            }
        };
        let mark =
            self.note(|| format!("recovery ends the log after {:?} frames, {:?}", reading.accepted, recovery.end));
        self.check(state, recovery, reading.accepted);
        if self.violation.is_some() {
            return self.forget(mark);
        }
        let mut state = state.clone();
        state.truncate(self.scope, reading.accepted);
        state.process = Process::Gone;
        state.incarnation = u8::try_from(recovery.incarnation).expect("there are few incarnations");
        self.carry_out(&state, recovery, 0);
        self.forget(mark);
    }

    /// Whether the decision keeps to the properties.
    fn check(&mut self, state: &State, recovery: &Recovery, accepted: [u8; 2]) {
        let unknown = [A, B].into_iter().any(|segment| {
            (0..accepted[segment]).any(|index| {
                let at = unit(self.scope, segment, index);
                index >= state.len[segment] || state.disk.read(at) != state.ledger[at]
            })
        });
        if unknown {
            return self.violate(Property::CameBack);
        }
        let mut kept = state.clone();
        kept.truncate(self.scope, accepted);
        if recovery.position != u64::from(kept.position(self.scope)) {
            self.violate(Property::PositionGap);
        }
        if kept.total() < state.safe {
            self.check_loss(state, &kept, recovery.end);
        }
        if state.faulted {
            return;
        }
        let first = unit(self.scope, kept.active(), 0);
        let proven = unit(self.scope, kept.active(), index(recovery.proven.offset));
        if (first..proven).any(|at| state.disk.units[at].durable != state.ledger[at]) {
            self.violate(Property::FalselyProven);
        }
        if state.process == Process::Closed && recovery.end != TailEnd::Closed {
            self.violate(Property::CloseMissed);
        }
    }

    /// Some of what was safe is not kept.
    fn check_loss(&mut self, state: &State, kept: &State, end: TailEnd) {
        let mut safe = state.clone();
        let in_first = state.safe.min(state.len[A]);
        safe.truncate(self.scope, [in_first, state.safe - in_first]);
        let events = safe.position(self.scope) > kept.position(self.scope);
        let reported = end != TailEnd::Closed && self.only_last_group(state, kept.len);
        match (state.faulted, events) {
            (false, true) => self.violate(Property::EventLost),
            (true, true) if !reported => self.violate(Property::SilentLoss),
            (false, false) => self.violate(Property::FrameLost),
            (true, _) => {}
        }
    }

    /// Whether all that is lost stood in the last group before a watermark: above every `durable_through` that a
    /// successful sync made part of the log.
    fn only_last_group(&self, state: &State, accepted: [u8; 2]) -> bool {
        let vouched = |segment: usize, safe: u8| {
            state
                .frames(self.scope, segment)
                .take(safe.into())
                .filter(|frame| frame.kind != Kind::Link)
                .map(|frame| frame.durable_through)
                .max()
                .unwrap_or(0)
        };
        let in_second = state.safe.saturating_sub(state.len[A]);
        let first = if in_second > 0 { state.len[A] } else { vouched(A, state.safe) };
        accepted[A] >= first && accepted[B] >= vouched(B, in_second)
    }

    fn carry_out(&mut self, state: &State, recovery: &Recovery, done: usize) {
        let mut state = state.clone();
        let rules = self.scope.rules;
        let Some(step) = recovery.steps.get(done) else {
            state.acknowledge();
            state.process = Process::Running;
            if !rules.keep(Rule::SyncedIncarnation) && rules.keep(Rule::IncarnationFrame) {
                state.unsynced = Some(index(recovery.offset));
            }
            return self.reach(state);
        };
        let announced = recovery.steps[..done].iter().any(|step| matches!(step, Step::Announce { .. }));
        match step {
            Step::KeepDropped(_) => state.side_file = true,
            Step::FinishSideFile => state.side_file = false,
            Step::Extend { .. } => {
                self.full += 1;
                return;
            }
            Step::Rewrite(extent) if rules.keep(Rule::Rewriting) => {
                // The bytes that were accepted, kept since: what the cache shows by now may be something else.
                let ledger = state.ledger;
                self.overwrite(&mut state, extent, |at| ledger[at]);
            }
            Step::Erase(extent) if rules.keep(Rule::Zeroing) => {
                self.overwrite(&mut state, extent, |_| Content::ZERO);
            }
            Step::Announce { segment, offset, .. } if rules.keep(Rule::IncarnationFrame) => {
                let segment = usize::try_from(*segment).expect("there are two");
                state.append(self.scope, segment, Kind::Watermark, 0, index(*offset));
            }
            Step::Sync { segment }
                if rules.keep(if announced { Rule::SyncedIncarnation } else { Rule::SyncBeforeIncarnation }) =>
            {
                let segment = usize::try_from(*segment).expect("there are two");
                return self.sync(&state, segment, &mut |moves, state| {
                    moves.carry_out(&state, recovery, done + 1);
                });
            }
            Step::Rewrite(_) | Step::Erase(_) | Step::Announce { .. } | Step::Sync { .. } => {
                return self.carry_out(&state, recovery, done + 1);
            }
            step => panic!("nothing on the tiny disk calls for {step:?}"),
        }
        let mark = self.note(|| format!("{step:?}"));
        self.kill(&state);
        if *step == Step::FinishSideFile || state.disk.dirty == 0 {
            self.cut_power(&state);
        }
        self.carry_out(&state, recovery, done + 1);
        self.forget(mark);
    }

    /// Writes unit by unit; the process may be killed after each.
    fn overwrite(&mut self, state: &mut State, extent: &Extent, content: impl Fn(usize) -> Content) {
        let segment = usize::try_from(extent.segment).expect("there are two");
        let to = index(extent.to).min(self.scope.sizes[segment]);
        for index in index(extent.from)..to {
            let at = unit(self.scope, segment, index);
            if state.disk.write(at, content(at)) {
                self.kill(state);
            }
        }
    }
}
