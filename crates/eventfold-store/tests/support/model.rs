//! What a log is, in a few lists: a reference that is too simple to be wrong in the same way as the store.

use std::collections::BTreeMap;
use std::fmt;

use eventfold_store::{
    Append, Direction, Error, ExpectedVersion, FailedCondition, NO_STREAM, ProposedEvent, Query, QueryItem,
    RecordedEvent, Staged, StreamInfo, StreamName, StreamRef,
};
use uuid::Uuid;

use super::scenario::NOW;

/// An append, as the model and the store are both given it.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) runs: Vec<(StreamRef, Vec<ProposedEvent>)>,
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Version(StreamRef, ExpectedVersion),
    NoMatch(Vec<Criteria>, Option<u64>),
}

/// An item of a query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Criteria {
    pub(crate) types: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) stream: Option<StreamRef>,
    pub(crate) prefix: Option<String>,
}

/// What becomes of an append.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted(Vec<RecordedEvent>),
    Duplicate(Vec<RecordedEvent>),
    OtherAppend { position: u64 },
    Failed(Vec<FailedCondition>),
}

/// The log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) events: Vec<RecordedEvent>,
    /// The position of each append's first event.
    appends: Vec<usize>,
    /// Names, and the position of the first event of the append that gave it.
    names: BTreeMap<Uuid, (StreamName, usize)>,
    window: usize,
}

/// Without payloads, which would fill the screen.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (stream, events) in &self.runs {
            let events: Vec<_> = events.iter().map(|event| (event.event_id, event.size())).collect();
            write!(f, "{stream}: {events:?}; ")?;
        }
        write!(f, "{:?}", self.conditions)
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(events) => write!(f, "Accepted({:?})", brief(events)),
            Self::Duplicate(events) => write!(f, "Duplicate({:?})", brief(events)),
            Self::OtherAppend { position } => write!(f, "OtherAppend({position})"),
            Self::Failed(failed) => write!(f, "Failed({failed:?})"),
        }
    }
}

/// Position, version and payload length of events.
fn brief(events: &[RecordedEvent]) -> Vec<(u64, u64, usize)> {
    events.iter().map(|event| (event.global_position, event.stream_version, event.payload.len())).collect()
}

/// Asserts that a read returned what it should.
pub(crate) fn assert_same(found: &[RecordedEvent], expected: &[RecordedEvent], what: &dyn fmt::Debug) {
    assert!(found == expected, "{what:?}: {:?} instead of {:?}", brief(found), brief(expected));
}

impl Asked {
    pub(crate) fn append(&self) -> Append {
        let mut append = Append::new();
        for (stream, events) in &self.runs {
            append = append.events(stream, events.clone());
        }
        for condition in &self.conditions {
            append = match condition {
                Condition::Version(stream, expected) => append.expect(stream, *expected),
                Condition::NoMatch(items, after) => append.no_match(query(items), *after),
            };
        }
        append
    }

    /// Its events, each with its stream, in order.
    fn events(&self) -> impl Iterator<Item = (Uuid, &ProposedEvent)> {
        self.runs.iter().flat_map(|(stream, events)| events.iter().map(|event| (resolve(stream), event)))
    }
}

/// No items: every event.
pub(crate) fn query(items: &[Criteria]) -> Query {
    if items.is_empty() {
        return Query::all();
    }
    items.iter().fold(Query::new(), |query, criteria| {
        let mut item = QueryItem::new().types(criteria.types.clone()).tags(criteria.tags.clone());
        if let Some(stream) = &criteria.stream {
            item = item.stream(stream);
        }
        if let Some(prefix) = &criteria.prefix {
            item = item.stream_prefix(prefix);
        }
        query.or(item)
    })
}

fn resolve(stream: &StreamRef) -> Uuid {
    stream.resolve().unwrap().id
}

impl Outcome {
    pub(crate) fn of(answer: Result<Staged, Error>) -> Self {
        match answer {
            Ok(Staged::Accepted(events)) => Self::Accepted(events),
            Ok(Staged::Duplicate(events)) => Self::Duplicate(events),
            Err(Error::DuplicateEventId { position, .. }) => Self::OtherAppend { position },
            Err(Error::WrongExpectedVersion { stream_id, expected, actual, failed }) => {
                assert!(
                    matches!(&failed[0], FailedCondition::Version { stream_id: id, expected: e, actual: a, .. }
                        if (*id, *e, *a) == (stream_id, expected, actual)),
                    "the first condition that failed decides what the error is"
                );
                Self::Failed(failed)
            }
            Err(Error::QueryMatched { index, position, failed }) => {
                assert_eq!(failed[0], FailedCondition::Match { index, position });
                Self::Failed(failed)
            }
            Err(error) => panic!("not an answer that the model knows: {error:?}"),
        }
    }
}

impl Model {
    pub(crate) fn new(window: u32) -> Self {
        Self { window: window as usize, ..Self::default() }
    }

    pub(crate) fn set_window(&mut self, window: u32) {
        self.window = window as usize;
    }

    pub(crate) fn head(&self) -> u64 {
        self.events.len() as u64
    }

    /// Whether the log would end with a whole append if it had this many events.
    pub(crate) fn ends_an_append(&self, head: u64) -> bool {
        head == self.head() || self.appends.iter().any(|first| *first as u64 == head)
    }

    /// Decides an append, and takes it in if it is accepted.
    pub(crate) fn append(&mut self, asked: &Asked) -> Outcome {
        let facts: Vec<_> = asked.conditions.iter().map(|condition| self.fact(condition)).collect();
        if let Some(outcome) = self.duplicate(asked, &facts) {
            return outcome;
        }
        let failed: Vec<_> = (asked.conditions.iter().zip(&facts).enumerate())
            .filter_map(|(index, (condition, fact))| match condition {
                Condition::Version(stream, expected) => {
                    let (resolved, expected, actual) = (stream.resolve().unwrap(), *expected, *fact);
                    let (stream_id, name) = (resolved.id, resolved.name);
                    let holds = match expected {
                        ExpectedVersion::Any => true,
                        ExpectedVersion::NoStream => actual.is_none(),
                        ExpectedVersion::Exists => actual.is_some(),
                        ExpectedVersion::Exact(version) => actual == Some(version),
                    };
                    (!holds).then_some(FailedCondition::Version { index, stream_id, name, expected, actual })
                }
                Condition::NoMatch(..) => fact.map(|position| FailedCondition::Match { index, position }),
            })
            .collect();
        if !failed.is_empty() {
            return Outcome::Failed(failed);
        }
        let first = self.events.len();
        self.appends.push(first);
        for (stream, event) in asked.events() {
            let recorded = RecordedEvent {
                event_id: event.event_id.unwrap(),
                stream_id: stream,
                stream_version: self.next_version(stream),
                global_position: self.events.len() as u64,
                recorded_at: NOW,
                event_type: event.event_type.clone(),
                tags: event.tags.clone(),
                metadata: event.metadata.clone(),
                payload: event.payload.clone(),
            };
            self.events.push(recorded);
        }
        for (stream, _) in &asked.runs {
            if let Some(name) = stream.resolve().unwrap().name {
                self.names.entry(name.id()).or_insert((name, first));
            }
        }
        Outcome::Accepted(self.events[first..].to_vec())
    }

    /// The version of a stream's last event, or the first position that matches.
    fn fact(&self, condition: &Condition) -> Option<u64> {
        match condition {
            Condition::Version(stream, _) => self.next_version(resolve(stream)).checked_sub(1),
            Condition::NoMatch(items, after) => {
                let counts = |event: &&RecordedEvent| after.is_none_or(|after| event.global_position > after);
                self.events.iter().filter(counts).find(|event| self.matches(items, event)).map(|e| e.global_position)
            }
        }
    }

    fn duplicate(&self, asked: &Asked, facts: &[Option<u64>]) -> Option<Outcome> {
        let (stream, first) = asked.events().next().unwrap();
        let id = first.event_id.unwrap();
        let pointed = asked.conditions.iter().find_map(|condition| match condition {
            Condition::Version(other, ExpectedVersion::NoStream) if resolve(other) == stream => Some(Some(0)),
            Condition::Version(other, ExpectedVersion::Exact(version)) if resolve(other) == stream => {
                Some(version.checked_add(1))
            }
            _ => None,
        });
        let pointed = pointed.flatten().and_then(|version| {
            self.events.iter().position(|event| event.stream_id == stream && event.stream_version == version)
        });
        let conflict = (asked.conditions.iter().zip(facts))
            .filter_map(|(condition, fact)| fact.filter(|_| matches!(condition, Condition::NoMatch(..))))
            .min();
        let last = &self.appends[self.appends.len().saturating_sub(self.window)..];
        let in_window = last.iter().rev().copied().find(|first| self.events[*first].event_id == id);
        for position in [pointed, conflict.map(|position| usize::try_from(position).unwrap()), in_window] {
            let Some(position) = position else { continue };
            let stored = self.append_with(position);
            let same_ids = stored.len() == asked.events().count()
                && stored.iter().zip(asked.events()).all(|(stored, (stream, event))| {
                    stored.stream_id == stream && Some(stored.event_id) == event.event_id
                });
            let same_contents = stored.iter().zip(asked.events()).all(|(stored, (_, event))| {
                stored.event_type == event.event_type
                    && stored.tags == event.tags
                    && stored.metadata == event.metadata
                    && stored.payload == event.payload
            });
            match (same_ids, same_contents) {
                (true, true) => return Some(Outcome::Duplicate(stored.to_vec())),
                (true, false) => return Some(Outcome::OtherAppend { position: stored[0].global_position }),
                (false, _) => {}
            }
        }
        in_window.map(|position| Outcome::OtherAppend { position: position as u64 })
    }

    /// The whole append that has the event at this position.
    fn append_with(&self, position: usize) -> &[RecordedEvent] {
        let after = self.appends.partition_point(|first| *first <= position);
        let end = self.appends.get(after).copied().unwrap_or(self.events.len());
        &self.events[self.appends[after - 1]..end]
    }

    pub(crate) fn next_version(&self, stream: Uuid) -> u64 {
        self.events.iter().filter(|event| event.stream_id == stream).count() as u64
    }

    fn matches(&self, items: &[Criteria], event: &RecordedEvent) -> bool {
        let name = self.names.get(&event.stream_id).map(|(name, _)| name);
        let item_matches = |item: &Criteria| {
            (item.types.is_empty() || item.types.iter().any(|wanted| *wanted == *event.event_type))
                && item.tags.iter().all(|wanted| event.tags.iter().any(|tag| **tag == **wanted))
                && item.stream.as_ref().is_none_or(|stream| resolve(stream) == event.stream_id)
                && item.prefix.as_ref().is_none_or(|prefix| name.is_some_and(|name| name.starts_with(&**prefix)))
        };
        items.is_empty() || items.iter().any(item_matches)
    }

    /// The log as it was when it had this many events.
    pub(crate) fn at(&self, head: u64) -> Self {
        let head = usize::try_from(head).unwrap();
        let mut earlier = self.clone();
        earlier.events.truncate(head);
        earlier.appends.retain(|first| *first < head);
        earlier.names.retain(|_, (_, since)| *since < head);
        earlier
    }

    pub(crate) fn all(&self, from: u64, max_count: u64, direction: Direction) -> Vec<RecordedEvent> {
        pick(self.events.iter(), |event| event.global_position, from, max_count, direction)
    }

    /// `None` where there is no such stream.
    pub(crate) fn stream(
        &self,
        stream: Uuid,
        from: u64,
        max_count: u64,
        direction: Direction,
    ) -> Option<Vec<RecordedEvent>> {
        let events = || self.events.iter().filter(|event| event.stream_id == stream);
        events().next()?;
        Some(pick(events(), |event| event.stream_version, from, max_count, direction))
    }

    pub(crate) fn query(
        &self,
        items: &[Criteria],
        from: u64,
        max_count: u64,
        direction: Direction,
    ) -> Vec<RecordedEvent> {
        let events = self.events.iter().filter(|event| self.matches(items, event));
        pick(events, |event| event.global_position, from, max_count, direction)
    }

    /// Name and last version; `None` where there is no such stream.
    pub(crate) fn info(&self, stream: Uuid) -> Option<(Option<StreamName>, u64)> {
        let version = self.next_version(stream).checked_sub(1)?;
        Some((self.names.get(&stream).map(|(name, _)| name.clone()), version))
    }

    /// The names with a prefix, in order.
    pub(crate) fn names(&self, prefix: &str, after: Option<&str>, max_count: usize) -> Vec<(StreamName, Uuid, u64)> {
        let mut names: Vec<_> = (self.names.iter())
            .filter(|(id, (name, _))| {
                **id != NO_STREAM && name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after)
            })
            .map(|(id, (name, _))| (name.clone(), *id, self.next_version(*id) - 1))
            .collect();
        names.sort();
        names.truncate(max_count);
        names
    }
}

/// As the model tells it.
pub(crate) fn told(info: StreamInfo) -> (Option<StreamName>, u64) {
    (info.name, info.version)
}

fn pick<'a>(
    events: impl DoubleEndedIterator<Item = &'a RecordedEvent>,
    key: impl Fn(&RecordedEvent) -> u64,
    from: u64,
    max_count: u64,
    direction: Direction,
) -> Vec<RecordedEvent> {
    let max_count = usize::try_from(max_count).unwrap_or(usize::MAX);
    match direction {
        Direction::Forward => events.filter(|event| key(event) >= from).take(max_count).cloned().collect(),
        Direction::Backward => events.rev().filter(|event| key(event) <= from).take(max_count).cloned().collect(),
    }
}
