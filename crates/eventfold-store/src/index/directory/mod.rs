//! Directories: which of many sealed segments have a term.
//!
//! A directory is a file of its own, merged from the indexes of a run of segments or from other directories, and derived all
//! the way: where anything is wrong with it, it is made again.

pub(crate) mod header;
pub(crate) mod merge;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use self::header::DirectoryHeader;
use super::TermKind;
use super::filter;
use super::node::{Malformed, Term};
use super::page::{ContentReader, Pages, SectionKind};
use super::paged::Names;
use super::table::{self, TableCursor};
use super::value::{ListForm, ListRange, StoredPostings};
use super::varint;
use crate::error::ReadError;

/// Where a term has events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the segment.
    pub(crate) segment: u32,
    /// Version of a stream's first event there; 0 where the term is no stream.
    pub(crate) base: u64,
    /// How many events there have the term: at least one.
    pub(crate) count: u32,
}

/// A directory, as it is read. Everything is checked: damage is an error, and says that the directory is to be made again.
pub(crate) struct Directory<P> {
    pages: Arc<P>,
    first_segment: u32,
    segment_count: u32,
}

impl<P> Clone for Directory<P> {
    fn clone(&self) -> Self {
        Self { pages: Arc::clone(&self.pages), ..*self }
    }
}

impl<P: Pages> Directory<P> {
    /// The directory whose sections these pages are.
    pub(crate) fn new(pages: Arc<P>, header: &DirectoryHeader) -> Self {
        Self { pages, first_segment: header.first_segment, segment_count: header.segment_count }
    }

    /// The numbers of the segments it answers for.
    pub(crate) fn segments(&self) -> Range<u32> {
        self.first_segment..self.first_segment.saturating_add(self.segment_count)
    }

    /// Whether one of the segments may have the term: `false` is certain. Nothing is known of names.
    pub(crate) fn may_contain(&self, kind: TermKind, key: &[u8]) -> Result<bool, ReadError> {
        if filter::covers(kind) {
            filter::may_contain(&*self.pages, filter::hash(Term { kind, key }))
        } else {
            Ok(true)
        }
    }

    /// The segments that have a stream, an event type or a tag, by ascending number.
    pub(crate) fn find(&self, kind: TermKind, key: &[u8]) -> Result<Vec<Place>, ReadError> {
        let mut places = Vec::new();
        if kind != TermKind::Name
            && self.may_contain(kind, key)?
            && let Some(value) = table::find(&*self.pages, Term { kind, key })?
        {
            self.places(kind, &value, &mut Vec::new(), &mut places)?;
        }
        Ok(places)
    }

    /// The names with this prefix, in the order of their bytes, from the first one behind `after`, each with its stream's id.
    pub(crate) fn names(&self, prefix: &str, after: Option<&str>) -> Result<Names<P>, ReadError> {
        Names::new(Arc::clone(&self.pages), prefix, after)
    }

    fn terms(&self) -> Result<TableCursor<P>, ReadError> {
        TableCursor::start(Arc::clone(&self.pages))
    }

    /// Adds the places that a term's value holds or points to.
    fn places(
        &self,
        kind: TermKind,
        mut value: &[u8],
        scratch: &mut Vec<u8>,
        out: &mut Vec<Place>,
    ) -> Result<(), ReadError> {
        let mut reader = ContentReader::new(&*self.pages, SectionKind::Postings);
        let stored = StoredPostings::decode(&mut value).map_err(|what| self.pages.damaged(what))?;
        let bytes = match stored {
            StoredPostings::Inline(bytes) => bytes,
            StoredPostings::List(ListRange { form: ListForm::Chunked, start, len }) => {
                let room = ContentReader::len(&*self.pages, SectionKind::Postings);
                let fits = start.checked_add(len).is_some_and(|end| end <= room);
                let len = usize::try_from(len).ok().filter(|_| fits);
                let len = len.ok_or_else(|| self.pages.damaged("a list of places does not fit its section"))?;
                reader.slice(start, len, scratch)?
            }
            StoredPostings::List(_) | StoredPostings::None => {
                return Err(self.pages.damaged("places have an unknown form"));
            }
        };
        decode_places(kind, bytes, self.segments(), out).map_err(|what| self.pages.damaged(what))
    }
}

/// Encodes places in segments from `first_segment` on, which ascend.
fn encode_places(kind: TermKind, places: &[Place], first_segment: u32, out: &mut Vec<u8>) {
    let mut next = first_segment;
    for place in places {
        varint::put(out, u64::from(place.segment - next));
        if kind == TermKind::Stream {
            varint::put(out, place.base);
        }
        varint::put(out, u64::from(place.count));
        next = place.segment + 1;
    }
}

fn decode_places(
    kind: TermKind,
    mut bytes: &[u8],
    segments: Range<u32>,
    out: &mut Vec<Place>,
) -> Result<(), Malformed> {
    let mut next = segments.start;
    while !bytes.is_empty() {
        let cut_off = "a list of places is cut off";
        let skipped = varint::take_u32(&mut bytes).ok_or(cut_off)?;
        let base = if kind == TermKind::Stream { varint::take(&mut bytes).ok_or(cut_off)? } else { 0 };
        let count = varint::take_u32(&mut bytes).ok_or(cut_off)?;
        let segment = next.checked_add(skipped).filter(|segment| *segment < segments.end);
        let segment = segment.ok_or("a place lies beyond the directory's segments")?;
        if count == 0 || base.checked_add(count.into()).is_none() {
            return Err("a place's count is not one");
        }
        out.push(Place { segment, base, count });
        next = segment + 1;
    }
    Ok(())
}
