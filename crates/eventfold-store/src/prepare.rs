//! Preparing an append: looking up, on the caller's side, what deciding it takes from the disk.

use smallvec::SmallVec;

use crate::append::{Append, CheckedAppend, CheckedCondition};
use crate::decide::{ConditionFact, Facts, Found};
use crate::environment::NewIds;
use crate::error::Error;
use crate::log::{EventLog, Snapshot};
use crate::query::ValidQuery;

/// An append that is checked, with what its decision takes from the log up to some moment. What came after that, the store
/// adds from memory.
#[derive(Clone, Debug)]
pub struct PreparedAppend(pub(crate) Box<Prepared>);

/// Boxed, since it goes from hand to hand: from a caller into a queue, out of it and into the store.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) checked: CheckedAppend,
    pub(crate) facts: Facts,
    /// Where the duplicate window has the first event's id, if the decision found it there and needs what the disk says.
    pub(crate) in_window: Option<u64>,
}

impl Prepared {
    /// How often each event that has come since may be looked at: once for each prefix of its queries, and at least once where it
    /// has queries.
    pub(crate) fn looks_at_an_event(&self) -> u64 {
        let prefixes = self.checked.queries().map(ValidQuery::prefixes).reduce(|all, more| all + more);
        prefixes.map_or(0, |prefixes| prefixes.max(1) as u64)
    }
}

impl EventLog {
    /// Checks an append and looks up what deciding it takes. Any thread can do that, while the writer goes on.
    ///
    /// # Errors
    ///
    /// What is wrong with the append itself, or what went wrong when it was looked up. Conditions that don't hold are told
    /// when it is staged.
    pub fn prepare(&self, append: Append) -> Result<PreparedAppend, Error> {
        let mut ids = NewIds::new(&self.shared.event_ids);
        let checked = append.check(|| ids.next())?;
        let facts = self.snapshot().facts(&checked, None)?;
        Ok(PreparedAppend(Box::new(Prepared { checked, facts, in_window: None })))
    }

    /// Looks up again what deciding an append takes, since too much happened in between, or since it may stand in the log
    /// already.
    ///
    /// # Errors
    ///
    /// What went wrong when it was looked up.
    pub fn prepare_again(&self, prepared: PreparedAppend) -> Result<PreparedAppend, Error> {
        self.finish_preparing(prepared.into())
    }
}

impl Snapshot {
    pub(crate) fn facts(&self, checked: &CheckedAppend, in_window: Option<u64>) -> Result<Facts, Error> {
        let append = &checked.append;
        let mut facts = Facts {
            log_id: self.shared.log_id,
            at: self.head,
            streams: SmallVec::with_capacity(append.streams().len()),
            conditions: SmallVec::with_capacity(checked.conditions.len()),
            pointed: None,
            conflict: None,
            window: None,
        };
        for stream in append.streams() {
            facts.streams.push(self.known_stream(&stream.id)?);
        }
        let mut conflict: Option<u64> = None;
        for condition in &checked.conditions {
            facts.conditions.push(match condition {
                CheckedCondition::Version { stream, .. } => {
                    let written = append.streams().iter().position(|written| written.id == *stream);
                    ConditionFact::Version(match written {
                        Some(index) => facts.streams[index].version,
                        None => self.known_stream(stream)?.version,
                    })
                }
                CheckedCondition::NoMatch { query, from } => {
                    let found = self.first_match(query, *from)?;
                    conflict = conflict.into_iter().chain(found).min();
                    ConditionFact::Match(found)
                }
            });
        }
        if let Some(version) = checked.pointed_version()
            && facts.streams[0].version.is_some_and(|last| version <= last)
            && let Some(position) = self.position_of(&append.streams()[0].id, version)?
        {
            facts.pointed = Some(self.found(checked, position)?);
        }
        if let Some(position) = conflict {
            facts.conflict = Some(self.found(checked, position)?);
        }
        if let Some(position) = in_window.filter(|position| *position < self.head) {
            facts.window = Some(self.found(checked, position)?);
        }
        Ok(facts)
    }

    fn found(&self, checked: &CheckedAppend, position: u64) -> Result<Found, Error> {
        Ok(Found { position, comparison: self.compare(&checked.append, position)? })
    }
}
