//! What a log is, in a few lists: too simple to be wrong in the same way as the store.
//!
//! It is made of a whole log, and says what was true when that log had fewer events. Streams have the same name from their
//! first event on, or never one.

use std::collections::BTreeMap;

use eventfold_db::{ExpectedVersion, FailedCondition, RecordedEvent, StreamRef};
use uuid::Uuid;

use crate::asked::{Asked, Condition, Criteria, id_of};

/// A log, and where its appends begin.
#[derive(Clone, Debug)]
pub struct Model {
    events: Vec<RecordedEvent>,
    /// What the streams are called, be it a name or an id.
    names: BTreeMap<Uuid, String>,
    /// The place of each append's first event, and behind the last one the end.
    borders: Vec<usize>,
    /// The place of each append, by the id of its first event.
    places: BTreeMap<Uuid, usize>,
}

/// What becomes of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// Its conditions hold.
    Accepted,
    /// It stands at this place already.
    Duplicate(usize),
    /// Another append stands there that has the id of its first event.
    OtherAppend(usize),
    /// These conditions don't hold.
    Failed(Vec<FailedCondition>),
}

impl Model {
    /// Of this log, whose appends begin at these places, and whose streams are called so.
    pub fn new(events: Vec<RecordedEvent>, mut borders: Vec<usize>, names: impl IntoIterator<Item = String>) -> Self {
        let places = borders.iter().map(|place| (events[*place].event_id, *place)).collect();
        borders.push(events.len());
        let names = names.into_iter().map(|name| (id_of(&name), name)).collect();
        Self { events, names, borders, places }
    }

    /// The whole log.
    pub fn events(&self) -> &[RecordedEvent] {
        &self.events
    }

    /// How long the log has been, between these lengths: appends are whole or not there.
    pub fn lengths(&self, least: u64, most: u64) -> impl Iterator<Item = usize> {
        let between = move |border: &usize| (least..=most).contains(&(*border as u64));
        self.borders.iter().copied().filter(between)
    }

    /// Where an append ends that begins at this place.
    pub fn end_of(&self, place: usize) -> usize {
        self.borders[self.borders.partition_point(|border| *border <= place)]
    }

    /// What became of an append when the log had this length.
    pub fn decide(&self, asked: &Asked, length: usize) -> Decided {
        if let Some((_, first)) = asked.events().next()
            && let Some(id) = first.event_id
            && let Some(place) = self.places.get(&id).copied().filter(|place| *place < length)
        {
            let same = is_of(asked, &self.events[place..self.end_of(place)]);
            return if same { Decided::Duplicate(place) } else { Decided::OtherAppend(place) };
        }
        let failed: Vec<_> = (asked.conditions.iter().enumerate())
            .filter_map(|(index, condition)| self.fails(index, condition, length))
            .collect();
        if failed.is_empty() { Decided::Accepted } else { Decided::Failed(failed) }
    }

    fn fails(&self, index: usize, condition: &Condition, length: usize) -> Option<FailedCondition> {
        match condition {
            Condition::Version(stream, expected) => {
                let (actual, expected) = (self.version(stream, length), *expected);
                let holds = match expected {
                    ExpectedVersion::Any => true,
                    ExpectedVersion::NoStream => actual.is_none(),
                    ExpectedVersion::Exists => actual.is_some(),
                    ExpectedVersion::Exact(version) => actual == Some(version),
                };
                let name = StreamRef::from(stream).resolve().expect("its id was asked for before").name;
                let stream_id = id_of(stream);
                (!holds).then_some(FailedCondition::Version { index, stream_id, name, expected, actual })
            }
            Condition::NoMatch(items, after) => {
                let counts = |event: &&RecordedEvent| after.is_none_or(|after| event.global_position > after);
                let found = self.events[..length].iter().filter(counts).find(|event| self.matches(items, event))?;
                Some(FailedCondition::Match { index, position: found.global_position })
            }
        }
    }

    /// The version of a stream's last event when the log had this length.
    pub fn version(&self, stream: &str, length: usize) -> Option<u64> {
        let id = id_of(stream);
        let count = self.events[..length].iter().filter(|event| event.stream_id == id).count();
        (count as u64).checked_sub(1)
    }

    /// Whether an event matches one of the items, or there are none.
    pub fn matches(&self, items: &[Criteria], event: &RecordedEvent) -> bool {
        let name = self.names.get(&event.stream_id);
        let item_matches = |item: &Criteria| {
            (item.types.is_empty() || item.types.iter().any(|wanted| *wanted == *event.event_type))
                && item.tags.iter().all(|wanted| event.tags.iter().any(|tag| **tag == **wanted))
                && item.stream.as_ref().is_none_or(|stream| name == Some(stream))
                && item.prefix.as_ref().is_none_or(|prefix| name.is_some_and(|name| begins(name, prefix)))
        };
        items.is_empty() || items.iter().any(item_matches)
    }
}

/// Whether it is a name, rather than an id, that begins so.
fn begins(name: &str, prefix: &str) -> bool {
    name.starts_with(prefix) && Uuid::try_parse(name).is_err()
}

/// Whether these are the whole append's events.
pub(crate) fn is_of(asked: &Asked, stored: &[RecordedEvent]) -> bool {
    stored.len() == asked.events().count()
        && stored.iter().zip(asked.events()).all(|(stored, (stream, event))| {
            stored.stream_id == stream
                && Some(stored.event_id) == event.event_id
                && stored.event_type == event.event_type
                && stored.tags == event.tags
                && stored.metadata == event.metadata
                && stored.payload == event.payload
        })
}
