//! Each append's first event id and position, in order: what the duplicate window is restored from without reading frames.

use bytes::Bytes;
use uuid::Uuid;

use super::page::{PAGE_CONTENT_LEN, Pages, RecordWriter, SectionKind, page};
use crate::error::ReadError;

const ENTRY_LEN: usize = 20;

type Writer = RecordWriter<ENTRY_LEN>;

/// One append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AppendEntry {
    /// Id of its first event.
    pub(crate) event_id: Uuid,
    /// Position of that event, relative to the segment's first.
    pub(crate) position: u32,
}

/// Writes the section.
pub(crate) struct AppendsWriter {
    records: Writer,
}

impl AppendsWriter {
    pub(crate) fn new() -> Self {
        Self { records: RecordWriter::new() }
    }

    pub(crate) fn push(&mut self, entry: AppendEntry) {
        let mut record = [0; ENTRY_LEN];
        record[..16].copy_from_slice(entry.event_id.as_bytes());
        record[16..].copy_from_slice(&entry.position.to_le_bytes());
        self.records.push(record);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.records.finish()
    }
}

/// Some of the appends, in order. It ends with the first error.
pub(crate) struct Appends<'a, P> {
    pages: &'a P,
    next: u32,
    end: u32,
    event_count: u32,
    page: Option<Bytes>,
    /// Positions ascend from here.
    least: u32,
}

impl<'a, P: Pages> Appends<'a, P> {
    /// The appends with these indexes, which end with the segment's.
    pub(crate) fn new(pages: &'a P, range: std::ops::Range<u32>, event_count: u32) -> Self {
        Self { pages, next: range.start, end: range.end, event_count, page: None, least: 0 }
    }

    fn read(&mut self) -> Result<AppendEntry, ReadError> {
        let (page_index, index) = (self.next / PER_PAGE, self.next % PER_PAGE);
        let content = match self.page.take() {
            Some(content) if index != 0 => content,
            _ => page(self.pages, SectionKind::Appends, page_index)?,
        };
        let content = self.page.insert(content);
        let (id, position) =
            content.as_chunks::<ENTRY_LEN>().0[index as usize].split_last_chunk().expect("an entry has 20 bytes");
        let entry = AppendEntry {
            event_id: Uuid::from_slice(id).expect("16 bytes are an id"),
            position: u32::from_le_bytes(*position),
        };
        if entry.position < self.least || entry.position >= self.event_count {
            return Err(self.pages.damaged("positions of appends don't ascend"));
        }
        self.least = entry.position + 1;
        Ok(entry)
    }
}

impl<P: Pages> Iterator for Appends<'_, P> {
    type Item = Result<AppendEntry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let entry = self.read();
        self.next = if entry.is_ok() { self.next + 1 } else { self.end };
        Some(entry)
    }
}

const PER_PAGE: u32 = 204;

const _: () = assert!(Writer::PER_PAGE == PER_PAGE as usize && PER_PAGE as usize * ENTRY_LEN <= PAGE_CONTENT_LEN);

#[cfg(test)]
mod tests {
    use super::super::testing::MemoryPages;
    use super::*;

    #[test]
    fn what_does_not_ascend_or_leaves_the_segment_ends_the_list_with_an_error() {
        for (positions, sound) in [(&[0, 1, 9][..], 3), (&[0, 1, 10], 2), (&[0, 1, 1], 2), (&[0, 5, 4], 2)] {
            let mut writer = AppendsWriter::new();
            for &position in positions {
                writer.push(AppendEntry { event_id: Uuid::nil(), position });
            }
            let pages = MemoryPages::of(SectionKind::Appends, &writer.finish());
            let read: Vec<_> = Appends::new(&pages, 0..100, 10).collect();
            assert_eq!(read.iter().take_while(|entry| entry.is_ok()).count(), sound, "{positions:?}");
            assert!(read[sound].is_err() && read.len() == sound + 1);
        }
    }
}
