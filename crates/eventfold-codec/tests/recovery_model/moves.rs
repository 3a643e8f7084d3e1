//! What can happen next in a state.

use crate::property::Property;
use crate::scope::Scope;
use crate::state::{Process, State};

/// Collects the states that follow one state.
///
/// What lies between two of them (the steps of a recovery, a write and its sync) is not kept as states of its own: it is
/// noted only when a trace is asked for.
pub(crate) struct Moves<'s> {
    pub(crate) scope: &'s Scope,
    pub(crate) states: Vec<State>,
    /// What was done to reach each of the states; filled only when tracing.
    pub(crate) stories: Vec<String>,
    pub(crate) violation: Option<(Property, String)>,
    /// Recoveries given up because the tiny disk was full.
    pub(crate) full: u64,
    tracing: bool,
    notes: Vec<String>,
}

impl<'s> Moves<'s> {
    pub(crate) fn new(scope: &'s Scope, tracing: bool) -> Self {
        Self { scope, states: Vec::new(), stories: Vec::new(), violation: None, full: 0, tracing, notes: Vec::new() }
    }

    /// Everything that can follow `state`, unless it already breaks a property.
    pub(crate) fn explore(&mut self, state: &State) {
        self.states.clear();
        self.stories.clear();
        self.notes.clear();
        if state.process == Process::Running {
            self.write(state);
        } else {
            self.open(state);
        }
    }

    pub(crate) fn reach(&mut self, state: State) {
        if self.tracing {
            self.stories.push(self.story());
        }
        self.states.push(state);
    }

    /// Keeps the first property found broken, and how, if it is one that is looked for.
    pub(crate) fn violate(&mut self, property: Property) {
        if self.violation.is_none() && self.scope.properties.contains(&property) {
            self.violation = Some((property, self.story()));
        }
    }

    /// Notes what is done until the returned mark is [forgotten](Self::forget).
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) -> usize {
        let mark = self.notes.len();
        if self.tracing {
            self.notes.push(text());
        }
        mark
    }

    pub(crate) fn forget(&mut self, mark: usize) {
        self.notes.truncate(mark);
    }

    fn story(&self) -> String {
        self.notes.join("; ")
    }
}
