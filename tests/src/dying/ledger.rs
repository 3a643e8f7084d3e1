//! What the parent knows: what was asked for, answered and served, told before it could be lost. Where the process that asks
//! lives on, a [witness](crate::Witness) keeps what it was answered, and needs no more.
//!
//! Held against a store:
//!
//! - what was answered stands, at the position that was told;
//! - what stands was asked for and may stand, is whole and has the contents that it was asked for with, once;
//! - what an opening of the store has dropped does not come back, unless it is asked for again;
//! - what was served is there, equal in all fields;
//! - positions and versions have no gaps, and conditions held;
//! - every index answers what the log says.

use std::collections::{BTreeMap, BTreeSet};

use eventfold_db::{Error, Query, QueryItem, ReadIndex, RecordedEvent};
use uuid::Uuid;

use super::deed::{Deed, Terms};
use super::word::{Failure, Word, digest, digest_of_all};
use crate::asked::id_of;
use crate::model::is_of;

/// What was heard of one store.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The log, as it was found.
    log: Vec<Entry>,
    /// Where each append stands.
    places: BTreeMap<Deed, u64>,
    /// The positions of each stream's events, and its name.
    streams: BTreeMap<Uuid, (String, Vec<u64>)>,
    /// What is not found yet.
    open: BTreeMap<Deed, Open>,
    /// What was served of a log that was not looked at yet.
    served: Vec<Word>,
    /// The log has been as long as this.
    known_length: u64,
    state: State,
    /// Whether the disk may fail: then errors are nothing to wonder at.
    pub troubled: bool,
    /// How appends have failed.
    failures: BTreeSet<Failure>,
    /// In this life an append has failed so that none that is asked for later is taken.
    stopped: bool,
}

/// How a store was left, as far as it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Perhaps there is none.
    #[default]
    Unknown,
    /// It was open.
    Open,
    /// It was closed, and not opened since.
    Closed,
}

#[derive(Clone, Debug)]
struct Entry {
    digest: u64,
    /// Which of [`Deed::TYPES`].
    event_type: usize,
    client: u8,
}

#[derive(Clone, Debug)]
struct Open {
    terms: Terms,
    /// How often it was asked for without being told that nothing of it is there.
    may_stand: u32,
    answered: Option<u64>,
    /// Whether a client wants it yet.
    wanted: bool,
    /// It was asked for after another append had failed for good.
    too_late: bool,
}

/// A promise that was not kept.
#[derive(Debug)]
pub enum Breach {
    /// An answered append is not there.
    Lost(Deed, u64),
    /// An answered append is elsewhere.
    Moved(Deed, u64, u64),
    /// An append stands here that nobody asked for, or that was refused, or that was gone.
    NobodyAsked(Deed, u64),
    /// An append stands here that stands before.
    Twice(Deed, u64),
    /// An append that stands here is not whole, or has other contents.
    NotAsAsked(Deed, u64),
    /// An event has another position or version.
    Misnumbered(u64),
    /// The condition of the append here did not hold.
    NotAllowed(Deed, u64),
    /// What was served is not there.
    Unserved(Word),
    /// An index says something else than the log.
    WrongIndex(String),
    /// The log is shorter than what was known of it.
    Short(u64, u64),
    /// A child was told what it should not have been.
    Told(Word),
    /// The store could not be read.
    Unreadable(Error),
    /// What opening or verifying says can't be.
    Report(String),
}

impl Ledger {
    /// How many events were found.
    pub fn len(&self) -> u64 {
        self.log.len() as u64
    }

    /// Whether none were found.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// Whether a store was seen here.
    pub fn exists(&self) -> bool {
        self.state != State::Unknown
    }

    /// In which ways appends have failed.
    pub fn failures(&self) -> impl Iterator<Item = Failure> {
        self.failures.iter().copied()
    }

    /// Whether the store was closed, and not opened since.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// It was opened by this process, and left so.
    pub fn looked_at(&mut self, closed: bool) {
        self.state = if closed { State::Closed } else { State::Open };
    }

    /// What is not known to stand and is to be asked for again.
    pub fn again(&self) -> Vec<(Deed, Terms)> {
        self.open.iter().filter(|(_, open)| open.wanted).map(|(deed, open)| (*deed, open.terms)).collect()
    }

    /// Nothing is asked for again. It may stand all the same, until a store is found to be without it.
    pub fn forget(&mut self) {
        self.open.values_mut().for_each(|open| open.wanted = open.answered.is_some());
        self.open.retain(|_, open| open.wanted || open.may_stand > 0);
    }

    /// Takes note of what a child tells.
    ///
    /// # Errors
    ///
    /// If it was told what it should not have been.
    pub fn hear(&mut self, word: Word) -> Result<(), Breach> {
        match word {
            Word::Opening => {
                self.stopped = false;
                if self.state == State::Closed {
                    self.state = State::Open;
                }
            }
            Word::Opened { position } => {
                self.state = State::Open;
                if position < self.known_length {
                    return Err(Breach::Short(position, self.known_length));
                }
                self.known_length = position;
            }
            Word::Asked { deed, terms } => {
                if !self.places.contains_key(&deed) {
                    let too_late = self.stopped;
                    let new = Open { terms, may_stand: 0, answered: None, wanted: true, too_late };
                    let open = self.open.entry(deed).or_insert(new);
                    (open.may_stand, open.too_late) = (open.may_stand + 1, too_late);
                }
            }
            Word::Answered { deed, position } => return self.hear_answer(deed, position),
            Word::Failed { deed, failure, .. } => {
                self.failures.insert(failure);
                self.stopped |= matches!(failure, Failure::Unknown | Failure::Poisoned);
                if !self.troubled || failure == Failure::Other {
                    return Err(Breach::Told(word));
                }
                let refused = failure != Failure::Unknown;
                if refused && let Some(open) = self.open.get_mut(&deed) {
                    open.may_stand -= 1;
                    open.wanted = false;
                    if open.may_stand == 0 {
                        self.open.remove(&deed);
                    }
                }
            }
            Word::Log { to, .. } => {
                self.known_length = self.known_length.max(to);
                return self.hear_served(word);
            }
            Word::Stream { .. } => return self.hear_served(word),
            Word::NotOpened { .. } | Word::NotRead { .. } | Word::NotClosed { .. } if !self.troubled => {
                return Err(Breach::Told(word));
            }
            Word::Panicked { .. } => return Err(Breach::Told(word)),
            Word::Closed => self.state = State::Closed,
            Word::Closing | Word::NotOpened { .. } | Word::NotRead { .. } | Word::NotClosed { .. } => {}
        }
        Ok(())
    }

    fn hear_answer(&mut self, deed: Deed, position: u64) -> Result<(), Breach> {
        if let Some(place) = self.places.get(&deed) {
            return if *place == position { Ok(()) } else { Err(Breach::Moved(deed, *place, position)) };
        }
        let Some(open) = self.open.get_mut(&deed) else { return Err(Breach::NobodyAsked(deed, position)) };
        if open.too_late {
            return Err(Breach::Told(Word::Answered { deed, position }));
        }
        match open.answered.replace(position) {
            Some(before) if before != position => return Err(Breach::Moved(deed, before, position)),
            _ => {}
        }
        let end = position + deed.asked(open.terms).events().count() as u64;
        self.known_length = self.known_length.max(end);
        Ok(())
    }

    fn hear_served(&mut self, word: Word) -> Result<(), Breach> {
        match self.was_served(&word) {
            Some(true) => {}
            Some(false) => return Err(Breach::Unserved(word)),
            None => self.served.push(word),
        }
        Ok(())
    }

    /// Whether this can have been served; `None` where it is not known yet.
    fn was_served(&self, word: &Word) -> Option<bool> {
        let digests = |positions: &[u64]| digest_of_all(positions.iter().map(|position| self.entry(*position).digest));
        match word {
            Word::Log { from, to, digest } => {
                let (from, to) = (index(*from), index(*to));
                let entries = self.log.get(from..to)?;
                Some(digest_of_all(entries.iter().map(|entry| entry.digest)) == *digest)
            }
            Word::Stream { name, from, count, digest } => {
                let (_, positions) = self.streams.get(&id_of(name))?;
                let positions = positions.get(index(*from)..index(from + count))?;
                Some(digests(positions) == *digest)
            }
            _ => Some(true),
        }
    }

    fn entry(&self, position: u64) -> &Entry {
        &self.log[index(position)]
    }

    /// Takes the rest of the log, from the event on that was not found before, as a store says that it is now. Appends that
    /// are not in it are gone.
    ///
    /// # Errors
    ///
    /// What is not as it was promised.
    pub fn take(&mut self, events: &[RecordedEvent]) -> Result<Taken, Breach> {
        let mut rest = events;
        let mut taken = Taken::default();
        while let Some(first) = rest.first() {
            let (deed, position) = (Deed::of_event(first.event_id), self.len());
            if self.places.contains_key(&deed) {
                return Err(Breach::Twice(deed, position));
            }
            let open = self.open.remove(&deed).filter(|open| open.may_stand > 0);
            let open = open.ok_or(Breach::NobodyAsked(deed, position))?;
            let asked = deed.asked(open.terms);
            let stored = rest.get(..asked.events().count()).filter(|stored| is_of(&asked, stored));
            let stored = stored.ok_or(Breach::NotAsAsked(deed, position))?;
            let wanted = match open.terms {
                Terms::At(version) => Some(version.map_or(0, |version| version + 1)),
                Terms::Any | Terms::Fresh => None,
            };
            if wanted.is_some_and(|version| version != first.stream_version) {
                return Err(Breach::NotAllowed(deed, position));
            }
            if let Some(answered) = open.answered.filter(|answered| *answered != position) {
                return Err(Breach::Moved(deed, answered, position));
            }
            taken.unanswered += u64::from(open.answered.is_none());
            taken.answered += u64::from(open.answered.is_some());
            let names = asked.runs.iter().flat_map(|(name, events)| events.iter().map(move |_| name));
            for (event, name) in stored.iter().zip(names) {
                self.push(event, name, deed)?;
            }
            self.places.insert(deed, position);
            rest = &rest[stored.len()..];
        }
        if let Some((deed, answered)) = self.open.iter().find_map(|(deed, open)| Some((*deed, open.answered?))) {
            return Err(Breach::Lost(deed, answered));
        }
        for word in std::mem::take(&mut self.served) {
            if self.was_served(&word) != Some(true) {
                return Err(Breach::Unserved(word));
            }
        }
        if self.len() < self.known_length {
            return Err(Breach::Short(self.len(), self.known_length));
        }
        self.known_length = self.len();
        taken.gone = self.open.values().filter(|open| open.may_stand > 0).count() as u64;
        self.open.values_mut().for_each(|open| open.may_stand = 0);
        self.open.retain(|_, open| open.wanted);
        Ok(taken)
    }

    fn push(&mut self, event: &RecordedEvent, name: &str, deed: Deed) -> Result<(), Breach> {
        let position = self.len();
        let (_, positions) = self.streams.entry(event.stream_id).or_insert_with(|| (name.to_owned(), Vec::new()));
        if (event.global_position, event.stream_version) != (position, positions.len() as u64) {
            return Err(Breach::Misnumbered(position));
        }
        positions.push(position);
        let event_type = Deed::TYPES.iter().position(|name| **name == *event.event_type);
        let event_type = event_type.expect("it was compared with what was asked for");
        self.log.push(Entry { digest: digest(event), event_type, client: deed.client() });
        Ok(())
    }

    /// Holds what reading says, by the log and by every index, against what was found from this position on.
    ///
    /// # Errors
    ///
    /// What is not the same.
    pub fn compare(&self, reads: &ReadIndex, from: u64) -> Result<(), Breach> {
        let wrong = |what: String| Err(Breach::WrongIndex(what));
        let same = |found: &[RecordedEvent], wanted: &mut dyn Iterator<Item = u64>| {
            found.iter().map(digest).eq(wanted.map(|position| self.entry(position).digest))
        };
        let found = reads.read_all(from, u64::MAX).map_err(Breach::Unreadable)?;
        if reads.global_position() != self.len() || !same(&found, &mut (from..self.len())) {
            return wrong(format!("the log from {from} on"));
        }
        for (id, (name, positions)) in &self.streams {
            let version = reads.stream_version(*id).map_err(Breach::Unreadable)?;
            let first = positions.partition_point(|position| *position < from);
            let found = reads.read_stream(name, first as u64, u64::MAX).map_err(Breach::Unreadable)?;
            let is_same = same(&found, &mut positions[first..].iter().copied());
            if version != Some(positions.len() as u64 - 1) || !is_same {
                return wrong(format!("stream {name} from version {first} on, version {version:?}"));
            }
        }
        let names = self.streams.values().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
        let listed = reads.streams("", None, usize::MAX).map_err(Breach::Unreadable)?;
        let listed = listed.into_iter().filter_map(|info| Some(info.name?.to_string())).collect::<BTreeSet<_>>();
        if listed != names {
            return wrong(format!("streams {listed:?}, not {names:?}"));
        }
        for (kind, event_type) in Deed::TYPES.into_iter().enumerate() {
            let query = QueryItem::new().types([event_type]);
            let found = reads.query(Query::from(query), from, u64::MAX).map_err(Breach::Unreadable)?;
            let mut wanted = (from..self.len()).filter(|position| self.entry(*position).event_type == kind);
            if !same(&found, &mut wanted) {
                return wrong(format!("type {event_type} from {from} on"));
            }
        }
        for client in 0..Deed::CLIENTS {
            let query = QueryItem::new().tags([Deed::client_tag(client)]);
            let found = reads.query(Query::from(query), from, u64::MAX).map_err(Breach::Unreadable)?;
            let mut wanted = (from..self.len()).filter(|position| self.entry(*position).client == client);
            if !same(&found, &mut wanted) {
                return wrong(format!("tag of client {client} from {from} on"));
            }
        }
        Ok(())
    }
}

/// What was found of what was not known to stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Appends that were answered.
    pub answered: u64,
    /// Appends that were not answered, and stand.
    pub unanswered: u64,
    /// Appends that were not answered, and are not there.
    pub gone: u64,
}

fn index(position: u64) -> usize {
    usize::try_from(position).expect("the log is in memory")
}

#[cfg(test)]
mod tests;
