//! Merging: the tables of a run of segments, or of directories, into one directory.
//!
//! The children are gone through twice: once for the long lists of places and the number of terms, and once for the table and
//! the filter, whose size depends on that number. So the file is written from front to back, and what is kept in memory is the
//! filter and the first term of each leaf, however long the lists are.

use std::ops::Range;

use eventfold_codec::{Digest, SegmentKey};
use uuid::Uuid;

use super::super::TermKind;
use super::super::filter::{self, FilterBuilder};
use super::super::node::{Malformed, Term};
use super::super::page::{PAGE_CONTENT_LEN, PAGE_LEN, Pages, SectionKind, seal_page};
use super::super::paged::PagedIndex;
use super::super::table::{TableCursor, TableWriter};
use super::super::value::{
    INLINE_POSTINGS_LEN, ListForm, ListRange, StoredPostings, StreamValue, TermValue, decode_named,
};
use super::header::DirectoryHeader;
use super::{Directory, Place, encode_places};
use crate::error::ReadError;

/// What is merged.
#[derive(Clone)]
pub(crate) enum Child<P> {
    /// The index of the sealed segment with this number.
    Segment(u32, PagedIndex<P>),
    /// The directory of a run of segments.
    Directory(Directory<P>),
}

/// What a directory is to say of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MergeOptions {
    pub(crate) store_id: Uuid,
    /// Random, and never used before.
    pub(crate) salt: u64,
    /// Byte digest of the last segment.
    pub(crate) last_digest: Digest,
    /// As in [`IndexOptions`](super::super::builder::IndexOptions).
    pub(crate) filter_bits_per_term: u32,
}

/// Merges the children, which cover one run of segments in order. The file's pages go to `write`, from the first behind the
/// header on; the header that is returned belongs in front of them, once they are written.
///
/// # Panics
///
/// If there are no children, or they leave a segment out, or cover one twice.
pub(crate) fn merge<P: Pages, E: From<ReadError>>(
    children: &[Child<P>],
    options: &MergeOptions,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<DirectoryHeader, E> {
    let segments = run(children);
    let first_segment = segments.start;
    let key = SegmentKey::new(options.salt);

    let mut lists = SectionWriter::new(SectionKind::Postings, key);
    let mut term_count = 0;
    each_term(children, first_segment, |_, value| match value {
        Value::Places(places) => {
            term_count += 1;
            if places.len() > INLINE_POSTINGS_LEN { lists.push(places, &mut write) } else { Ok(()) }
        }
        Value::Id(_) => Ok(()),
    })?;
    let postings_pages = lists.finish(&mut write)?;

    let mut pages = SectionWriter::new(SectionKind::Terms, key);
    let mut table = TableWriter::new();
    let mut filter = FilterBuilder::new(term_count, options.filter_bits_per_term);
    let (mut next_list, mut encoded) = (0u64, Vec::new());
    each_term(children, first_segment, |term, value| {
        let mut emit = |content: &[u8]| pages.push(content, &mut write);
        match value {
            Value::Id(id) => table.push(term, id.as_bytes(), &mut emit),
            Value::Places(places) => {
                let stored = if places.len() <= INLINE_POSTINGS_LEN {
                    StoredPostings::Inline(places)
                } else {
                    let range = ListRange { form: ListForm::Chunked, start: next_list, len: places.len() as u64 };
                    next_list += range.len;
                    StoredPostings::List(range)
                };
                encoded.clear();
                stored.encode(&mut encoded);
                filter.insert(filter::hash(term));
                table.push(term, &encoded, &mut emit)
            }
        }
    })?;
    table.finish(&mut |content| pages.push(content, &mut write))?;
    let terms_pages = pages.finish(&mut write)?;

    let mut blocks = SectionWriter::new(SectionKind::Filter, key);
    filter.pages().try_for_each(|content| blocks.push(&content, &mut write))?;
    let filter_pages = blocks.finish(&mut write)?;

    Ok(DirectoryHeader {
        store_id: options.store_id,
        salt: options.salt,
        first_segment,
        segment_count: segments.end - first_segment,
        last_digest: options.last_digest,
        term_count,
        postings_pages,
        terms_pages,
        filter_pages,
    })
}

/// The segments that the children cover.
fn run<P: Pages>(children: &[Child<P>]) -> Range<u32> {
    let covered = |child: &Child<P>| match child {
        Child::Segment(number, _) => *number..number.checked_add(1).expect("a log has fewer than 2³² - 1 segments"),
        Child::Directory(directory) => directory.segments(),
    };
    let mut segments = covered(children.first().expect("a directory has children"));
    for child in &children[1..] {
        let next = covered(child);
        assert_eq!(next.start, segments.end, "the children of a directory are a run");
        segments.end = next.end;
    }
    segments
}

/// What the children together say of a term.
enum Value<'a> {
    /// The places of a stream, a type or a tag, encoded.
    Places(&'a [u8]),
    /// The stream that a name means.
    Id(Uuid),
}

/// A child, and where the merge stands in its table.
struct Source<'a, P> {
    child: &'a Child<P>,
    cursor: TableCursor<P>,
    is_done: bool,
}

impl<'a, P: Pages> Source<'a, P> {
    fn start(child: &'a Child<P>) -> Result<Self, ReadError> {
        let cursor = match child {
            Child::Segment(_, index) => index.terms()?,
            Child::Directory(directory) => directory.terms()?,
        };
        let mut source = Self { child, cursor, is_done: false };
        source.advance()?;
        Ok(source)
    }

    fn advance(&mut self) -> Result<(), ReadError> {
        self.is_done = !self.cursor.advance()?;
        Ok(())
    }

    fn term(&self) -> Option<&[u8]> {
        (!self.is_done).then(|| self.cursor.term())
    }

    fn checked<T>(&self, decoded: Result<T, Malformed>) -> Result<T, ReadError> {
        decoded.map_err(|what| self.cursor.pages().damaged(what))
    }

    fn id(&self) -> Result<Uuid, ReadError> {
        self.checked(decode_named(self.cursor.value()).map(|named| named.id))
    }

    /// Adds the places that the child has for the term it stands at.
    fn places(&self, kind: TermKind, scratch: &mut Vec<u8>, out: &mut Vec<Place>) -> Result<(), ReadError> {
        let value = self.cursor.value();
        match self.child {
            Child::Segment(segment, _) => {
                let (base, count) = if kind == TermKind::Stream {
                    let value = self.checked(StreamValue::decode(value))?;
                    (value.base, value.count)
                } else {
                    (0, self.checked(TermValue::decode(value))?.count)
                };
                out.push(Place { segment: *segment, base, count });
                Ok(())
            }
            Child::Directory(directory) => directory.places(kind, value, scratch, out),
        }
    }
}

/// Goes through the terms of all children in order, each once.
fn each_term<P: Pages, E: From<ReadError>>(
    children: &[Child<P>],
    first_segment: u32,
    mut visit: impl FnMut(Term<'_>, Value<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut sources = children.iter().map(Source::start).collect::<Result<Vec<_>, _>>()?;
    let (mut places, mut scratch, mut least, mut encoded) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    while let Some(term) = sources.iter().filter_map(Source::term).min() {
        least.clear();
        least.extend_from_slice(term);
        places.clear();
        let mut id = None;
        let mut kind = None;
        for source in sources.iter_mut().filter(|source| source.term() == Some(&least)) {
            let its_kind = source.checked(Term::kind_of(&least))?;
            if its_kind == TermKind::Name {
                let its_id = source.id()?;
                if id.is_some_and(|id| id != its_id) {
                    return Err(source.cursor.pages().damaged("a name means two streams").into());
                }
                id = Some(its_id);
            } else {
                source.places(its_kind, &mut scratch, &mut places)?;
            }
            kind = Some(its_kind);
            source.advance()?;
        }
        let kind = kind.expect("the least term is a source's");
        let term = Term { kind, key: &least[1..] };
        encoded.clear();
        encode_places(kind, &places, first_segment, &mut encoded);
        visit(term, id.map_or(Value::Places(&encoded), Value::Id))?;
    }
    Ok(())
}

/// Writes the pages of a section as they fill.
struct SectionWriter {
    kind: SectionKind,
    key: SegmentKey,
    next_page: u32,
    content: Vec<u8>,
}

impl SectionWriter {
    fn new(kind: SectionKind, key: SegmentKey) -> Self {
        Self { kind, key, next_page: 0, content: Vec::new() }
    }

    fn push<E>(&mut self, content: &[u8], write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.content.extend_from_slice(content);
        let whole = self.content.len() - self.content.len() % PAGE_CONTENT_LEN;
        self.seal(whole, write)
    }

    /// Writes what is left, and says how many pages there are.
    fn finish<E>(mut self, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<u32, E> {
        self.seal(self.content.len(), write)?;
        Ok(self.next_page)
    }

    /// Writes the first bytes as pages.
    fn seal<E>(&mut self, len: usize, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut page = Vec::with_capacity(PAGE_LEN);
        for content in self.content[..len].chunks(PAGE_CONTENT_LEN) {
            page.clear();
            seal_page(self.kind, self.next_page, content, &self.key, 0, &mut page);
            write(&page)?;
            self.next_page = self.next_page.checked_add(1).expect("a section has fewer than 2³² pages, 16 TiB");
        }
        self.content.drain(..len);
        Ok(())
    }
}
