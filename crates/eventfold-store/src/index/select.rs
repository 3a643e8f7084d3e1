//! From a query to a cursor over one part.

use std::ops::Range;

use super::cursor::{All, And, Cursor, Direction, List, Nothing, Or, Positions, Within};
use super::{CHUNK_LEN, NamedStream, PostingList, TermKind};
use crate::error::ReadError;
use crate::query::{Streams, ValidItem, ValidQuery};

/// What selecting asks of a part.
pub(crate) trait PartTerms {
    /// The positions of a term, if there are any.
    fn postings(&self, kind: TermKind, key: &[u8]) -> Result<Option<Box<dyn PostingList>>, ReadError>;

    /// What is of the streams whose names are known here and begin with `prefix`, within bounds.
    fn with_prefix<'a>(
        &'a self,
        prefix: &'a str,
        bounds: &Range<u32>,
        direction: Direction,
    ) -> Result<WithPrefix<'a>, ReadError>;

    /// How many events there are: every position is lower.
    fn event_count(&self) -> u32;
}

/// What is of the streams whose names begin with a prefix: whichever takes less to go through.
pub(crate) enum WithPrefix<'a> {
    /// The streams.
    Streams(Vec<NamedStream>),
    /// The events: there are few of them within the bounds, beside streams with such names.
    Events(Box<dyn Cursor + 'a>),
}

/// The matches of a query in a part, within bounds.
pub(crate) fn select<'a>(
    query: &'a ValidQuery,
    part: &'a dyn PartTerms,
    bounds: Range<u32>,
    direction: Direction,
) -> Result<Box<dyn Cursor + 'a>, ReadError> {
    let bounds = bounds.start..bounds.end.min(part.event_count());
    if bounds.is_empty() {
        return Ok(Box::new(Nothing));
    }
    let inner: Box<dyn Cursor + 'a> = match query.items() {
        None => Box::new(All),
        Some(items) => {
            let mut any = Vec::new();
            for item in items {
                any.extend(select_item(item, part, &bounds, direction)?);
            }
            match union(any, direction) {
                None => return Ok(Box::new(Nothing)),
                Some(matches) => matches.cursor,
            }
        }
    };
    Ok(Box::new(Within::new(bounds, direction, inner)))
}

/// The first match of a query in a part at `from` or above.
pub(crate) fn first_match(query: &ValidQuery, part: &dyn PartTerms, from: u32) -> Result<Option<u32>, ReadError> {
    select(query, part, from..u32::MAX, Direction::Forward)?.seek(from)
}

/// A cursor, and how many matches it has at the most.
struct Matches<'a> {
    len: u64,
    cursor: Box<dyn Cursor + 'a>,
}

impl Matches<'_> {
    fn of(list: Box<dyn PostingList>, direction: Direction) -> Self {
        Self { len: list.len().into(), cursor: Box::new(List::new(list, direction)) }
    }
}

/// The matches of an item; `None`: it has none. Criteria that are likely to rule out the part come first.
fn select_item<'a>(
    item: &'a ValidItem,
    part: &'a dyn PartTerms,
    bounds: &Range<u32>,
    direction: Direction,
) -> Result<Option<Matches<'a>>, ReadError> {
    let mut all = Vec::with_capacity(2 + item.tags.len());
    if let Streams::One(id) = &item.streams {
        let Some(list) = part.postings(TermKind::Stream, id.as_bytes())? else {
            return Ok(None);
        };
        all.push(Matches::of(list, direction));
    }
    for tag in &item.tags {
        let Some(list) = part.postings(TermKind::Tag, tag.as_bytes())? else {
            return Ok(None);
        };
        all.push(Matches::of(list, direction));
    }
    if !item.types.is_empty() {
        let mut any = Vec::new();
        for event_type in &item.types {
            any.extend(part.postings(TermKind::Type, event_type.as_bytes())?.map(|list| Matches::of(list, direction)));
        }
        let Some(types) = union(any, direction) else {
            return Ok(None);
        };
        all.push(types);
    }
    if let Streams::Prefix(prefix) = &item.streams {
        let Some(streams) = select_prefix(prefix, part, bounds, direction)? else {
            return Ok(None);
        };
        all.push(streams);
    }
    Ok(intersection(all))
}

/// The events of the streams whose names begin with `prefix`, from where they had them.
///
/// There may be very many streams of few events each, and a cursor for each would cost more than its positions do. So those
/// of one chunk are put together at once: asking each for its first match would read that chunk anyway.
fn select_prefix<'a>(
    prefix: &'a str,
    part: &'a dyn PartTerms,
    bounds: &Range<u32>,
    direction: Direction,
) -> Result<Option<Matches<'a>>, ReadError> {
    let streams = match part.with_prefix(prefix, bounds, direction)? {
        WithPrefix::Events(cursor) => return Ok(Some(Matches { len: bounds.len() as u64, cursor })),
        WithPrefix::Streams(streams) => streams,
    };
    let (mut any, mut few, mut chunk) = (Vec::new(), Vec::new(), Vec::new());
    for NamedStream { id, since } in streams {
        match part.postings(TermKind::Stream, id.as_bytes())? {
            None => {}
            Some(list) if list.len() <= CHUNK_LEN => {
                list.chunk(0, &mut chunk)?;
                few.extend(chunk.iter().filter(|position| **position >= since));
            }
            Some(list) => {
                let Matches { len, cursor } = Matches::of(list, direction);
                any.push(Matches { len, cursor: Box::new(Within::new(since..u32::MAX, direction, cursor)) });
            }
        }
    }
    if !few.is_empty() {
        few.sort_unstable();
        // An event is in one stream, but a part that is damaged may say otherwise.
        few.dedup();
        any.push(Matches::of(Box::new(Positions(few)), direction));
    }
    Ok(union(any, direction))
}

fn union(mut any: Vec<Matches<'_>>, direction: Direction) -> Option<Matches<'_>> {
    if any.len() < 2 {
        return any.pop();
    }
    let len = any.iter().map(|matches| matches.len).sum();
    let cursors = any.into_iter().map(|matches| matches.cursor).collect();
    Some(Matches { len, cursor: Box::new(Or::new(cursors, direction)) })
}

fn intersection(mut all: Vec<Matches<'_>>) -> Option<Matches<'_>> {
    if all.len() < 2 {
        return all.pop();
    }
    // The rarest drives: no more candidates are tried than it has positions.
    all.sort_by_key(|matches| matches.len);
    let len = all[0].len;
    let cursors = all.into_iter().map(|matches| matches.cursor).collect();
    Some(Matches { len, cursor: Box::new(And::new(cursors)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::memory::model::{Log, TAGS, TYPES, Whose, frames, whose};
    use crate::query::{Query, QueryItem};
    use eventfold_codec::StreamName;
    use proptest::prelude::*;

    fn texts(texts: [&'static str; 4]) -> impl Strategy<Value = Vec<&'static str>> {
        // One that no event has is among them.
        let text = (0..5usize).prop_map(move |index| texts.get(index).copied().unwrap_or("missing"));
        prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(text, 1..4)]
    }

    fn item() -> impl Strategy<Value = QueryItem> {
        let prefix = prop::sample::select(vec!["a", "account-", "account-1", "audit", "b"]);
        let streams = prop_oneof![
            3 => Just(QueryItem::new()),
            2 => whose().prop_filter("can be read", |whose| !matches!(whose, Whose::None))
                .prop_map(|whose| QueryItem::new().stream(whose.stream())),
            2 => prefix.prop_map(|prefix| QueryItem::new().stream_prefix(prefix)),
        ];
        (streams, texts(TYPES), texts(TAGS))
            .prop_map(|(item, types, tags)| item.types(types).tags(tags))
            .prop_filter("has criteria", |item| *item != QueryItem::new())
    }

    fn query() -> impl Strategy<Value = ValidQuery> {
        let items = prop::collection::vec(item(), 1..4);
        let query = prop_oneof![1 => Just(Query::all()), 12 => items.prop_map(|items| items.into_iter().fold(Query::new(), Query::or))];
        query.prop_map(|query| query.check().unwrap())
    }

    proptest! {
        #[test]
        fn what_is_selected_is_what_matches(
            frames in frames(),
            queries in prop::collection::vec(query(), 8),
            cut in prop::option::of(any::<prop::sample::Index>()),
            bounds in prop_oneof![
                Just((0, u32::MAX)),
                (0..500u32, 0..500u32),
                // So few events that they are gone through rather than streams.
                (0..500u32, 0..60u32).prop_map(|(start, len)| (start, start + len)),
            ],
            seeks in prop::collection::vec(0..600u32, 20),
        ) {
            let log = Log::new(&frames);
            let limit = log.limit(cut.map_or(usize::MAX, |cut| cut.index(log.frames.len() + 1)));
            let part = log.index.below(limit);
            for query in queries {
                let matching = log.positions(limit, |position, event| {
                    // An event has the name that its stream had by then.
                    let name = log.name(&event.stream, position + 1).map(StreamName::as_str);
                    query.matches_parts(&event.stream, name, event.kind, || event.tags.iter().copied())
                });
                let expected: Vec<_> = matching.iter().copied().filter(|at| (bounds.0..bounds.1).contains(at)).collect();
                for direction in [Direction::Forward, Direction::Backward] {
                    let mut cursor = select(&query, &part, bounds.0..bounds.1, direction).unwrap();
                    let (mut at, mut walked) = (Some(if direction == Direction::Forward { 0 } else { u32::MAX }), Vec::new());
                    while let Some(found) = at.and_then(|at| cursor.seek(at).unwrap()) {
                        walked.push(found);
                        at = direction.after(found);
                    }
                    if direction == Direction::Backward {
                        walked.reverse();
                    }
                    prop_assert_eq!(&walked, &expected);
                    for seek in &seeks {
                        let first = match direction {
                            Direction::Forward => expected.iter().find(|at| *at >= seek),
                            Direction::Backward => expected.iter().rfind(|at| *at <= seek),
                        };
                        prop_assert_eq!(cursor.seek(*seek).unwrap(), first.copied(), "{:?} {}", direction, seek);
                    }
                }
                for from in &seeks {
                    let first = matching.iter().find(|at| *at >= from).copied();
                    prop_assert_eq!(first_match(&query, &part, *from).unwrap(), first);
                }
            }
        }
    }

    /// A part with one type, which is rare, and one tag, which all events have. It counts the chunks that are read.
    struct RareType(std::sync::Arc<std::sync::atomic::AtomicU32>);

    struct Counted(Positions, std::sync::Arc<std::sync::atomic::AtomicU32>);

    impl PostingList for Counted {
        fn len(&self) -> u32 {
            self.0.len()
        }

        fn chunk(&self, index: u32, out: &mut Vec<u32>) -> Result<(), ReadError> {
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.0.chunk(index, out)
        }

        fn find_chunk(&self, position: u32) -> Result<u32, ReadError> {
            self.0.find_chunk(position)
        }
    }

    impl PartTerms for RareType {
        fn postings(&self, kind: TermKind, _: &[u8]) -> Result<Option<Box<dyn PostingList>>, ReadError> {
            let step = if kind == TermKind::Type { 1000 } else { 1 };
            let positions = (0..self.event_count()).step_by(step).skip(1).collect();
            Ok(Some(Box::new(Counted(Positions(positions), self.0.clone()))))
        }

        fn with_prefix(&self, _: &str, _: &Range<u32>, _: Direction) -> Result<WithPrefix<'_>, ReadError> {
            Ok(WithPrefix::Streams(Vec::new()))
        }

        fn event_count(&self) -> u32 {
            100_000
        }
    }

    #[test]
    fn the_rarest_term_drives() {
        let query = Query::item(QueryItem::new().types(["rare"]).tags(["common"])).check().unwrap();
        for direction in [Direction::Forward, Direction::Backward] {
            let part = RareType(std::sync::Arc::default());
            let mut cursor = select(&query, &part, 0..u32::MAX, direction).unwrap();
            let (mut at, mut found) = (Some(if direction == Direction::Forward { 0 } else { u32::MAX }), 0);
            while let Some(position) = at.and_then(|at| cursor.seek(at).unwrap()) {
                found += 1;
                at = direction.after(position);
            }
            assert_eq!(found, 99);
            // One chunk of the rare type, and one of the tag for each of its positions.
            assert_eq!(part.0.load(std::sync::atomic::Ordering::Relaxed), 1 + 99);
        }
    }
}
