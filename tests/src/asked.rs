//! Appends and queries as plain data, that the store and the model are both given.

use eventfold_db::{Append, ExpectedVersion, ProposedEvent, Query, QueryItem, StreamRef};
use uuid::Uuid;

/// An append. Its events have ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name of a stream and events for it, in order. A stream may come more than once.
    pub runs: Vec<(String, Vec<ProposedEvent>)>,
    /// All of them have to hold.
    pub conditions: Vec<Condition>,
}

/// A condition of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The stream of this name is at this version.
    Version(String, ExpectedVersion),
    /// No event at a position greater than this matches.
    NoMatch(Vec<Criteria>, Option<u64>),
}

/// An item of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria {
    /// Any of these types; where there are none, any.
    pub types: Vec<String>,
    /// All of these tags.
    pub tags: Vec<String>,
    /// The stream of this name.
    pub stream: Option<String>,
    /// Streams whose names begin so.
    pub prefix: Option<String>,
}

impl Asked {
    /// The append that the store is given.
    pub fn append(&self) -> Append {
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
    pub(crate) fn events(&self) -> impl Iterator<Item = (Uuid, &ProposedEvent)> {
        self.runs.iter().flat_map(|(stream, events)| events.iter().map(|event| (id_of(stream), event)))
    }
}

/// The query that the store is given. No items: every event.
pub fn query(items: &[Criteria]) -> Query {
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

/// The id of the stream of this name.
pub(crate) fn id_of(stream: &str) -> Uuid {
    StreamRef::from(stream).resolve().expect("the streams of a test have valid names").id
}
