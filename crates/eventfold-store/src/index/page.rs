//! Pages: what the sections of an index are cut into, so that any part of one is read and verified by itself.

use bytes::Bytes;
use eventfold_codec::SegmentKey;

use crate::error::ReadError;

/// Bytes of a page.
pub(crate) const PAGE_LEN: usize = 4096;

/// Bytes of a page without its checksum.
pub(crate) const PAGE_CONTENT_LEN: usize = PAGE_LEN - CHECKSUM_LEN;

const CHECKSUM_LEN: usize = 4;

/// What a section of an index holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SectionKind {
    /// Where frames stand.
    Offsets = 1,
    /// Each term's entry, sorted.
    Terms = 2,
    /// The positions that stand outside their term's entry.
    Postings = 3,
    /// Which terms are certainly absent.
    Filter = 4,
    /// Each append's first event id and position.
    Appends = 5,
}

impl SectionKind {
    /// The kind's number in the format.
    pub(crate) const fn number(self) -> u16 {
        self as u16
    }

    /// The kind with this number, if this version knows it.
    pub(crate) fn from_number(number: u16) -> Option<Self> {
        [Self::Offsets, Self::Terms, Self::Postings, Self::Filter, Self::Appends]
            .into_iter()
            .find(|kind| kind.number() == number)
    }
}

/// Where the pages of one index come from.
///
/// Whoever implements this verifies a page when it is read from the disk; what it says is not trusted all the same.
pub(crate) trait Pages: Send + Sync {
    /// How many pages the section has: its length by [`PAGE_LEN`].
    fn page_count(&self, section: SectionKind) -> u32;

    /// The content of a page below [`page_count`](Self::page_count): [`PAGE_CONTENT_LEN`] bytes.
    fn page(&self, section: SectionKind, index: u32) -> Result<Bytes, ReadError>;

    /// The error that says that this index is damaged.
    fn damaged(&self, what: &'static str) -> ReadError;
}

/// Appends the pages of a section to `out`, the last one filled up with zeroes.
///
/// # Panics
///
/// If the content needs more than 2³² pages, which is far beyond the longest segment.
pub(crate) fn seal_pages(kind: SectionKind, content: &[u8], key: &SegmentKey, at: u64, out: &mut Vec<u8>) {
    out.reserve(content.len().div_ceil(PAGE_CONTENT_LEN) * PAGE_LEN);
    for (index, content) in (0..).zip(content.chunks(PAGE_CONTENT_LEN)) {
        seal_page(kind, index, content, key, at, out);
    }
}

/// Appends one page to `out`, filled up with zeroes.
///
/// # Panics
///
/// If the content is longer than a page's.
pub(crate) fn seal_page(kind: SectionKind, index: u32, content: &[u8], key: &SegmentKey, at: u64, out: &mut Vec<u8>) {
    assert!(content.len() <= PAGE_CONTENT_LEN, "a page has room for {PAGE_CONTENT_LEN} bytes");
    let start = out.len();
    out.extend_from_slice(content);
    out.resize(start + PAGE_CONTENT_LEN, 0);
    let checksum = key.page(at, kind.number(), index, &out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// The content of a page that was read from the disk, or `None` where it is cut off or its checksum is not right.
pub(crate) fn open_page(kind: SectionKind, index: u32, page: &Bytes, key: &SegmentKey, at: u64) -> Option<Bytes> {
    let (content, checksum) = page.split_last_chunk::<CHECKSUM_LEN>()?;
    let sound = content.len() == PAGE_CONTENT_LEN
        && u32::from_le_bytes(*checksum) == key.page(at, kind.number(), index, content);
    sound.then(|| page.slice(..PAGE_CONTENT_LEN))
}

/// Writes records of one length into pages, none across the border of two.
pub(crate) struct RecordWriter<const N: usize> {
    content: Vec<u8>,
}

impl<const N: usize> RecordWriter<N> {
    /// How many records a page has.
    pub(crate) const PER_PAGE: usize = PAGE_CONTENT_LEN / N;

    pub(crate) fn new() -> Self {
        Self { content: Vec::new() }
    }

    pub(crate) fn push(&mut self, record: [u8; N]) {
        let left = PAGE_CONTENT_LEN - self.content.len() % PAGE_CONTENT_LEN;
        if left < N {
            self.content.resize(self.content.len() + left, 0);
        }
        self.content.extend_from_slice(&record);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.content
    }
}

/// The page, where the section has it and it is as long as a page must be.
pub(crate) fn page<P: Pages + ?Sized>(pages: &P, section: SectionKind, index: u32) -> Result<Bytes, ReadError> {
    if index >= pages.page_count(section) {
        return Err(pages.damaged("a page lies beyond its section"));
    }
    let content = pages.page(section, index)?;
    if content.len() == PAGE_CONTENT_LEN { Ok(content) } else { Err(pages.damaged("a page is cut off")) }
}

/// Reads a section's content by offset, and keeps the page it read last.
pub(crate) struct ContentReader<'a, P: ?Sized> {
    pages: &'a P,
    section: SectionKind,
    current: Option<(u32, Bytes)>,
}

impl<'a, P: Pages + ?Sized> ContentReader<'a, P> {
    pub(crate) fn new(pages: &'a P, section: SectionKind) -> Self {
        Self { pages, section, current: None }
    }

    /// How many bytes of content the section's pages have room for.
    pub(crate) fn len(pages: &P, section: SectionKind) -> u64 {
        u64::from(pages.page_count(section)) * PAGE_CONTENT_LEN as u64
    }

    /// The content from `offset` to the end of its page: at least one byte.
    pub(crate) fn rest_of_page(&mut self, offset: u64) -> Result<&[u8], ReadError> {
        let index = u32::try_from(offset / PAGE_CONTENT_LEN as u64)
            .map_err(|_| self.pages.damaged("an offset lies beyond its section"))?;
        let content = match self.current.take() {
            Some((current, content)) if current == index => content,
            _ => page(self.pages, self.section, index)?,
        };
        let (_, content) = self.current.insert((index, content));
        let start = usize::try_from(offset % PAGE_CONTENT_LEN as u64).expect("a remainder of 4,092 fits");
        Ok(&content[start..])
    }

    /// The four bytes at `offset`, a multiple of 4, so that they stand in one page.
    pub(crate) fn u32_at(&mut self, offset: u64) -> Result<u32, ReadError> {
        match self.rest_of_page(offset)?.first_chunk() {
            Some(bytes) => Ok(u32::from_le_bytes(*bytes)),
            None => Err(self.pages.damaged("an offset is not aligned")),
        }
    }

    /// The `len` bytes at `offset`: a slice of their page, or put together in `scratch` where they stand in several.
    pub(crate) fn slice<'b>(
        &'b mut self,
        offset: u64,
        len: usize,
        scratch: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], ReadError> {
        if len == 0 {
            return Ok(&[]); // nothing, even where the section ends
        }
        if self.rest_of_page(offset)?.len() >= len {
            return Ok(&self.rest_of_page(offset)?[..len]);
        }
        scratch.clear();
        while scratch.len() < len {
            let rest = self.rest_of_page(offset + scratch.len() as u64)?;
            scratch.extend_from_slice(&rest[..rest.len().min(len - scratch.len())]);
        }
        Ok(scratch)
    }
}

const _: () = assert!(PAGE_CONTENT_LEN.is_multiple_of(4));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_anywhere_in_a_page_is_noticed() {
        let key = SegmentKey::new(7);
        let content: Vec<u8> = (0..=250u8).cycle().take(PAGE_CONTENT_LEN + 100).collect();
        let mut pages = Vec::new();
        seal_pages(SectionKind::Terms, &content, &key, 8192, &mut pages);
        assert_eq!(pages.len(), 2 * PAGE_LEN);
        for at in 0..pages.len() {
            let mut damaged = pages.clone();
            damaged[at] ^= 1 << (at % 8);
            let index = at / PAGE_LEN;
            let page = Bytes::from(damaged).slice(index * PAGE_LEN..(index + 1) * PAGE_LEN);
            let index = u32::try_from(index).unwrap();
            assert_eq!(open_page(SectionKind::Terms, index, &page, &key, 8192), None, "byte {at}");
        }
    }

    #[test]
    fn a_page_is_read_only_where_it_belongs() {
        let key = SegmentKey::new(7);
        let mut page = Vec::new();
        seal_page(SectionKind::Postings, 3, b"content", &key, 8192, &mut page);
        let page = Bytes::from(page);
        let content = open_page(SectionKind::Postings, 3, &page, &key, 8192).unwrap();
        assert_eq!(content.len(), PAGE_CONTENT_LEN);
        assert!(content.starts_with(b"content\0"));
        assert_eq!(open_page(SectionKind::Postings, 2, &page, &key, 8192), None);
        assert_eq!(open_page(SectionKind::Terms, 3, &page, &key, 8192), None);
        assert_eq!(open_page(SectionKind::Postings, 3, &page, &key, 8200), None);
        assert_eq!(open_page(SectionKind::Postings, 3, &page, &SegmentKey::new(8), 8192), None);
        assert_eq!(open_page(SectionKind::Postings, 3, &page.slice(..100), &key, 8192), None);
        assert_eq!(open_page(SectionKind::Postings, 3, &Bytes::new(), &key, 8192), None);
    }

    #[test]
    fn records_stay_within_their_page() {
        let mut records = RecordWriter::<20>::new();
        for record in 1..=205u8 {
            records.push([record; 20]);
        }
        let content = records.finish();
        assert_eq!(RecordWriter::<20>::PER_PAGE, 204);
        assert_eq!(content[203 * 20..204 * 20], [204; 20]);
        assert_eq!(content[204 * 20..PAGE_CONTENT_LEN], [0; 12]);
        assert_eq!(content[PAGE_CONTENT_LEN..], [205; 20]);
    }
}
