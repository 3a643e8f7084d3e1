//! The index on disk, as it is read.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use eventfold_codec::StreamName;
use uuid::Uuid;

use super::appends::Appends;
use super::node::{Malformed, Term};
use super::offsets::{self, Frames, decode_frames};
use super::page::Pages;
use super::postings::PagedPostings;
use super::table::{self, TableCursor};
use super::value::{StoredPostings, StreamValue, TermValue, decode_name, decode_named};
use super::{NamedStream, TermKind, filter};
use crate::error::ReadError;

/// An index in pages. Everything it reads is checked: damage is an error, and says that the index is to be made again.
pub(crate) struct PagedIndex<P> {
    pages: Arc<P>,
    event_count: u32,
    append_count: u32,
    /// Entries of `OFFSETS`, once they were counted: a guess where a position stands is as good as this.
    offsets_count: OnceLock<u64>,
}

impl<P> Clone for PagedIndex<P> {
    fn clone(&self) -> Self {
        Self { pages: Arc::clone(&self.pages), offsets_count: self.offsets_count.clone(), ..*self }
    }
}

/// What an index knows of a stream.
pub(crate) struct StreamEntry {
    /// Version of its first event here.
    pub(crate) base: u64,
    /// How many of its events are here: at least one.
    pub(crate) count: u32,
    /// Its name, where it has one.
    pub(crate) name: Option<StreamName>,
}

impl<P: Pages> PagedIndex<P> {
    /// The index in these pages, of so many events in so many appends.
    pub(crate) fn new(pages: Arc<P>, event_count: u32, append_count: u32) -> Self {
        Self { pages, event_count, append_count, offsets_count: OnceLock::new() }
    }

    pub(crate) fn pages(&self) -> &P {
        &self.pages
    }

    /// Whether a term may be there: `false` is certain. It costs a page, or nothing where there is no filter. Nothing is known
    /// of names, which are found by their streams' ids.
    pub(crate) fn may_contain(&self, kind: TermKind, key: &[u8]) -> Result<bool, ReadError> {
        if filter::covers(kind) {
            filter::may_contain(&*self.pages, filter::hash(Term { kind, key }))
        } else {
            Ok(true)
        }
    }

    /// A stream, if one of its events is here.
    pub(crate) fn stream(&self, id: &Uuid) -> Result<Option<StreamEntry>, ReadError> {
        self.lookup(TermKind::Stream, id.as_bytes(), |value| self.entry(&self.checked(StreamValue::decode(value))?))
    }

    /// A stream, its positions and its frames, with one lookup; `None` where it has no events here, or no positions are kept.
    pub(crate) fn stream_positions(
        &self,
        id: &Uuid,
    ) -> Result<Option<(StreamEntry, PagedPostings<P>, Frames)>, ReadError> {
        let found = self.lookup(TermKind::Stream, id.as_bytes(), |value| {
            let value = self.checked(StreamValue::decode(value))?;
            let positions = self.open(value.postings, value.count)?;
            let Some(positions) = positions else { return Ok(None) };
            let frames = match value.frames {
                [] => Frames::new(),
                frames => self.checked(decode_frames(frames, value.count).ok_or("a stream's frames are not sound"))?,
            };
            Ok(Some((self.entry(&value)?, positions, frames)))
        })?;
        Ok(found.flatten())
    }

    fn entry(&self, value: &StreamValue<'_>) -> Result<StreamEntry, ReadError> {
        let name = value.name.map(|name| self.checked(decode_name(name))).transpose()?;
        Ok(StreamEntry { base: value.base, count: value.count, name })
    }

    /// The positions of a stream, an event type or a tag; `None` where it has none, or none are kept.
    pub(crate) fn postings(&self, kind: TermKind, key: &[u8]) -> Result<Option<PagedPostings<P>>, ReadError> {
        let found = self.lookup(kind, key, |value| match kind {
            TermKind::Stream => {
                let value = self.checked(StreamValue::decode(value))?;
                self.open(value.postings, value.count)
            }
            TermKind::Type | TermKind::Tag => {
                let value = self.checked(TermValue::decode(value))?;
                self.open(value.postings, value.count)
            }
            TermKind::Name => Ok(None),
        })?;
        Ok(found.flatten())
    }

    fn open(&self, stored: StoredPostings<'_>, count: u32) -> Result<Option<PagedPostings<P>>, ReadError> {
        PagedPostings::open(&self.pages, stored, count, self.event_count)
    }

    fn lookup<T>(
        &self,
        kind: TermKind,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, ReadError>,
    ) -> Result<Option<T>, ReadError> {
        if !self.may_contain(kind, key)? {
            return Ok(None);
        }
        table::find(&*self.pages, Term { kind, key })?.map(|value| decode(&value)).transpose()
    }

    fn checked<T>(&self, decoded: Result<T, Malformed>) -> Result<T, ReadError> {
        decoded.map_err(|what| self.pages.damaged(what))
    }

    /// The names with this prefix, in the order of their bytes, from the first one behind `after`, each with its stream's id.
    pub(crate) fn names(&self, prefix: &str, after: Option<&str>) -> Result<Names<P>, ReadError> {
        Names::new(Arc::clone(&self.pages), prefix, after)
    }

    /// The offset of a frame from which on the one that has this position is found, by walking over a few KiB at most.
    pub(crate) fn locate(&self, position: u32) -> Result<u64, ReadError> {
        let entry_count = if let Some(count) = self.offsets_count.get() {
            *count
        } else {
            let count = offsets::entry_count(&*self.pages)?;
            *self.offsets_count.get_or_init(|| count)
        };
        offsets::locate(&*self.pages, position, self.event_count, entry_count)
    }

    /// How many appends it covers.
    pub(crate) fn append_count(&self) -> u32 {
        self.append_count
    }

    /// The appends with these indexes, as far as there are any.
    pub(crate) fn appends(&self, range: Range<u32>) -> Appends<'_, P> {
        Appends::new(&*self.pages, range.start..range.end.min(self.append_count), self.event_count)
    }

    /// All terms, in order.
    pub(crate) fn terms(&self) -> Result<TableCursor<P>, ReadError> {
        TableCursor::start(Arc::clone(&self.pages))
    }
}

/// Names and their streams, in order. It ends with the first error.
pub(crate) struct Names<P> {
    cursor: TableCursor<P>,
    prefix: Box<str>,
    after: Option<Box<str>>,
}

impl<P: Pages> Names<P> {
    pub(crate) fn new(pages: Arc<P>, prefix: &str, after: Option<&str>) -> Result<Self, ReadError> {
        let from = after.map_or(prefix, |after| after.max(prefix));
        let cursor = TableCursor::seek(pages, Term { kind: TermKind::Name, key: from.as_bytes() })?;
        Ok(Self { cursor, prefix: prefix.into(), after: after.map(Into::into) })
    }

    fn try_next(&mut self) -> Result<Option<(StreamName, NamedStream)>, ReadError> {
        while self.cursor.advance()? {
            let Some((_, name)) = self.cursor.term().split_first().filter(|(kind, _)| **kind == TermKind::Name as u8)
            else {
                return Ok(None);
            };
            if !name.starts_with(self.prefix.as_bytes()) {
                return Ok(None);
            }
            if self.after.as_ref().is_some_and(|after| name <= after.as_bytes()) {
                continue;
            }
            let name = decode_name(name).and_then(|name| Ok((name, decode_named(self.cursor.value())?)));
            return name.map(Some).map_err(|what| self.cursor.pages().damaged(what));
        }
        Ok(None)
    }
}

impl<P: Pages> Iterator for Names<P> {
    type Item = Result<(StreamName, NamedStream), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.try_next();
        if !matches!(next, Ok(Some(_))) {
            self.cursor.end();
        }
        next.transpose()
    }
}
