//! What a log is, in a few lists: too simple to be wrong in the same way as the store.
//!
//! It is made of a whole log, and says what was true when that log had fewer events. Streams have the same name from their
//! first event on, or never one. Long logs are answered about as fast as short ones: where events are looked for, those alone
//! are looked at that have the rarest thing that is asked for.

use std::collections::BTreeMap;
use std::ops::Range;

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
    streams: BTreeMap<Uuid, Vec<usize>>,
    types: BTreeMap<String, Vec<usize>>,
    tags: BTreeMap<String, Vec<usize>>,
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
        let mut streams: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
        let (mut types, mut tags) = (BTreeMap::new(), BTreeMap::new());
        for (place, event) in events.iter().enumerate() {
            list(&mut streams, event.stream_id, place);
            list(&mut types, event.event_type.to_string(), place);
            event.tags.iter().for_each(|tag| list(&mut tags, tag.to_string(), place));
        }
        Self { events, names, borders, places, streams, types, tags }
    }

    /// The whole log.
    pub fn events(&self) -> &[RecordedEvent] {
        &self.events
    }

    /// How long the log has been, between these lengths: appends are whole or not there.
    pub fn lengths(&self, least: u64, most: u64) -> impl Iterator<Item = usize> {
        let from = self.borders.partition_point(|border| (*border as u64) < least);
        let to = self.borders.partition_point(|border| *border as u64 <= most);
        self.borders.get(from..to).unwrap_or_default().iter().copied()
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
                let from = after.map_or(0, |after| usize::try_from(after).unwrap_or(usize::MAX).saturating_add(1));
                let found = self.matching(items, from.min(length)..length, 1, false);
                found.first().map(|found| FailedCondition::Match { index, position: found.global_position })
            }
        }
    }

    /// The version of a stream's last event when the log had this length.
    pub fn version(&self, stream: &str, length: usize) -> Option<u64> {
        (self.places_in(&id_of(stream), length).len() as u64).checked_sub(1)
    }

    /// A stream's events when the log had this length, by version.
    pub fn stream(
        &self,
        stream: &str,
        length: usize,
    ) -> impl DoubleEndedIterator<Item = &RecordedEvent> + ExactSizeIterator {
        self.places_in(&id_of(stream), length).iter().map(|place| &self.events[*place])
    }

    fn places_in(&self, stream: &Uuid, length: usize) -> &[usize] {
        below(self.streams.get(stream).map_or(&[], Vec::as_slice), length)
    }

    /// The first events among these places that match one of the items, or any where there are none; `backward` the last, the
    /// last first. No more than `max_count`.
    pub fn matching(
        &self,
        items: &[Criteria],
        among: Range<usize>,
        max_count: usize,
        backward: bool,
    ) -> Vec<&RecordedEvent> {
        let any = [Criteria::default()];
        let mut found = Vec::new();
        for item in if items.is_empty() { &any } else { items } {
            let places: Box<dyn DoubleEndedIterator<Item = usize>> = match self.rarest(item) {
                Some(places) => {
                    let from = places.partition_point(|place| *place < among.start);
                    Box::new(below(&places[from..], among.end).iter().copied())
                }
                None => Box::new(among.clone()),
            };
            let matches = |place: &usize| self.matches_item(item, &self.events[*place]);
            if backward {
                found.extend(places.rev().filter(matches).take(max_count));
            } else {
                found.extend(places.filter(matches).take(max_count));
            }
        }
        found.sort_unstable();
        found.dedup();
        if backward {
            found.reverse();
        }
        found.into_iter().take(max_count).map(|place| &self.events[place]).collect()
    }

    /// The places of the events that have what the fewest have of what is asked for. `None`: of all.
    fn rarest(&self, item: &Criteria) -> Option<&[usize]> {
        let of_tags = item.tags.iter().map(|tag| self.tags.get(tag));
        let of_type = (item.types.len() == 1).then(|| self.types.get(&item.types[0]));
        let of_stream = item.stream.as_ref().map(|stream| self.streams.get(&id_of(stream)));
        let lists = of_tags.chain(of_type).chain(of_stream).map(|places| places.map_or(&[][..], Vec::as_slice));
        lists.min_by_key(|places| places.len())
    }

    /// Whether an event matches one of the items, or there are none.
    pub fn matches(&self, items: &[Criteria], event: &RecordedEvent) -> bool {
        items.is_empty() || items.iter().any(|item| self.matches_item(item, event))
    }

    fn matches_item(&self, item: &Criteria, event: &RecordedEvent) -> bool {
        let name = self.names.get(&event.stream_id);
        (item.types.is_empty() || item.types.iter().any(|wanted| *wanted == *event.event_type))
            && item.tags.iter().all(|wanted| event.tags.iter().any(|tag| **tag == **wanted))
            && item.stream.as_ref().is_none_or(|stream| name == Some(stream))
            && item.prefix.as_ref().is_none_or(|prefix| name.is_some_and(|name| begins(name, prefix)))
    }
}

fn list<K: Ord>(lists: &mut BTreeMap<K, Vec<usize>>, key: K, place: usize) {
    lists.entry(key).or_default().push(place);
}

fn below(places: &[usize], length: usize) -> &[usize] {
    &places[..places.partition_point(|place| *place < length)]
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
