//! Queries: which events a reader wants, or an append rules out.
//!
//! A [`Query`] is what a caller writes down, and may be wrong. [`Query::check`] makes a [`ValidQuery`] of it, the only kind
//! that is evaluated.

use eventfold_codec::{
    EventRef, EventType, InvalidStreamName, MAX_EVENT_TYPE_LEN, MAX_STREAM_NAME_LEN, MAX_TAG_LEN, MAX_TAGS, NO_STREAM,
    RecordedEvent, StreamRef, Tag,
};
use uuid::Uuid;

/// The most items of a query. Each is a lookup in every part of the index that a read touches.
pub const MAX_QUERY_ITEMS: usize = 128;

/// The most types of a query's item. Each is a lookup too; what wants more of them is better served by a tag.
pub const MAX_QUERY_TYPES: usize = 256;

/// The most tags of a query's item: no event has more, so an item with more could match nothing.
pub const MAX_QUERY_TAGS: usize = MAX_TAGS;

/// Which events: all of them, or those that match at least one of some items.
///
/// Making one never fails: what is wrong with it is told when it is used, or by [`check`](Self::check). A query without items
/// is an error, neither "all" nor "nothing".
///
/// ```
/// use eventfold_store::{Query, QueryItem};
///
/// let enrolled = QueryItem::new().types(["StudentEnrolled", "StudentLeft"]).tags(["course:42"]);
/// let defined = QueryItem::new().types(["CourseDefined"]).tags(["course:42"]);
/// let query = Query::item(enrolled).or(defined);
/// assert!(query.check().is_ok());
///
/// assert!(Query::all().check().is_ok());
/// assert!(Query::new().check().is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Whether it is every event, whatever items there are.
    pub all: bool,
    /// What an event matches at least one of.
    pub items: Vec<QueryItem>,
}

impl Query {
    /// Every event.
    pub fn all() -> Self {
        Self { all: true, items: Vec::new() }
    }

    /// A query without items, which is not valid yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The events that match this item.
    pub fn item(item: QueryItem) -> Self {
        Self { all: false, items: vec![item] }
    }

    /// The query with the events that match this item as well.
    #[must_use]
    pub fn or(mut self, item: QueryItem) -> Self {
        self.items.push(item);
        self
    }

    /// Checks the query against its limits.
    ///
    /// # Errors
    ///
    /// [`InvalidQuery`], for the first thing that is wrong.
    pub fn check(&self) -> Result<ValidQuery, InvalidQuery> {
        if !self.all && self.items.is_empty() {
            return Err(InvalidQuery::NoItems);
        }
        let count = self.items.len();
        if count > MAX_QUERY_ITEMS {
            return Err(InvalidQuery::TooManyItems { count, max: MAX_QUERY_ITEMS });
        }
        let items: Vec<_> = self.items.iter().enumerate().map(|(item, it)| it.check(item)).collect::<Result<_, _>>()?;
        Ok(ValidQuery { items: (!self.all).then_some(items) })
    }
}

impl From<QueryItem> for Query {
    fn from(item: QueryItem) -> Self {
        Self::item(item)
    }
}

/// Criteria that an event meets all of: its type is one of some, it has all of some tags, and its stream is a certain one or
/// one whose name begins with a prefix.
///
/// At least one criterion is needed. A list without entries is no criterion.
///
/// ```
/// use eventfold_store::{Query, QueryItem};
///
/// let large = QueryItem::new().stream_prefix("account-").types(["Deposited", "Withdrawn"]).tags(["large"]);
/// let query = Query::from(large).or(QueryItem::new().stream("audit"));
/// assert!(query.check().is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryItem {
    /// An event's type is one of these, if there are any.
    pub types: Vec<EventType>,
    /// An event has all of these.
    pub tags: Vec<Tag>,
    /// An event is of this stream.
    pub stream: Option<StreamRef>,
    /// An event is of a stream whose name begins so.
    pub stream_prefix: Option<String>,
}

impl QueryItem {
    /// An item without criteria, which is not valid yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The item with these types besides those it has: an event's type is one of them.
    #[must_use]
    pub fn types<T: Into<EventType>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.types.extend(types.into_iter().map(Into::into));
        self
    }

    /// The item with these tags besides those it has: an event has all of them.
    #[must_use]
    pub fn tags<T: Into<Tag>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// The item with this stream, instead of one it had.
    #[must_use]
    pub fn stream(mut self, stream: impl Into<StreamRef>) -> Self {
        self.stream = Some(stream.into());
        self
    }

    /// The item with the streams whose names begin with this, instead of a prefix it had. An event belongs to the name that its
    /// stream had by then: those appended before their stream got its name don't match.
    #[must_use]
    pub fn stream_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.stream_prefix = Some(prefix.into());
        self
    }

    /// Checks the item with this index in its query.
    fn check(&self, item: usize) -> Result<ValidItem, InvalidQuery> {
        if self.types.is_empty() && self.tags.is_empty() && self.stream.is_none() && self.stream_prefix.is_none() {
            return Err(InvalidQuery::NoCriteria { item });
        }
        let count = self.types.len();
        if count > MAX_QUERY_TYPES {
            return Err(InvalidQuery::TooManyTypes { item, count, max: MAX_QUERY_TYPES });
        }
        let count = self.tags.len();
        if count > MAX_QUERY_TAGS {
            return Err(InvalidQuery::TooManyTags { item, count, max: MAX_QUERY_TAGS });
        }
        let types = texts(&self.types, MAX_EVENT_TYPE_LEN).map_err(|(index, len)| InvalidQuery::TypeLength {
            item,
            index,
            len,
            max: MAX_EVENT_TYPE_LEN,
        })?;
        let tags = texts(&self.tags, MAX_TAG_LEN).map_err(|(index, len)| InvalidQuery::TagLength {
            item,
            index,
            len,
            max: MAX_TAG_LEN,
        })?;
        Ok(ValidItem { streams: self.check_streams(item)?, types, tags })
    }

    fn check_streams(&self, item: usize) -> Result<Streams, InvalidQuery> {
        match (&self.stream, &self.stream_prefix) {
            (None, None) => Ok(Streams::Any),
            (Some(_), Some(_)) => Err(InvalidQuery::StreamAndPrefix { item }),
            (Some(stream), None) => {
                let id = stream.resolve().map_err(|source| InvalidQuery::StreamName { item, source })?.id;
                if id == NO_STREAM { Err(InvalidQuery::NoStream { item }) } else { Ok(Streams::One(id)) }
            }
            (None, Some(prefix)) if prefix.is_empty() || prefix.len() > MAX_STREAM_NAME_LEN => {
                Err(InvalidQuery::PrefixLength { item, len: prefix.len(), max: MAX_STREAM_NAME_LEN })
            }
            (None, Some(prefix)) => Ok(Streams::Prefix(prefix.as_str().into())),
        }
    }
}

/// The texts, sorted and without duplicates; where one is empty or too long, its index and length.
fn texts<T: AsRef<str>>(texts: &[T], max: usize) -> Result<Vec<Box<str>>, (usize, usize)> {
    let mut checked = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let text = text.as_ref();
        if text.is_empty() || text.len() > max {
            return Err((index, text.len()));
        }
        checked.push(Box::from(text));
    }
    checked.sort_unstable();
    checked.dedup();
    Ok(checked)
}

/// A query that keeps every limit: what is evaluated. [`Query::check`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidQuery {
    /// At least one; `None` matches every event.
    items: Option<Vec<ValidItem>>,
}

/// An item with at least one criterion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValidItem {
    pub(crate) streams: Streams,
    /// Sorted and without duplicates; empty: any type.
    pub(crate) types: Vec<Box<str>>,
    /// Sorted and without duplicates.
    pub(crate) tags: Vec<Box<str>>,
}

/// The streams that an item is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// Any, or none at all.
    Any,
    /// The one with this id, which is not that of no stream.
    One(Uuid),
    /// Those whose names begin with this.
    Prefix(Box<str>),
}

/// Something of which every match of a query has one: see [`ValidQuery::watched_terms`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WatchedTerm {
    /// Every event has it.
    Any,
    /// The event is of this stream.
    Stream(Uuid),
    /// The event has this tag.
    Tag(Box<str>),
    /// The event is of this type.
    Type(Box<str>),
}

impl ValidQuery {
    /// About how many bytes of memory it takes.
    pub(crate) fn weight(&self) -> usize {
        let texts = |texts: &[Box<str>]| texts.iter().map(|text| size_of::<Box<str>>() + text.len()).sum::<usize>();
        let items = self.items.iter().flatten();
        items.map(|item| size_of::<ValidItem>() + texts(&item.types) + texts(&item.tags)).sum()
    }

    /// Terms of which every event that matches has at least one. Whoever wakes up who waits for matches need not look at the
    /// rest of the query.
    pub fn watched_terms(&self) -> Vec<WatchedTerm> {
        let Some(items) = &self.items else { return vec![WatchedTerm::Any] };
        let mut terms = Vec::new();
        for item in items {
            match (&item.streams, item.tags.first()) {
                (Streams::One(id), _) => terms.push(WatchedTerm::Stream(*id)),
                (_, Some(tag)) => terms.push(WatchedTerm::Tag(tag.clone())),
                (_, None) if item.types.is_empty() => terms.push(WatchedTerm::Any),
                (_, None) => terms.extend(item.types.iter().cloned().map(WatchedTerm::Type)),
            }
        }
        terms
    }

    /// How many lookups it takes in a part of the index.
    pub(crate) fn terms(&self) -> usize {
        let of_item = |item: &ValidItem| {
            let streams = usize::from(!matches!(item.streams, Streams::Any));
            streams + item.types.len() + item.tags.len()
        };
        self.items.as_ref().map_or(1, |items| items.iter().map(of_item).sum())
    }

    /// How many prefixes it has: for each, all events that come into question are looked at.
    pub(crate) fn prefixes(&self) -> usize {
        let has_prefix = |item: &&ValidItem| matches!(item.streams, Streams::Prefix(_));
        self.items.as_ref().map_or(0, |items| items.iter().filter(has_prefix).count())
    }

    /// The items, or `None` for all events.
    pub(crate) fn items(&self) -> Option<&[ValidItem]> {
        self.items.as_deref()
    }

    /// Whether an event matches, where its stream has this name.
    ///
    /// This says what a query means. Reads find the same events by the index, without looking at each.
    pub fn matches(&self, event: &EventRef<'_>, stream_name: Option<&str>) -> bool {
        self.matches_parts(&event.stream_id, stream_name, event.event_type, || event.tags.iter())
    }

    /// Whether an event matches, where its stream has this name.
    ///
    /// ```
    /// use eventfold_codec::RecordedEvent;
    /// use eventfold_store::{InvalidQuery, QueryItem, Query};
    ///
    /// fn deposits<'a>(events: &'a [RecordedEvent]) -> Result<Vec<&'a RecordedEvent>, InvalidQuery> {
    ///     let query = Query::item(QueryItem::new().types(["Deposited"])).check()?;
    ///     Ok(events.iter().filter(|event| query.matches_recorded(event, None)).collect())
    /// }
    /// # assert_eq!(deposits(&[]), Ok(vec![]));
    /// ```
    pub fn matches_recorded(&self, event: &RecordedEvent, stream_name: Option<&str>) -> bool {
        self.matches_parts(&event.stream_id, stream_name, &event.event_type, || event.tags.iter().map(Tag::as_str))
    }

    pub(crate) fn matches_parts<'t, T: Iterator<Item = &'t str>>(
        &self,
        stream: &Uuid,
        stream_name: Option<&str>,
        event_type: &str,
        tags: impl Fn() -> T,
    ) -> bool {
        let Some(items) = &self.items else {
            return true;
        };
        items.iter().any(|item| {
            item.streams.contain(stream, stream_name)
                && (item.types.is_empty() || item.types.binary_search_by(|other| (**other).cmp(event_type)).is_ok())
                && item.tags.iter().all(|tag| tags().any(|other| *other == **tag))
        })
    }
}

impl Streams {
    fn contain(&self, stream: &Uuid, name: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::One(id) => id == stream,
            Self::Prefix(prefix) => name.is_some_and(|name| name.starts_with(&**prefix)),
        }
    }
}

/// What is wrong with a query. Indexes count from 0, in the order given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidQuery {
    /// It has no items. [`Query::all`] is for every event.
    #[error("the query has no items")]
    NoItems,
    /// It has too many items.
    #[error("the query has {count} items; at most {max} are allowed")]
    TooManyItems {
        /// How many.
        count: usize,
        /// The most allowed.
        max: usize,
    },
    /// An item has neither types, nor tags, nor a stream, nor a prefix.
    #[error("item {item} of the query has no criteria")]
    NoCriteria {
        /// The item.
        item: usize,
    },
    /// An item has too many types.
    #[error("item {item} of the query has {count} types; at most {max} are allowed")]
    TooManyTypes {
        /// The item.
        item: usize,
        /// How many it has.
        count: usize,
        /// The most allowed.
        max: usize,
    },
    /// A type is empty or too long.
    #[error("type {index} of item {item} of the query has {len} bytes; 1 to {max} are allowed")]
    TypeLength {
        /// The item.
        item: usize,
        /// The type.
        index: usize,
        /// Its length in bytes.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
    /// An item has too many tags.
    #[error("item {item} of the query has {count} tags; at most {max} are allowed")]
    TooManyTags {
        /// The item.
        item: usize,
        /// How many it has.
        count: usize,
        /// The most allowed.
        max: usize,
    },
    /// A tag is empty or too long.
    #[error("tag {index} of item {item} of the query has {len} bytes; 1 to {max} are allowed")]
    TagLength {
        /// The item.
        item: usize,
        /// The tag.
        index: usize,
        /// Its length in bytes.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
    /// A stream is given by a text that is not a name.
    #[error("the stream of item {item} of the query: {source}")]
    StreamName {
        /// The item.
        item: usize,
        /// What is wrong with the text.
        source: InvalidStreamName,
    },
    /// The stream is [`NO_STREAM`]: its events belong to none, so they can't be read as a stream.
    #[error("the stream of item {item} of the query is the nil UUID, which stands for no stream")]
    NoStream {
        /// The item.
        item: usize,
    },
    /// A prefix is empty or longer than any name.
    #[error("the stream prefix of item {item} of the query has {len} bytes; 1 to {max} are allowed")]
    PrefixLength {
        /// The item.
        item: usize,
        /// Its length in bytes.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
    /// An item has both a stream and a prefix.
    #[error("item {item} of the query has both a stream and a stream prefix")]
    StreamAndPrefix {
        /// The item.
        item: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> QueryItem {
        QueryItem::new()
    }

    fn wrong(item: QueryItem) -> InvalidQuery {
        Query::item(item).check().unwrap_err()
    }

    #[test]
    fn a_query_has_items_and_an_item_has_criteria() {
        assert_eq!(Query::new().check(), Err(InvalidQuery::NoItems));
        assert_eq!(wrong(item()), InvalidQuery::NoCriteria { item: 0 });
        assert_eq!(wrong(item().types([""; 0]).tags([""; 0])), InvalidQuery::NoCriteria { item: 0 });
        let second = Query::item(item().types(["T"])).or(item());
        assert_eq!(second.check(), Err(InvalidQuery::NoCriteria { item: 1 }));
        for valid in [item().types(["T"]), item().tags(["t"]), item().stream("s"), item().stream_prefix("s")] {
            assert!(Query::from(valid).check().is_ok());
        }
    }

    #[test]
    fn a_wrong_item_is_told_even_where_all_events_are_asked_for() {
        assert_eq!(Query::all().or(item()).check(), Err(InvalidQuery::NoCriteria { item: 0 }));
        assert_eq!(Query::all().or(item().tags(["t"])).check(), Query::all().check());
    }

    #[test]
    fn every_limit_is_kept() {
        let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        let query = |count| (0..count).fold(Query::new(), |query, _| query.or(item().types(["T"])));
        assert!(query(MAX_QUERY_ITEMS).check().is_ok());
        let (count, max) = (MAX_QUERY_ITEMS + 1, MAX_QUERY_ITEMS);
        assert_eq!(query(count).check(), Err(InvalidQuery::TooManyItems { count, max }));

        let full = item().types(many(MAX_QUERY_TYPES)).tags(many(MAX_QUERY_TAGS));
        assert!(Query::item(full.clone()).check().is_ok());
        let (count, max) = (MAX_QUERY_TYPES + 1, MAX_QUERY_TYPES);
        assert_eq!(wrong(full.clone().types(["T"])), InvalidQuery::TooManyTypes { item: 0, count, max });
        let (count, max) = (MAX_QUERY_TAGS + 1, MAX_QUERY_TAGS);
        assert_eq!(wrong(full.tags(["t"])), InvalidQuery::TooManyTags { item: 0, count, max });

        let longest = item().types(["x".repeat(256)]).tags(["x".repeat(256)]).stream_prefix("x".repeat(512));
        assert!(Query::item(longest).check().is_ok());
        for len in [0, 257] {
            let text = "x".repeat(len);
            let error = wrong(item().types(["T", &text]));
            assert_eq!(error, InvalidQuery::TypeLength { item: 0, index: 1, len, max: 256 });
            let error = wrong(item().tags(["t", &text]));
            assert_eq!(error, InvalidQuery::TagLength { item: 0, index: 1, len, max: 256 });
        }
        for len in [0, 513] {
            let error = wrong(item().stream_prefix("x".repeat(len)));
            assert_eq!(error, InvalidQuery::PrefixLength { item: 0, len, max: 512 });
        }
    }

    #[test]
    fn a_stream_is_one_that_can_be_read() {
        assert_eq!(wrong(item().stream(NO_STREAM)), InvalidQuery::NoStream { item: 0 });
        assert_eq!(wrong(item().stream(NO_STREAM.to_string())), InvalidQuery::NoStream { item: 0 });
        assert!(matches!(wrong(item().stream("")), InvalidQuery::StreamName { item: 0, .. }));
        assert_eq!(wrong(item().stream("s").stream_prefix("s")), InvalidQuery::StreamAndPrefix { item: 0 });
    }

    #[test]
    fn criteria_mean_what_they_say() {
        let stream = Uuid::from_u128(7);
        let matches = |query: Query| {
            query.check().unwrap().matches_parts(&stream, Some("account-7"), "Opened", || ["a", "b"].into_iter())
        };
        let yes = [
            item().types(["Closed", "Opened"]),
            item().tags(["b"]).tags(["a", "b"]),
            item().stream(stream),
            item().stream_prefix("account-"),
            item().stream_prefix("account-7").types(["Opened"]).tags(["a"]),
        ];
        let no = [
            item().types(["Open"]),
            item().tags(["a", "c"]),
            item().stream("account-7"),
            item().stream_prefix("account-77"),
            item().stream(stream).types(["Closed"]).tags(["a"]),
        ];
        assert!(matches(Query::all()));
        for yes in &yes {
            assert!(matches(yes.clone().into()), "{yes:?}");
            assert!(no.iter().all(|no| matches(Query::from(no.clone()).or(yes.clone()))));
        }
        for no in no {
            assert!(!matches(no.clone().into()), "{no:?}");
        }
        let prefix = Query::item(item().stream_prefix("a")).check().unwrap();
        assert!(
            !prefix.matches_parts(&stream, None, "Opened", std::iter::empty),
            "a stream without a name has no prefix"
        );
    }
}
