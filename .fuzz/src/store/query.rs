//! Queries and conditions, evaluated through the index and by looking at every event.

use std::ops::ControlFlow;
use std::sync::{LazyLock, Mutex, PoisonError};

use eventfold_io::sim::Keep;
use eventfold_store::{
    Append, BatchLimits, Direction, Error, ExpectedVersion, FailedCondition, InvalidQuery, InvalidStreamName,
    MAX_CONDITION_TERMS, MAX_CONDITIONS, NO_STREAM, ProposedEvent, Query, QueryItem, RecordedEvent, Snapshot, Store,
    StreamName, StreamRef, WatchedTerm,
};
use uuid::Uuid;

use super::scenario::{World, id};
use crate::shared::reader::Reader;

const ITEMS_MAX: usize = 128;
const TYPES_MAX: usize = 256;
const TAGS_MAX: usize = 64;
const TEXT_MAX: usize = 256;
const NAME_MAX: usize = 512;

const TYPES: [&str; 6] = ["Opened", "Opene", "Opened2", "Closed", "Ä", "rare"];
const TAGS: [&str; 7] = ["all", "a", "ab", "b", "even", "third", "rare"];
const STREAMS: [&str; 7] = ["order-1", "order-10", "order-2", "ordes", "o", "é", "late"];

/// A log that stays as it is, and all there is to know of it.
struct Known {
    /// Appends to it are refused, so that it is never changed.
    store: Mutex<Store>,
    /// Ascending; the last one sees all.
    snapshots: Vec<Snapshot>,
    /// With the name that the event's stream had by then.
    events: Vec<(RecordedEvent, Option<StreamName>)>,
}

static LOGS: LazyLock<[Known; 4]> = LazyLock::new(|| {
    [
        // In memory alone.
        Known::build(60, 0, 0),
        // Half of it in a checkpoint.
        Known::build(80, 0, 40),
        // Three segments.
        Known::build(60, 12, 45),
        // A merged directory.
        Known::build(110, 40, 0),
    ]
});

impl Known {
    /// So many appends whose events have so many tags more, which fill a segment's index before its bytes; and a clean close
    /// behind append `reopened`, if it is not 0.
    fn build(appends: u64, more_tags: u64, reopened: u64) -> Self {
        let world = World::new(appends);
        let open = || {
            let options = world.options().segment_size(64 << 10).hot_tail_bytes(20_000);
            options.open_on(world.sim.attach()).expect("nothing goes wrong")
        };
        let (mut store, mut snapshots) = (open(), Vec::new());
        let mut names: Vec<(Uuid, StreamName)> = Vec::new();
        let mut known = Vec::new();
        for number in 0..appends {
            let streams = [stream(number * 7 / 3), stream(number)];
            let append = (0..).zip(&streams).fold(Append::new(), |append, (run, stream)| {
                let count = if run == 0 { 1 } else { number % 3 };
                let events = (0..count).map(|event| proposed(number * 8 + run * 4 + event, more_tags)).collect();
                append.events(stream, events)
            });
            let events = store.append_all(append).expect("nothing goes wrong");
            for stream in &streams[..if number % 3 == 0 { 1 } else { 2 }] {
                let resolved = stream.resolve().expect("it is one");
                if let Some(name) = resolved.name
                    && names.iter().all(|(id, _)| *id != resolved.id)
                {
                    names.push((resolved.id, name));
                }
            }
            known.extend(events.into_iter().map(|event| {
                let name = names.iter().find(|(id, _)| *id == event.stream_id).map(|(_, name)| name.clone());
                (event, name)
            }));
            if number + 1 == reopened {
                store.close().expect("nothing goes wrong");
                world.sim.crash(&Keep::Nothing);
                store = open();
            }
            if number > reopened && number.is_multiple_of(29) || number + 1 == appends {
                snapshots.push(store.log().snapshot());
            }
        }
        Self { store: Mutex::new(store), snapshots, events: known }
    }

    /// The positions that match, ascending.
    fn matches(&self, spec: &Spec, head: u64) -> Vec<u64> {
        let below = self.events.iter().filter(|(event, _)| event.global_position < head);
        below
            .filter(|(event, name)| spec.matches(event, name.as_deref()))
            .map(|(event, _)| event.global_position)
            .collect()
    }

    fn event(&self, position: u64) -> &RecordedEvent {
        &self.events[usize::try_from(position).expect("it is in memory")].0
    }
}

/// One of the log's streams, in one of the ways in which it can be given. `late` gets its name some time after its first
/// events.
fn stream(number: u64) -> StreamRef {
    match number % 9 {
        6 if number < 30 => StreamName::new("late").expect("it is a name").id().into(),
        7 => Uuid::from_u128(7).into(),
        8 => NO_STREAM.into(),
        named => STREAMS[usize::try_from(named).expect("it is small")].into(),
    }
}

fn proposed(number: u64, more_tags: u64) -> ProposedEvent {
    let pick = usize::try_from(number % 5).expect("it is small");
    let event_type = if number == 96 { "rare" } else { TYPES[pick] };
    let tags = [("all", 1), ("even", 2), ("third", 3), ("a", 5), ("ab", 7), ("b", 11), ("rare", 96)];
    let tags = tags.iter().filter(|(_, of)| number.is_multiple_of(*of)).map(|(tag, _)| (*tag).to_owned());
    let more = (0..more_tags).map(|tag| format!("of {number}, {tag}"));
    ProposedEvent::new(event_type, number.to_le_bytes().to_vec()).with_id(id(number)).with_tags(tags.chain(more))
}

/// A query, in plain lists.
#[derive(Clone, Debug, Default)]
struct Spec {
    all: bool,
    items: Vec<Item>,
}

#[derive(Clone, Debug, Default)]
struct Item {
    types: Vec<String>,
    tags: Vec<String>,
    stream: Option<StreamRef>,
    prefix: Option<String>,
}

impl Spec {
    fn read(input: &mut Reader<'_>) -> Self {
        let shape = input.u8();
        let mut items: Vec<Item> = (0..shape & 3).map(|_| Item::read(input)).collect();
        if let (7, Some(last)) = (shape >> 3 & 7, items.last().cloned()) {
            // Up to the most items, and one more; the streams differ.
            let more = usize::from(input.u8()) % (ITEMS_MAX + 1);
            items.extend((0..more).map(|number| {
                let stream = last.stream.as_ref().map(|_| StreamRef::from(Uuid::from_u128(number as u128)));
                Item { stream, ..last.clone() }
            }));
        }
        Self { all: shape >> 2 & 1 == 1 && shape >> 6 == 0, items }
    }

    fn query(&self) -> Query {
        let start = if self.all { Query::all() } else { Query::new() };
        self.items.iter().fold(start, |query, item| query.or(item.query()))
    }

    fn matches(&self, event: &RecordedEvent, name: Option<&str>) -> bool {
        self.all || self.items.iter().any(|item| item.matches(event, name))
    }

    /// How many terms its evaluation looks up.
    fn terms(&self) -> usize {
        if self.all { 1 } else { self.items.iter().map(Item::terms).sum() }
    }

    /// Whether what is said to be wrong with it is, and nothing before it.
    fn is_wrong(&self, error: &InvalidQuery) -> bool {
        let item = match *error {
            InvalidQuery::NoItems => return !self.all && self.items.is_empty(),
            InvalidQuery::TooManyItems { count, max } => {
                return count == self.items.len() && max == ITEMS_MAX && count > max;
            }
            InvalidQuery::NoCriteria { item }
            | InvalidQuery::TooManyTypes { item, .. }
            | InvalidQuery::TypeLength { item, .. }
            | InvalidQuery::TooManyTags { item, .. }
            | InvalidQuery::TagLength { item, .. }
            | InvalidQuery::StreamName { item, .. }
            | InvalidQuery::NoStream { item }
            | InvalidQuery::PrefixLength { item, .. }
            | InvalidQuery::StreamAndPrefix { item } => item,
            _ => return false,
        };
        self.items[..item].iter().all(Item::is_valid) && self.items[item].is_wrong(error)
    }

    fn is_valid(&self) -> bool {
        (self.all || !self.items.is_empty()) && self.items.len() <= ITEMS_MAX && self.items.iter().all(Item::is_valid)
    }
}

impl Item {
    fn read(input: &mut Reader<'_>) -> Self {
        let shape = input.u8();
        let types = (0..shape & 3).map(|_| text(input, &TYPES)).collect();
        let tags = (0..shape >> 2 & 3).map(|_| text(input, &TAGS)).collect();
        let mut item = Self { types, tags, stream: None, prefix: None };
        match shape >> 4 & 7 {
            0..=2 => {}
            3 => item.stream = Some(stream(u64::from(input.u8()) % 64)),
            4 => item.stream = Some(text(input, &STREAMS).into()),
            5 => {
                let id = stream(u64::from(input.u8()) % 64).resolve().expect("it is one").id;
                item.stream = Some(id.to_string().into());
            }
            6 => item.prefix = Some(text(input, &STREAMS)),
            _ => {
                item.stream = Some(stream(u64::from(input.u8()) % 64));
                item.prefix = Some(text(input, &STREAMS));
            }
        }
        if shape >> 7 == 1 && input.u8() > 0xF0 {
            // As many as there can be, and more; a few of them twice.
            let (types, tags) = (usize::from(input.u16()) % (TYPES_MAX + 3), usize::from(input.u8()) % (TAGS_MAX + 3));
            let numbered = |number: usize| format!("{}", number * 2 / 3);
            item.types.extend((0..types).map(numbered));
            item.tags.extend((0..tags).map(|tag| if tag < 60 { "all".to_owned() } else { numbered(tag) }));
        }
        item
    }

    fn query(&self) -> QueryItem {
        let mut item = QueryItem::new().types(&self.types).tags(&self.tags);
        if let Some(stream) = &self.stream {
            item = item.stream(stream);
        }
        if let Some(prefix) = &self.prefix {
            item = item.stream_prefix(prefix);
        }
        item
    }

    fn matches(&self, event: &RecordedEvent, name: Option<&str>) -> bool {
        (self.types.is_empty() || self.types.iter().any(|text| *text == *event.event_type))
            && self.tags.iter().all(|text| event.tags.iter().any(|tag| **tag == **text))
            && self.stream.as_ref().is_none_or(|stream| stream.resolve().is_ok_and(|one| one.id == event.stream_id))
            && self.prefix.as_ref().is_none_or(|prefix| name.is_some_and(|name| name.starts_with(prefix.as_str())))
    }

    fn terms(&self) -> usize {
        let different = |texts: &[String]| {
            let mut texts = texts.to_vec();
            texts.sort();
            texts.dedup();
            texts.len()
        };
        different(&self.types)
            + different(&self.tags)
            + usize::from(self.stream.is_some())
            + usize::from(self.prefix.is_some())
    }

    fn is_valid(&self) -> bool {
        let texts_fit = |texts: &[String]| texts.iter().all(|text| (1..=TEXT_MAX).contains(&text.len()));
        !self.has_no_criteria()
            && self.types.len() <= TYPES_MAX
            && self.tags.len() <= TAGS_MAX
            && texts_fit(&self.types)
            && texts_fit(&self.tags)
            && !(self.stream.is_some() && self.prefix.is_some())
            && self.stream.as_ref().is_none_or(|stream| stream.resolve().is_ok_and(|one| one.id != NO_STREAM))
            && self.prefix.as_ref().is_none_or(|prefix| (1..=NAME_MAX).contains(&prefix.len()))
    }

    fn has_no_criteria(&self) -> bool {
        self.types.is_empty() && self.tags.is_empty() && self.stream.is_none() && self.prefix.is_none()
    }

    fn is_wrong(&self, error: &InvalidQuery) -> bool {
        let is_long = |texts: &[String], index: usize, len: usize, max: usize| {
            texts[index].len() == len && max == TEXT_MAX && !(1..=max).contains(&len)
        };
        match *error {
            InvalidQuery::NoCriteria { .. } => self.has_no_criteria(),
            InvalidQuery::TooManyTypes { count, max, .. } => {
                count == self.types.len() && max == TYPES_MAX && count > max
            }
            InvalidQuery::TooManyTags { count, max, .. } => count == self.tags.len() && max == TAGS_MAX && count > max,
            InvalidQuery::TypeLength { index, len, max, .. } => is_long(&self.types, index, len, max),
            InvalidQuery::TagLength { index, len, max, .. } => is_long(&self.tags, index, len, max),
            InvalidQuery::StreamName { source, .. } => {
                matches!(source, InvalidStreamName::Length { max: NAME_MAX, .. })
                    && self.stream.as_ref().is_some_and(|stream| stream.resolve() == Err(source))
            }
            InvalidQuery::NoStream { .. } => {
                self.stream.as_ref().is_some_and(|stream| stream.resolve().is_ok_and(|one| one.id == NO_STREAM))
            }
            InvalidQuery::StreamAndPrefix { .. } => self.stream.is_some() && self.prefix.is_some(),
            InvalidQuery::PrefixLength { len, max, .. } => {
                max == NAME_MAX && !(1..=max).contains(&len) && self.prefix.as_ref().is_some_and(|it| it.len() == len)
            }
            _ => false,
        }
    }
}

/// One of the texts, or one that is near it, or any.
fn text(input: &mut Reader<'_>, known: &[&str]) -> String {
    let shape = input.u8();
    let text = known[usize::from(shape & 15) % known.len()].to_owned();
    match shape >> 4 {
        0..=9 => text,
        10 => text.chars().take(text.chars().count() - 1).collect(),
        11 => text + "2",
        12 => text.to_uppercase(),
        // Around the most bytes that a type or tag has, or a name.
        13 => "é".repeat(127 + usize::from(input.u8() % 3)) + "e",
        14 => "n".repeat(511 + usize::from(input.u8() % 3)),
        _ => {
            let len = usize::from(input.u8() % 32);
            String::from_utf8_lossy(input.bytes(len)).into_owned()
        }
    }
}

/// A query, or a few conditions, on a log that is known.
///
/// # Panics
///
/// If a property does not hold.
pub fn query(data: &[u8]) {
    let mut input = Reader::new(data);
    let mode = input.u8();
    let known = &LOGS[usize::from(mode & 3)];
    if mode >> 2 & 1 == 1 {
        return conditions(known, &mut input);
    }
    let snapshot = &known.snapshots[usize::from(mode >> 3) % known.snapshots.len()];
    let (place, head) = (input.u8(), snapshot.head());
    let from = match place & 7 {
        0 => 0,
        1 => u64::MAX,
        2 => head,
        3 => head - 1,
        _ => u64::from(input.u16()) % (head + 2),
    };
    let max_count = match place >> 3 & 7 {
        0 => 0,
        1 => 1,
        2 => u64::from(input.u8()),
        _ => u64::MAX,
    };
    let direction = if place >> 6 & 1 == 0 { Direction::Forward } else { Direction::Backward };
    let spec = Spec::read(&mut input);
    let query = spec.query();
    assert!(!format!("{query:?}").is_empty());
    let found = snapshot.query(query.clone(), from, max_count, direction);
    let Ok(valid) = query.check() else {
        let error = query.check().expect_err("it is not valid");
        assert!(spec.is_wrong(&error), "{error:?}: {spec:?}");
        assert!(!error.to_string().is_empty());
        assert!(matches!(found, Err(Error::InvalidQuery(other)) if other == error));
        return;
    };
    assert!(spec.is_valid(), "{spec:?}");

    let matches = known.matches(&spec, head);
    let expected: Vec<u64> = match direction {
        Direction::Forward => matches.iter().copied().filter(|position| *position >= from).collect(),
        Direction::Backward => matches.iter().rev().copied().filter(|position| *position <= from).collect(),
    };
    let count = usize::try_from(max_count).unwrap_or(usize::MAX).min(expected.len());
    let expected: Vec<&RecordedEvent> = expected[..count].iter().map(|position| known.event(*position)).collect();
    let found = found.expect("the query is valid");
    assert!(found.iter().eq(expected), "{:?}: {spec:?}", positions(&found));

    // What a query means, event by event, and by what its matches are noticed.
    let watched = valid.watched_terms();
    for (event, name) in &known.events {
        let is_match = matches.binary_search(&event.global_position).is_ok();
        if event.global_position < head {
            assert_eq!(valid.matches_recorded(event, name.as_deref()), is_match, "{spec:?}");
        }
        assert!(!is_match || watched.iter().any(|term| has(event, term)), "{spec:?}");
    }

    // Piece by piece.
    let shape = input.u8();
    let limits = BatchLimits {
        events: 1 + usize::from(shape & 7),
        bytes: 1 << (shape >> 3 & 15),
        positions: 1 + u64::from(input.u16()) % 400,
    };
    let (mut next, mut pieces, mut rounds) = (from, Vec::new(), 0);
    while next < head {
        let batch = snapshot.read_batch(&valid, next, &limits).expect("nothing goes wrong");
        assert!(batch.next > next, "it gets on");
        next = batch.next;
        pieces.extend(batch.events);
        rounds += 1;
        assert!(rounds <= head);
    }
    let behind: Vec<_> =
        matches.iter().filter(|position| **position >= from).map(|position| known.event(*position)).collect();
    assert!(pieces.iter().eq(behind), "{:?}: {spec:?}", positions(&pieces));
    if shape >> 7 == 1 {
        whole(known, snapshot);
    }
}

fn positions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.global_position).collect()
}

fn has(event: &RecordedEvent, term: &WatchedTerm) -> bool {
    match term {
        WatchedTerm::Any => true,
        WatchedTerm::Stream(id) => event.stream_id == *id,
        WatchedTerm::Tag(tag) => event.tags.iter().any(|other| **other == **tag),
        WatchedTerm::Type(text) => *event.event_type == **text,
    }
}

/// The whole log, borrowed.
fn whole(known: &Known, snapshot: &Snapshot) {
    let mut position = 0;
    let read = snapshot.scan(0).for_each(|event| {
        let same = known.event(position);
        assert_eq!((event.event_id, event.stream_id, event.payload), (same.event_id, same.stream_id, &*same.payload));
        position += 1;
        ControlFlow::Continue(())
    });
    assert!(read.is_ok() && position == snapshot.head());
}

/// An append that is refused, because its last condition fails at least.
fn conditions(known: &Known, input: &mut Reader<'_>) {
    let head = known.events.len() as u64;
    let shape = input.u8();
    let mut rules = Vec::new();
    for _ in 0..=shape % 3 {
        let spec = Spec::read(input);
        let after = match input.u8() {
            0 => Some(u64::MAX),
            byte if byte < 64 => None,
            byte => Some(u64::from(byte) * 2 % (head + 1)),
        };
        rules.push((spec, after));
    }
    let times = if shape >> 3 == 31 { 1 + usize::from(input.u16()) % MAX_CONDITIONS } else { 1 };
    let mut append = Append::new().events("new", vec![ProposedEvent::new("Never", "").with_id(id(u64::MAX))]);
    for (spec, after) in &rules {
        append = append.no_match(spec.query(), *after);
    }
    for _ in 0..times {
        append = append.expect("new", ExpectedVersion::Exists);
    }
    assert!(!format!("{append:?}").is_empty());
    let refused = {
        let mut store = known.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.append_all(append).expect_err("the last condition fails")
    };
    assert!(!refused.to_string().is_empty());

    let terms: usize = rules.iter().map(|(spec, _)| spec.terms()).sum();
    let count = rules.len() + times;
    match refused {
        Error::TooManyConditions { count: told, max } => {
            assert!(told == count && max == MAX_CONDITIONS && count > max);
        }
        Error::InvalidQuery(error) => {
            let first = rules.iter().find(|(spec, _)| !spec.is_valid()).expect("one is not valid");
            assert!(first.0.is_wrong(&error), "{error:?}: {first:?}");
        }
        Error::TooManyConditionTerms { count: told, max } => {
            assert!(rules.iter().all(|(spec, _)| spec.is_valid()));
            assert!(told == terms && max == MAX_CONDITION_TERMS && terms > max, "{told} of {terms}");
        }
        Error::QueryMatched { failed, .. } | Error::WrongExpectedVersion { failed, .. } => {
            assert!(count <= MAX_CONDITIONS && terms <= MAX_CONDITION_TERMS);
            let mut expected = Vec::new();
            for (index, (spec, after)) in rules.iter().enumerate() {
                assert!(spec.is_valid(), "{spec:?}");
                let first = known.matches(spec, head).into_iter().find(|at| after.is_none_or(|after| *at > after));
                expected.extend(first.map(|position| FailedCondition::Match { index, position }));
            }
            let name = StreamName::new("new").expect("it is a name");
            expected.extend((rules.len()..count).map(|index| FailedCondition::Version {
                index,
                stream_id: name.id(),
                name: Some(name.clone()),
                expected: ExpectedVersion::Exists,
                actual: None,
            }));
            assert_eq!(failed, expected, "{rules:?}");
        }
        other => panic!("{other:?}"),
    }
}
