//! What became of a damaged store: everything is read, by key and in a row, and held against what was acknowledged.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use crate::engine::{Engine, Event};

/// What became of a damaged store, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Every event is served right.
    Unharmed,
    /// The same, and opening told that something was made again.
    Healed,
    /// Events are gone for which the store could not vouch before it was damaged either, the last append of a process that was
    /// killed, and opening told so.
    End,
    /// More than that is gone from the log's end, and opening told that it can't vouch for the end from before them on.
    EarlierEnd,
    /// What is not served right is answered with errors.
    Told,
    /// Opening is an error.
    Refused,
    /// A file was replaced by an older one, and everything that had been acknowledged by then is served, and nothing else.
    RolledBack,
    /// An event is missing, and nothing tells.
    Missing,
    /// Something else than what was stored is served.
    Wrong,
    /// A panic, an abort, more than the memory allowed, or no end.
    Crashed,
}

impl Class {
    pub(crate) const ALL: [Self; 10] = [
        Self::Unharmed,
        Self::Healed,
        Self::End,
        Self::EarlierEnd,
        Self::Told,
        Self::Refused,
        Self::RolledBack,
        Self::Missing,
        Self::Wrong,
        Self::Crashed,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unharmed => "unharmed",
            Self::Healed => "healed",
            Self::End => "end told",
            Self::EarlierEnd => "earlier end told",
            Self::Told => "told",
            Self::Refused => "refused",
            Self::RolledBack => "rolled back",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Crashed => "crashed",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::Missing | Self::Wrong)
    }
}

/// What is known of the store before it was damaged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// All events.
    pub(crate) acknowledged: &'a [Event],
    /// From which position on opening it sound told that it can't vouch for the log's end.
    pub(crate) unproven_from: Option<u64>,
    /// How many events there were when a file was as it is now, where it is an older one.
    pub(crate) earlier: Option<usize>,
}

/// Opens the store and reads everything. Returns what became of it, and the first thing that shows it.
pub(crate) fn judge(engine: &dyn Engine, directory: &Path, known: &Known<'_>) -> (Class, String) {
    let opened = match engine.open(directory) {
        Ok(opened) => opened,
        Err(why) => return (Class::Refused, why),
    };
    let note = opened.note();
    let mut findings = vec![(if note.healed { Class::Healed } else { Class::Unharmed }, String::new())];
    let absences = RefCell::new(BTreeSet::new());
    let absent = |position: u64| {
        absences.borrow_mut().insert(position);
        let within = |from: Option<u64>| from.is_some_and(|from| position >= from);
        let class = match (within(note.unproven_from), within(known.unproven_from)) {
            (false, _) => Class::Missing,
            (true, true) => Class::End,
            (true, false) => Class::EarlierEnd,
        };
        (class, format!("{position} is absent"))
    };
    let acknowledged = known.acknowledged;
    for (position, payload) in acknowledged {
        match opened.get(*position) {
            Ok(Some(found)) if found == *payload => {}
            Ok(Some(_)) => findings.push((Class::Wrong, format!("another event by key at {position}"))),
            Ok(None) => findings.push(absent(*position)),
            Err(why) => findings.push((Class::Told, why)),
        }
    }
    let end = acknowledged.len() as u64;
    if let Ok(Some(_)) = opened.get(end) {
        findings.push((Class::Wrong, "an event by key that was not stored".to_owned()));
    }
    let mut next = 0;
    let scanned = opened.scan(&mut |position, payload| {
        let right = usize::try_from(position).ok().and_then(|position| acknowledged.get(position));
        if position < next || right.is_none_or(|(_, right)| right != payload) {
            findings.push((Class::Wrong, format!("another event in a row at {position}")));
            return;
        }
        findings.extend((next..position).map(absent));
        next = position + 1;
    });
    match scanned {
        Ok(()) => findings.extend((next..end).map(absent)),
        Err(why) => findings.push((Class::Told, why)),
    }
    let gone: BTreeSet<u64> = absences.into_inner();
    if known.earlier.is_some_and(|earlier| gone == (earlier as u64..end).collect()) {
        // That the end is not proven is what a store tells that was killed, whatever it had.
        for (class, _) in &mut findings {
            if matches!(class, Class::Missing | Class::End | Class::EarlierEnd) {
                *class = Class::RolledBack;
            }
        }
    }
    // The worst counts; of those, the first.
    findings.into_iter().rev().max_by_key(|(class, _)| *class).expect("there is one")
}
