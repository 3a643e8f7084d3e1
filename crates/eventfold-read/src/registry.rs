//! Who waits for what: the terms that events have, and the positions that the log reaches.
//!
//! Whoever follows the log passes every event through the registry. It tells who is to be woken; nobody who waits for
//! something else is looked at.
//!
//! A waiter says up to where it has `seen` the log. It sleeps only if no event behind that, among those that have passed since it
//! was registered, has a term of its own. So whatever happens between its last look at the log and its going to sleep,
//! either the look has seen it or the registry knows of it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

use eventfold_store::WatchedTerm;
use uuid::Uuid;

/// With a fixed hasher: nothing depends on the order, and runs repeat.
type Map<K> = HashMap<K, Term, BuildHasherDefault<DefaultHasher>>;

/// The waiters of one log. `W` is what wakes one.
#[derive(Clone, Debug)]
pub(crate) struct Registry<W> {
    /// All events below have passed.
    passed: u64,
    ended: bool,
    next_id: u64,
    waiters: BTreeMap<u64, Waiter<W>>,
    /// Those that sleep until an event comes, whichever it is, at or behind what they have seen.
    any: BTreeSet<(u64, u64)>,
    streams: Map<Uuid>,
    types: Map<Box<str>>,
    tags: Map<Box<str>>,
    /// Those that sleep until the log is at a position.
    positions: BTreeSet<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct Waiter<W> {
    terms: Vec<WatchedTerm>,
    asleep: Option<Asleep<W>>,
}

/// What is known of a waiter while it sleeps.
#[derive(Clone, Debug)]
struct Asleep<W> {
    /// What wakes it.
    wake: W,
    /// It has looked at everything below, so no event there wakes it.
    seen: u64,
    /// The position that wakes it.
    at: u64,
}

/// A term that somebody waits for.
#[derive(Clone, Debug)]
struct Term {
    /// No event at or behind this that has passed has the term.
    after_last: u64,
    /// Those who sleep until an event has it. One who was woken for something else meanwhile may still be among them.
    asleep: BTreeSet<u64>,
    users: usize,
}

/// What somebody may wait for of an event.
pub(crate) struct Passing<'i, 't> {
    pub(crate) position: u64,
    pub(crate) stream: Uuid,
    pub(crate) event_type: &'t str,
    pub(crate) tags: &'i mut dyn Iterator<Item = &'t str>,
}

impl<W> Registry<W> {
    pub(crate) fn new(passed: u64) -> Self {
        Self {
            passed,
            ended: false,
            next_id: 0,
            waiters: BTreeMap::new(),
            any: BTreeSet::new(),
            streams: Map::default(),
            types: Map::default(),
            tags: Map::default(),
            positions: BTreeSet::new(),
        }
    }

    /// All events below have passed.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Whether somebody waits for some events and not for others, so that they have to be looked at.
    pub(crate) fn needs_events(&self) -> bool {
        !(self.streams.is_empty() && self.types.is_empty() && self.tags.is_empty())
    }

    /// Nobody waits: what comes below this position needs not pass.
    pub(crate) fn start_at(&mut self, position: u64) {
        debug_assert!(self.is_empty(), "somebody may wait for what is left out");
        self.passed = self.passed.max(position);
    }

    pub(crate) fn register(&mut self, mut terms: Vec<WatchedTerm>) -> u64 {
        if terms.contains(&WatchedTerm::Any) {
            terms = vec![WatchedTerm::Any];
        }
        let passed = self.passed;
        for term in &terms {
            // Nobody has looked for it in what has passed before, so it may be there.
            let new = || Term { after_last: passed, asleep: BTreeSet::new(), users: 0 };
            match term {
                WatchedTerm::Any => continue,
                WatchedTerm::Stream(id) => self.streams.entry(*id).or_insert_with(new),
                WatchedTerm::Type(text) => self.types.entry(text.clone()).or_insert_with(new),
                WatchedTerm::Tag(text) => self.tags.entry(text.clone()).or_insert_with(new),
            }
            .users += 1;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.waiters.insert(id, Waiter { terms, asleep: None });
        id
    }

    /// Returns what would have woken it, which is not to be dropped under a lock: that can run anything.
    #[must_use]
    pub(crate) fn unregister(&mut self, id: u64) -> Option<W> {
        let waiter = self.waiters.remove(&id)?;
        for term in &waiter.terms {
            match term {
                WatchedTerm::Any => {}
                WatchedTerm::Stream(stream) => leave(&mut self.streams, stream, id),
                WatchedTerm::Type(text) => leave(&mut self.types, text, id),
                WatchedTerm::Tag(text) => leave(&mut self.tags, text, id),
            }
        }
        waiter.asleep.map(|Asleep { wake, seen, at }| {
            self.any.remove(&(seen, id));
            self.positions.remove(&(at, id));
            wake
        })
    }

    /// Puts a waiter to sleep that has looked at everything below `seen`, until there is something for it or the log is at
    /// `at`. Returns whether it sleeps. What is not needed goes to `unneeded`, to be dropped elsewhere.
    #[must_use]
    pub(crate) fn sleep(&mut self, id: u64, seen: u64, at: u64, wake: W, unneeded: &mut Vec<W>) -> bool {
        let Some(waiter) = self.waiters.get_mut(&id) else {
            unneeded.push(wake);
            return false;
        };
        if let Some(before) = waiter.asleep.take() {
            self.any.remove(&(before.seen, id));
            self.positions.remove(&(before.at, id));
            unneeded.push(before.wake);
        }
        let missed = |term: &WatchedTerm| match term {
            WatchedTerm::Any => self.passed > seen,
            WatchedTerm::Stream(stream) => self.streams.get(stream).is_some_and(|term| term.after_last > seen),
            WatchedTerm::Type(text) => self.types.get(text).is_some_and(|term| term.after_last > seen),
            WatchedTerm::Tag(text) => self.tags.get(text).is_some_and(|term| term.after_last > seen),
        };
        if self.ended || self.passed >= at || waiter.terms.iter().any(missed) {
            unneeded.push(wake);
            return false;
        }
        for term in &waiter.terms {
            let term = match term {
                WatchedTerm::Any => {
                    self.any.insert((seen, id));
                    None
                }
                WatchedTerm::Stream(stream) => self.streams.get_mut(stream),
                WatchedTerm::Type(text) => self.types.get_mut(text),
                WatchedTerm::Tag(text) => self.tags.get_mut(text),
            };
            term.map(|term| term.asleep.insert(id));
        }
        self.positions.insert((at, id));
        waiter.asleep = Some(Asleep { wake, seen, at });
        true
    }

    /// Passes an event, and adds to `woken` whom it wakes.
    pub(crate) fn pass(&mut self, event: Passing<'_, '_>, woken: &mut Vec<W>) {
        let Passing { position, stream, event_type, tags } = event;
        if position < self.passed {
            return;
        }
        let after = position + 1;
        let mut sleepers =
            Sleepers { waiters: &mut self.waiters, any: &mut self.any, positions: &mut self.positions, woken };
        if let Some(term) = self.streams.get_mut(&stream) {
            term.meet(after, &mut sleepers);
        }
        if !self.types.is_empty()
            && let Some(term) = self.types.get_mut(event_type)
        {
            term.meet(after, &mut sleepers);
        }
        if !self.tags.is_empty() {
            for tag in tags {
                if let Some(term) = self.tags.get_mut(tag) {
                    term.meet(after, &mut sleepers);
                }
            }
        }
        self.move_to(after, woken);
    }

    /// All events below `head` have passed, of which nobody but those who wait for any had to be told.
    pub(crate) fn move_to(&mut self, head: u64, woken: &mut Vec<W>) {
        self.passed = self.passed.max(head);
        let mut sleepers =
            Sleepers { waiters: &mut self.waiters, any: &mut self.any, positions: &mut self.positions, woken };
        while let Some((seen, id)) = sleepers.any.first().copied()
            && seen < self.passed
        {
            sleepers.wake(id);
        }
        while let Some((at, id)) = sleepers.positions.first().copied()
            && at <= self.passed
        {
            sleepers.wake(id);
        }
    }

    /// All events below `head` have passed and could not be looked at: anybody may have missed one.
    pub(crate) fn pass_unseen(&mut self, head: u64, woken: &mut Vec<W>) {
        let mut sleepers =
            Sleepers { waiters: &mut self.waiters, any: &mut self.any, positions: &mut self.positions, woken };
        for term in self.streams.values_mut().chain(self.types.values_mut()).chain(self.tags.values_mut()) {
            term.meet(head, &mut sleepers);
        }
        self.move_to(head, woken);
    }

    /// Nothing more is coming: wakes everybody, and nobody sleeps again.
    pub(crate) fn end(&mut self, woken: &mut Vec<W>) {
        self.ended = true;
        woken.extend(self.waiters.values_mut().filter_map(|waiter| waiter.asleep.take()).map(|asleep| asleep.wake));
        self.any.clear();
        self.positions.clear();
    }
}

impl Term {
    /// An event has the term, the last one below `after`.
    fn meet<W>(&mut self, after: u64, sleepers: &mut Sleepers<'_, W>) {
        // Events that could not be looked at may end before one that has passed already.
        self.after_last = self.after_last.max(after);
        self.asleep.retain(|id| match sleepers.seen(*id) {
            Some(seen) if seen >= after => true,
            Some(_) => {
                sleepers.wake(*id);
                false
            }
            None => false,
        });
    }
}

/// All who may be woken, and those who are.
struct Sleepers<'r, W> {
    waiters: &'r mut BTreeMap<u64, Waiter<W>>,
    any: &'r mut BTreeSet<(u64, u64)>,
    positions: &'r mut BTreeSet<(u64, u64)>,
    woken: &'r mut Vec<W>,
}

impl<W> Sleepers<'_, W> {
    /// Up to where a waiter has seen the log, if it sleeps.
    fn seen(&self, id: u64) -> Option<u64> {
        self.waiters.get(&id)?.asleep.as_ref().map(|asleep| asleep.seen)
    }

    /// Wakes a waiter that sleeps.
    fn wake(&mut self, id: u64) {
        if let Some(Asleep { wake, seen, at }) = self.waiters.get_mut(&id).and_then(|waiter| waiter.asleep.take()) {
            self.any.remove(&(seen, id));
            self.positions.remove(&(at, id));
            self.woken.push(wake);
        }
    }
}

fn leave<K: std::hash::Hash + Eq + std::borrow::Borrow<Q>, Q: std::hash::Hash + Eq + ?Sized>(
    terms: &mut Map<K>,
    key: &Q,
    id: u64,
) {
    if let Some(term) = terms.get_mut(key) {
        term.asleep.remove(&id);
        term.users -= 1;
        if term.users == 0 {
            terms.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_was_seen_wakes_nobody_and_the_rest_of_its_group_neither() {
        let mut registry = Registry::new(0);
        let (stream, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let everything = registry.register(vec![WatchedTerm::Any]);
        let filtered = registry.register(vec![WatchedTerm::Stream(stream)]);
        let (mut woken, mut unneeded) = (Vec::new(), Vec::new());
        assert!(registry.sleep(everything, 3, u64::MAX, "everything", &mut unneeded));
        assert!(registry.sleep(filtered, 2, u64::MAX, "filtered", &mut unneeded));
        let mut pass = |registry: &mut Registry<&'static str>, position, stream| {
            let event = Passing { position, stream, event_type: "T", tags: &mut std::iter::empty() };
            registry.pass(event, &mut woken);
            std::mem::take(&mut woken)
        };
        assert!(pass(&mut registry, 0, stream).is_empty());
        assert!(pass(&mut registry, 1, stream).is_empty());
        assert_eq!(pass(&mut registry, 2, stream), ["filtered"]);
        assert_eq!(pass(&mut registry, 3, other), ["everything"]);
        // It has read on to the end of the group, of which the rest passes.
        assert!(registry.sleep(everything, 6, u64::MAX, "everything", &mut unneeded));
        assert!(pass(&mut registry, 4, other).is_empty());
        assert!(pass(&mut registry, 5, stream).is_empty());
        assert_eq!(pass(&mut registry, 6, stream), ["everything"]);
        assert!(!registry.sleep(filtered, 6, u64::MAX, "filtered", &mut unneeded), "it has not seen the last");
        assert_eq!(unneeded, ["filtered"]);
    }
}
