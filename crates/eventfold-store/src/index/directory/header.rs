//! A directory's header: what it covers, and how long its sections are.

use eventfold_codec::{Digest, SegmentKey, crc32c};
use uuid::Uuid;

use super::super::node::Malformed;
use super::super::page::{PAGE_LEN, SectionKind};

/// Bytes of the header. The first section's pages follow it.
pub(crate) const DIRECTORY_HEADER_LEN: usize = 4096;

pub(crate) const DIRECTORY_MAGIC: [u8; 8] = [0xEF, b'E', b'V', b'F', b'D', b'I', b'R', 0x1A];

const DIRECTORY_VERSION: u32 = 1;

const CHECKSUM_SEED: u32 = 0x5EED_D120;

const FIELDS_LEN: usize = 100;
const CHECKSUM_OFFSET: usize = DIRECTORY_HEADER_LEN - 4;

/// What a directory's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryHeader {
    /// The store's id.
    pub(crate) store_id: Uuid,
    /// Random, drawn anew for every file.
    pub(crate) salt: u64,
    /// Number of the first segment it answers for.
    pub(crate) first_segment: u32,
    /// How many segments it answers for: at least one.
    pub(crate) segment_count: u32,
    /// Byte digest of the last of them. Digests are chained, so it binds the directory to all of them.
    pub(crate) last_digest: Digest,
    /// How many streams, types and tags it has.
    pub(crate) term_count: u64,
    pub(super) postings_pages: u32,
    pub(super) terms_pages: u32,
    pub(super) filter_pages: u32,
}

impl DirectoryHeader {
    /// The key of the checksums of the directory's pages, whose place is 0.
    pub(crate) fn key(&self) -> SegmentKey {
        SegmentKey::new(self.salt)
    }

    /// Where a section starts in the file, and how many pages it has.
    pub(crate) fn section(&self, kind: SectionKind) -> (u64, u32) {
        let (before, pages) = match kind {
            SectionKind::Postings => (0, self.postings_pages),
            SectionKind::Terms => (u64::from(self.postings_pages), self.terms_pages),
            SectionKind::Filter => (u64::from(self.postings_pages) + u64::from(self.terms_pages), self.filter_pages),
            SectionKind::Offsets | SectionKind::Appends => (0, 0),
        };
        (DIRECTORY_HEADER_LEN as u64 + before * PAGE_LEN as u64, pages)
    }

    /// The same with a filter as large as another's.
    pub(crate) fn with_filter_of(self, other: &Self) -> Self {
        Self { filter_pages: other.filter_pages, ..self }
    }

    /// The length of the file.
    pub(crate) fn file_len(&self) -> u64 {
        let (start, pages) = self.section(SectionKind::Filter);
        start + u64::from(pages) * PAGE_LEN as u64
    }

    /// The bytes that start the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(DIRECTORY_HEADER_LEN);
        bytes.extend_from_slice(&DIRECTORY_MAGIC);
        bytes.extend_from_slice(&DIRECTORY_VERSION.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(self.store_id.as_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&self.first_segment.to_le_bytes());
        bytes.extend_from_slice(&self.segment_count.to_le_bytes());
        bytes.extend_from_slice(&self.last_digest.0);
        bytes.extend_from_slice(&self.term_count.to_le_bytes());
        for pages in [self.postings_pages, self.terms_pages, self.filter_pages] {
            bytes.extend_from_slice(&pages.to_le_bytes());
        }
        assert_eq!(bytes.len(), FIELDS_LEN, "the fields are those of the format");
        bytes.resize(CHECKSUM_OFFSET, 0);
        let checksum = crc32c(&bytes) ^ CHECKSUM_SEED;
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header of a file of this length.
    pub(crate) fn decode(bytes: &[u8], file_len: u64) -> Result<Self, Malformed> {
        let bytes = bytes.first_chunk::<DIRECTORY_HEADER_LEN>().ok_or("a directory's header is cut off")?;
        let (summed, checksum) = bytes.split_last_chunk().expect("a header is longer than its checksum");
        if u32::from_le_bytes(*checksum) != crc32c(summed) ^ CHECKSUM_SEED {
            return Err("the checksum of a directory's header is not right");
        }
        let (mut fields, reserved) = summed.split_at(FIELDS_LEN);
        if take(&mut fields) != DIRECTORY_MAGIC || u32::from_le_bytes(take(&mut fields)) != DIRECTORY_VERSION {
            return Err("a file is no directory of this version");
        }
        if take(&mut fields) != [0; 4] || reserved.iter().any(|byte| *byte != 0) {
            return Err("reserved bytes of a directory's header are not zero");
        }
        let header = Self {
            store_id: Uuid::from_bytes(take(&mut fields)),
            salt: u64::from_le_bytes(take(&mut fields)),
            first_segment: u32::from_le_bytes(take(&mut fields)),
            segment_count: u32::from_le_bytes(take(&mut fields)),
            last_digest: Digest(take(&mut fields)),
            term_count: u64::from_le_bytes(take(&mut fields)),
            postings_pages: u32::from_le_bytes(take(&mut fields)),
            terms_pages: u32::from_le_bytes(take(&mut fields)),
            filter_pages: u32::from_le_bytes(take(&mut fields)),
        };
        if header.segment_count == 0 || header.first_segment.checked_add(header.segment_count).is_none() {
            return Err("a directory's segments are not a run");
        }
        if header.file_len() != file_len {
            return Err("a directory is not as long as its header says");
        }
        Ok(header)
    }
}

/// Takes the next field off the front of a header's fields.
fn take<const N: usize>(fields: &mut &[u8]) -> [u8; N] {
    let (field, rest) = fields.split_first_chunk().expect("the fields add up to FIELDS_LEN");
    *fields = rest;
    *field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> DirectoryHeader {
        DirectoryHeader {
            store_id: Uuid::from_u128(1),
            salt: 2,
            first_segment: 16,
            segment_count: 16,
            last_digest: Digest([3; 32]),
            term_count: 4,
            postings_pages: 5,
            terms_pages: 6,
            filter_pages: 7,
        }
    }

    #[test]
    fn a_header_comes_back_and_a_flipped_bit_is_noticed() {
        let header = header();
        let (bytes, len) = (header.encode(), header.file_len());
        assert_eq!(len, 4096 * 19);
        assert_eq!(header.section(SectionKind::Filter), (4096 * 12, 7));
        assert_eq!(DirectoryHeader::decode(&bytes, len), Ok(header));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(DirectoryHeader::decode(&damaged, len).is_err(), "byte {at}");
        }
        assert!(DirectoryHeader::decode(&bytes[..4095], len).is_err());
        assert!(DirectoryHeader::decode(&bytes, len - 1).is_err());
        assert!(DirectoryHeader::decode(&bytes, len + 4096).is_err());
    }

    #[test]
    fn segments_that_are_no_run_are_refused() {
        for (first_segment, segment_count) in [(0, 0), (u32::MAX, 1)] {
            let header = DirectoryHeader { first_segment, segment_count, ..header() };
            assert!(DirectoryHeader::decode(&header.encode(), header.file_len()).is_err());
        }
    }
}
