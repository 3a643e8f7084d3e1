//! Exhaustive search, breadth first, so that the first counterexample is a shortest one.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasherDefault, Hasher};

use crate::moves::Moves;
use crate::property::Property;
use crate::scope::Scope;
use crate::state::State;

/// What a search came to.
pub(crate) struct Outcome {
    /// States between two recoveries, or before one. The steps within are not counted.
    pub(crate) states: usize,
    pub(crate) moves: usize,
    pub(crate) depth: usize,
    /// Recoveries given up because the tiny disk was full.
    pub(crate) full: u64,
    /// The property that was broken, and how.
    pub(crate) counterexample: Option<(Property, String)>,
}

/// Fingerprints need no more hashing.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        unreachable!("only whole fingerprints are hashed, not {bytes:?}")
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

/// Of each state seen, the state it was first reached from.
type Seen = HashMap<u64, u64, BuildHasherDefault<AsIs>>;

/// Visits every state of `scope`, or as many as it takes to find one that breaks a property.
///
/// States are known by sixty-four bits: among ten million, the chance that two share them is one in four hundred
/// thousand.
pub(crate) fn search(scope: &Scope) -> Outcome {
    let start = State::new(scope);
    let mut seen = Seen::default();
    seen.insert(start.fingerprint(), 0);
    let mut layer = vec![start];
    let mut found = Moves::new(scope, false);
    let mut outcome = Outcome { states: 0, moves: 0, depth: 0, full: 0, counterexample: None };
    while !layer.is_empty() {
        let mut next = Vec::new();
        for state in layer {
            found.explore(&state);
            let from = state.fingerprint();
            if let Some((property, _)) = found.violation {
                outcome.states = seen.len();
                outcome.counterexample = Some((property, trace(scope, &seen, from)));
                return outcome;
            }
            outcome.moves += found.states.len();
            for state in found.states.drain(..) {
                seen.entry(state.fingerprint()).or_insert_with(|| {
                    next.push(state);
                    from
                });
            }
        }
        layer = next;
        outcome.depth += 1;
    }
    outcome.states = seen.len();
    outcome.full = found.full;
    outcome
}

/// Tells how the state `last` is reached, and what breaks there.
fn trace(scope: &Scope, seen: &Seen, last: u64) -> String {
    let mut path = vec![last];
    while let Some(from) = seen.get(path.last().expect("it starts with one")).filter(|from| **from != 0) {
        path.push(*from);
    }
    let mut state = State::new(scope);
    let mut text = String::new();
    let mut moves = Moves::new(scope, true);
    for (number, fingerprint) in path.iter().rev().skip(1).enumerate() {
        moves.explore(&state);
        let taken = moves
            .states
            .iter()
            .position(|state| state.fingerprint() == *fingerprint)
            .expect("the search came this way");
        state = moves.states[taken].clone();
        let story = &moves.stories[taken];
        let _ = writeln!(text, "  {}. {story}\n{}", number + 1, state.describe(scope));
    }
    moves.explore(&state);
    let (property, story) = moves.violation.expect("the search found one here");
    let _ = write!(text, "  Then: {story}.\n  So {property}.");
    text
}
