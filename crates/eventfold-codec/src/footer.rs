//! The footer of a sealed segment: section 5 of `docs/FORMAT.md`.
//!
//! This is the container alone. What its sections hold is the business of who seals and reads segments.

use crate::checksum::{self, ChecksumMismatch, FooterPart, SegmentKey};
use crate::digest::Digest;
use crate::error::Unsupported;
use crate::layout::layout;
use crate::limits::{FIRST_FRAME_OFFSET, MAX_SEGMENT_LEN, TAIL_ZEROES_LEN};

layout! {
    /// Table "footer header".
    footer_header, 256 bytes {
        MAGIC: 8,
        FOOTER_VERSION: 4,
        SECTION_COUNT: 4,
        FOOTER_LEN: 8,
        DATA_END: 8,
        FIRST_POSITION: 8,
        END_POSITION: 8,
        APPEND_COUNT: 8,
        FRAME_COUNT: 8,
        STREAM_COUNT: 8,
        LAST_INCARNATION: 4,
        LAST_CHECKSUM: 4,
        RESERVED_A: 16,
        BYTE_DIGEST: 32,
        LOGICAL_DIGEST: 32,
        PREVIOUS_BYTE_DIGEST: 32,
        PREVIOUS_LOGICAL_DIGEST: 32,
        RESERVED_B: 24,
        DIRECTORY_CHECKSUM: 4,
        HEADER_CHECKSUM: 4,
    }
}

layout! {
    /// Table "section entry".
    section_entry, 24 bytes {
        KIND: 2,
        FLAGS: 2,
        CHECKSUM: 4,
        OFFSET: 8,
        LEN: 8,
    }
}

layout! {
    /// Table "footer trailer".
    footer_trailer, 32 bytes {
        MAGIC: 8,
        FOOTER_OFFSET: 8,
        FOOTER_LEN: 8,
        HEADER_CHECKSUM: 4,
        CHECKSUM: 4,
    }
}

/// The version of the footer this crate writes, and the newest it reads.
pub const FOOTER_VERSION: u32 = 1;

/// What a footer's offset is a multiple of.
pub const FOOTER_ALIGN: u64 = 4096;

/// Bytes of a footer's header.
pub const FOOTER_HEADER_LEN: usize = footer_header::SIZE;

/// Bytes of a section's entry in the directory.
pub const SECTION_ENTRY_LEN: usize = section_entry::SIZE;

/// Bytes of the trailer, which ends the file.
pub const TRAILER_LEN: usize = footer_trailer::SIZE;

/// The most sections a footer can have.
pub const MAX_SECTIONS: usize = 64;

/// No footer is longer.
pub const MAX_FOOTER_LEN: u64 = MAX_SEGMENT_LEN;

pub(crate) const FOOTER_MAGIC: [u8; 8] = [0xEF, b'E', b'V', b'F', b'F', b'T', b'R', 0x1A];
pub(crate) const TRAILER_MAGIC: [u8; 8] = [0xEF, b'E', b'V', b'F', b'E', b'N', b'D', 0x1A];
const SECTION_REQUIRED: u16 = 1;

/// What a footer says of its segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Where the segment's last frame ends. The footer starts [behind it](Self::footer_offset).
    pub data_end: u64,
    /// Position of the segment's first event.
    pub first_position: u64,
    /// The next segment's first position.
    pub end_position: u64,
    /// Number of appends.
    pub append_count: u64,
    /// Number of frames.
    pub frame_count: u64,
    /// Number of distinct streams.
    pub stream_count: u64,
    /// Incarnation of the last frame.
    pub last_incarnation: u32,
    /// Header checksum of the last frame.
    pub last_checksum: u32,
    /// Digest of the segment's bytes.
    pub byte_digest: Digest,
    /// Digest of what the segment says.
    pub logical_digest: Digest,
    /// The byte digest of the segment before.
    pub previous_byte_digest: Digest,
    /// The logical digest of the segment before.
    pub previous_logical_digest: Digest,
}

impl SegmentSummary {
    /// Where the footer starts: in a block of its own, so that one bad sector can't take the last frame and the footer.
    pub fn footer_offset(&self) -> u64 {
        self.data_end.next_multiple_of(FOOTER_ALIGN)
    }
}

/// Why a footer can't be used. It can be made again from the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FooterError {
    /// The file ends before the part that was looked for.
    #[error("footer is cut off: {needed} bytes needed, {available} there")]
    Truncated {
        /// How many bytes it takes.
        needed: u64,
        /// How many there are.
        available: u64,
    },
    /// No footer starts, or ends, here.
    #[error("no footer here")]
    NoMagic,
    /// A part of it is damaged.
    #[error("checksum of the footer's {part}: {mismatch}")]
    Checksum {
        /// The part.
        part: &'static str,
        /// What was expected and found.
        mismatch: ChecksumMismatch,
    },
    /// A section is damaged.
    #[error("checksum of section {kind}: {mismatch}")]
    SectionChecksum {
        /// The section's kind.
        kind: u16,
        /// What was expected and found.
        mismatch: ChecksumMismatch,
    },
    /// Its parts contradict each other, or a rule of the format.
    #[error("footer breaks a rule of the format: {0}")]
    Malformed(&'static str),
    /// A newer version wrote it.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

/// One section in a footer's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionEntry {
    /// What the section holds.
    pub kind: u16,
    /// Whether a reader that does not know the kind must refuse the footer.
    pub required: bool,
    /// Its offset from the footer's start.
    pub offset: u64,
    /// Its length.
    pub len: u64,
    checksum: u32,
}

impl SectionEntry {
    fn padded_end(&self) -> Option<u64> {
        self.offset.checked_add(self.len)?.checked_next_multiple_of(8)
    }

    fn encode(&self) -> [u8; SECTION_ENTRY_LEN] {
        let mut entry = [0; SECTION_ENTRY_LEN];
        section_entry::KIND.set_u16(&mut entry, self.kind);
        section_entry::FLAGS.set_u16(&mut entry, if self.required { SECTION_REQUIRED } else { 0 });
        section_entry::CHECKSUM.set_u32(&mut entry, self.checksum);
        section_entry::OFFSET.set_u64(&mut entry, self.offset);
        section_entry::LEN.set_u64(&mut entry, self.len);
        entry
    }

    fn decode(entry: &[u8]) -> Result<Self, FooterError> {
        let flags = section_entry::FLAGS.get_u16(entry);
        if flags & !SECTION_REQUIRED != 0 {
            return Err(Unsupported::SectionFlags { bits: flags & !SECTION_REQUIRED }.into());
        }
        Ok(Self {
            kind: section_entry::KIND.get_u16(entry),
            required: flags == SECTION_REQUIRED,
            offset: section_entry::OFFSET.get_u64(entry),
            len: section_entry::LEN.get_u64(entry),
            checksum: section_entry::CHECKSUM.get_u32(entry),
        })
    }
}

/// A section to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// What it holds; not 0.
    pub kind: u16,
    /// Whether a reader that does not know the kind must refuse the footer.
    pub required: bool,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Appends a footer: header, directory, sections, trailer.
///
/// # Panics
///
/// If the kinds do not ascend from 1, there are more than [`MAX_SECTIONS`], or the summary contradicts itself.
pub fn encode_footer(summary: &SegmentSummary, sections: &[Section<'_>], key: &SegmentKey, out: &mut Vec<u8>) {
    assert!(sections.len() <= MAX_SECTIONS, "a footer has at most {MAX_SECTIONS} sections");
    let at = summary.footer_offset();
    let mut offset = (FOOTER_HEADER_LEN + SECTION_ENTRY_LEN * sections.len()) as u64;
    let mut directory = Vec::with_capacity(SECTION_ENTRY_LEN * sections.len());
    for section in sections {
        let entry = SectionEntry {
            kind: section.kind,
            required: section.required,
            offset,
            len: section.bytes.len() as u64,
            checksum: key.footer(FooterPart::Section, at, section.kind, section.bytes),
        };
        directory.extend_from_slice(&entry.encode());
        offset += entry.len.next_multiple_of(8);
    }
    let mut header = FooterHeader {
        summary: *summary,
        section_count: u32::try_from(sections.len()).expect("checked above"),
        footer_len: offset + TRAILER_LEN as u64,
        directory_checksum: key.footer(FooterPart::Directory, at, 0, &directory),
        checksum: 0,
    };
    if let Err(error) = header.check().and_then(|()| header.read_directory(&directory, key).map(drop)) {
        panic!("only a footer that a reader accepts is written: {error}");
    }
    let start = out.len();
    out.extend_from_slice(&header.encode(key));
    out.extend_from_slice(&directory);
    for section in sections {
        out.extend_from_slice(section.bytes);
        out.resize(start + (out.len() - start).next_multiple_of(8), 0);
    }
    out.extend_from_slice(&Trailer::of(&header).encode(key));
}

/// A footer's header, verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FooterHeader {
    /// What it says of its segment.
    pub summary: SegmentSummary,
    section_count: u32,
    footer_len: u64,
    directory_checksum: u32,
    checksum: u32,
}

impl FooterHeader {
    /// The end position that a footer header names which stands at `offset` and is sound, whatever else it says: that a
    /// newer version wrote it makes it no less a proof that the segment was once sealed.
    pub(crate) fn end_position_at(bytes: &[u8], key: &SegmentKey, offset: u64) -> Option<u64> {
        let bytes = Self::verified(bytes, key, offset).ok()?;
        Some(footer_header::END_POSITION.get_u64(bytes))
    }

    /// The bytes of the header that starts `bytes`, where magic and checksum are right.
    fn verified<'a>(
        bytes: &'a [u8],
        key: &SegmentKey,
        offset: u64,
    ) -> Result<&'a [u8; FOOTER_HEADER_LEN], FooterError> {
        let available = bytes.len() as u64;
        let bytes = bytes
            .first_chunk::<FOOTER_HEADER_LEN>()
            .ok_or(FooterError::Truncated { needed: FOOTER_HEADER_LEN as u64, available })?;
        if footer_header::MAGIC.get(bytes) != FOOTER_MAGIC {
            return Err(FooterError::NoMagic);
        }
        let checksum = footer_header::HEADER_CHECKSUM.get_u32(bytes);
        let found = key.footer(FooterPart::Header, offset, 0, &bytes[..footer_header::HEADER_CHECKSUM.offset]);
        checksum::compare(checksum, found).map_err(|mismatch| FooterError::Checksum { part: "header", mismatch })?;
        Ok(bytes)
    }

    /// Reads the footer header that starts `bytes`, at `offset` of the segment with this key.
    ///
    /// # Errors
    ///
    /// [`FooterError`] where none starts there, or it can't be used.
    pub fn decode(bytes: &[u8], key: &SegmentKey, offset: u64) -> Result<Self, FooterError> {
        let bytes = Self::verified(bytes, key, offset)?;
        let checksum = footer_header::HEADER_CHECKSUM.get_u32(bytes);
        match footer_header::FOOTER_VERSION.get_u32(bytes) {
            FOOTER_VERSION => {}
            0 => return Err(FooterError::Malformed("footer versions start at 1")),
            found => {
                return Err(Unsupported::FooterVersion { found, supported: FOOTER_VERSION }.into());
            }
        }
        if footer_header::RESERVED_A.get(bytes) != [0; 16] || footer_header::RESERVED_B.get(bytes) != [0; 24] {
            return Err(FooterError::Malformed("reserved bytes must be zero"));
        }
        let header = Self {
            summary: SegmentSummary {
                data_end: footer_header::DATA_END.get_u64(bytes),
                first_position: footer_header::FIRST_POSITION.get_u64(bytes),
                end_position: footer_header::END_POSITION.get_u64(bytes),
                append_count: footer_header::APPEND_COUNT.get_u64(bytes),
                frame_count: footer_header::FRAME_COUNT.get_u64(bytes),
                stream_count: footer_header::STREAM_COUNT.get_u64(bytes),
                last_incarnation: footer_header::LAST_INCARNATION.get_u32(bytes),
                last_checksum: footer_header::LAST_CHECKSUM.get_u32(bytes),
                byte_digest: Digest(footer_header::BYTE_DIGEST.get(bytes)),
                logical_digest: Digest(footer_header::LOGICAL_DIGEST.get(bytes)),
                previous_byte_digest: Digest(footer_header::PREVIOUS_BYTE_DIGEST.get(bytes)),
                previous_logical_digest: Digest(footer_header::PREVIOUS_LOGICAL_DIGEST.get(bytes)),
            },
            section_count: footer_header::SECTION_COUNT.get_u32(bytes),
            footer_len: footer_header::FOOTER_LEN.get_u64(bytes),
            directory_checksum: footer_header::DIRECTORY_CHECKSUM.get_u32(bytes),
            checksum,
        };
        header.check()?;
        if header.summary.footer_offset() != offset {
            return Err(FooterError::Malformed("data_end must be right before the footer's own offset"));
        }
        Ok(header)
    }

    fn encode(&mut self, key: &SegmentKey) -> [u8; FOOTER_HEADER_LEN] {
        let mut bytes = [0; FOOTER_HEADER_LEN];
        let summary = &self.summary;
        footer_header::MAGIC.set(&mut bytes, FOOTER_MAGIC);
        footer_header::FOOTER_VERSION.set_u32(&mut bytes, FOOTER_VERSION);
        footer_header::SECTION_COUNT.set_u32(&mut bytes, self.section_count);
        footer_header::FOOTER_LEN.set_u64(&mut bytes, self.footer_len);
        footer_header::DATA_END.set_u64(&mut bytes, summary.data_end);
        footer_header::FIRST_POSITION.set_u64(&mut bytes, summary.first_position);
        footer_header::END_POSITION.set_u64(&mut bytes, summary.end_position);
        footer_header::APPEND_COUNT.set_u64(&mut bytes, summary.append_count);
        footer_header::FRAME_COUNT.set_u64(&mut bytes, summary.frame_count);
        footer_header::STREAM_COUNT.set_u64(&mut bytes, summary.stream_count);
        footer_header::LAST_INCARNATION.set_u32(&mut bytes, summary.last_incarnation);
        footer_header::LAST_CHECKSUM.set_u32(&mut bytes, summary.last_checksum);
        footer_header::BYTE_DIGEST.set(&mut bytes, summary.byte_digest.0);
        footer_header::LOGICAL_DIGEST.set(&mut bytes, summary.logical_digest.0);
        footer_header::PREVIOUS_BYTE_DIGEST.set(&mut bytes, summary.previous_byte_digest.0);
        footer_header::PREVIOUS_LOGICAL_DIGEST.set(&mut bytes, summary.previous_logical_digest.0);
        footer_header::DIRECTORY_CHECKSUM.set_u32(&mut bytes, self.directory_checksum);
        let at = summary.footer_offset();
        self.checksum = key.footer(FooterPart::Header, at, 0, &bytes[..footer_header::HEADER_CHECKSUM.offset]);
        footer_header::HEADER_CHECKSUM.set_u32(&mut bytes, self.checksum);
        bytes
    }

    /// The rules that tie the header's fields together.
    fn check(&self) -> Result<(), FooterError> {
        let summary = &self.summary;
        let least = self.sections_start() + TRAILER_LEN as u64;
        if self.section_count as usize > MAX_SECTIONS {
            return Err(FooterError::Malformed("too many sections"));
        }
        if !self.footer_len.is_multiple_of(8) || self.footer_len < least || self.footer_len > MAX_FOOTER_LEN {
            return Err(FooterError::Malformed("footer_len must hold its parts"));
        }
        let ends = FIRST_FRAME_OFFSET..=MAX_SEGMENT_LEN - TAIL_ZEROES_LEN;
        if !summary.data_end.is_multiple_of(8) || !ends.contains(&summary.data_end) {
            return Err(FooterError::Malformed("data_end must be where a frame can end"));
        }
        if summary.first_position > summary.end_position || summary.append_count > summary.frame_count {
            return Err(FooterError::Malformed("positions and counts must ascend"));
        }
        Ok(())
    }

    /// The length of the whole footer.
    pub fn footer_len(&self) -> u64 {
        self.footer_len
    }

    /// How many bytes header and directory take together: what [`directory`](Self::directory) needs.
    pub fn sections_start(&self) -> u64 {
        FOOTER_HEADER_LEN as u64 + SECTION_ENTRY_LEN as u64 * u64::from(self.section_count)
    }

    /// Reads the directory from the footer's first [`sections_start`](Self::sections_start) bytes. `known` says which
    /// kinds of section the caller knows.
    ///
    /// # Errors
    ///
    /// [`FooterError`] where it is damaged, or has a required section of an unknown kind.
    pub fn directory(
        &self,
        footer: &[u8],
        key: &SegmentKey,
        known: impl Fn(u16) -> bool,
    ) -> Result<Vec<SectionEntry>, FooterError> {
        let needed = self.sections_start();
        let directory = usize::try_from(needed)
            .ok()
            .and_then(|end| footer.get(FOOTER_HEADER_LEN..end))
            .ok_or(FooterError::Truncated { needed, available: footer.len() as u64 })?;
        let entries = self.read_directory(directory, key)?;
        match entries.iter().find(|entry| entry.required && !known(entry.kind)) {
            Some(entry) => Err(Unsupported::FooterSection { kind: entry.kind }.into()),
            None => Ok(entries),
        }
    }

    fn read_directory(&self, directory: &[u8], key: &SegmentKey) -> Result<Vec<SectionEntry>, FooterError> {
        let found = key.footer(FooterPart::Directory, self.summary.footer_offset(), 0, directory);
        checksum::compare(self.directory_checksum, found)
            .map_err(|mismatch| FooterError::Checksum { part: "directory", mismatch })?;
        let mut entries = Vec::with_capacity(self.section_count as usize);
        let (mut last_kind, mut offset) = (0, self.sections_start());
        for entry in directory.chunks_exact(SECTION_ENTRY_LEN) {
            let entry = SectionEntry::decode(entry)?;
            if entry.kind <= last_kind {
                return Err(FooterError::Malformed("section kinds must ascend"));
            }
            if entry.offset != offset {
                return Err(FooterError::Malformed("sections must lie one after the other"));
            }
            offset = entry.padded_end().ok_or(FooterError::Malformed("a section's length overflows"))?;
            last_kind = entry.kind;
            entries.push(entry);
        }
        // The last section alone can reach up to the largest number there is.
        if offset.checked_add(TRAILER_LEN as u64) != Some(self.footer_len) {
            return Err(FooterError::Malformed("the sections must end where the trailer starts"));
        }
        Ok(entries)
    }

    /// Verifies a section that was read from `entry`'s offset on, with its padding if that was read too.
    ///
    /// # Errors
    ///
    /// [`FooterError`] where the section is damaged.
    pub fn section<'a>(
        &self,
        entry: &SectionEntry,
        bytes: &'a [u8],
        key: &SegmentKey,
    ) -> Result<&'a [u8], FooterError> {
        let truncated = FooterError::Truncated { needed: entry.len, available: bytes.len() as u64 };
        let len = usize::try_from(entry.len).map_err(|_| truncated)?;
        let (section, padding) = bytes.split_at_checked(len).ok_or(truncated)?;
        let found = key.footer(FooterPart::Section, self.summary.footer_offset(), entry.kind, section);
        checksum::compare(entry.checksum, found)
            .map_err(|mismatch| FooterError::SectionChecksum { kind: entry.kind, mismatch })?;
        let padding_len = len.next_multiple_of(8) - len;
        if padding.iter().take(padding_len).any(|byte| *byte != 0) {
            return Err(FooterError::Malformed("padding must be zero"));
        }
        Ok(section)
    }
}

/// The last bytes of a sealed segment: they say where its footer starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The footer's offset.
    pub footer_offset: u64,
    /// The footer's length.
    pub footer_len: u64,
    header_checksum: u32,
}

impl Trailer {
    fn of(header: &FooterHeader) -> Self {
        Self {
            footer_offset: header.summary.footer_offset(),
            footer_len: header.footer_len,
            header_checksum: header.checksum,
        }
    }

    /// Reads the trailer from the last [`TRAILER_LEN`] bytes of a file of `file_len` bytes.
    ///
    /// # Errors
    ///
    /// [`FooterError`] where no sound trailer ends the file there.
    pub fn decode(bytes: &[u8], key: &SegmentKey, file_len: u64) -> Result<Self, FooterError> {
        let bytes: &[u8; TRAILER_LEN] = bytes
            .last_chunk()
            .ok_or(FooterError::Truncated { needed: TRAILER_LEN as u64, available: bytes.len() as u64 })?;
        if footer_trailer::MAGIC.get(bytes) != TRAILER_MAGIC {
            return Err(FooterError::NoMagic);
        }
        let trailer = Self {
            footer_offset: footer_trailer::FOOTER_OFFSET.get_u64(bytes),
            footer_len: footer_trailer::FOOTER_LEN.get_u64(bytes),
            header_checksum: footer_trailer::HEADER_CHECKSUM.get_u32(bytes),
        };
        checksum::compare(footer_trailer::CHECKSUM.get_u32(bytes), trailer.checksum(bytes, key))
            .map_err(|mismatch| FooterError::Checksum { part: "trailer", mismatch })?;
        if trailer.footer_offset.checked_add(trailer.footer_len) != Some(file_len) {
            return Err(FooterError::Malformed("the footer must end with the file"));
        }
        Ok(trailer)
    }

    /// Reads the header this trailer points to, from `bytes` at the footer's offset.
    ///
    /// # Errors
    ///
    /// [`FooterError`] where the header is damaged, or not the one the trailer was written for.
    pub fn header(&self, bytes: &[u8], key: &SegmentKey) -> Result<FooterHeader, FooterError> {
        let header = FooterHeader::decode(bytes, key, self.footer_offset)?;
        if Self::of(&header) != *self {
            return Err(FooterError::Malformed("header and trailer must agree"));
        }
        Ok(header)
    }

    fn encode(&self, key: &SegmentKey) -> [u8; TRAILER_LEN] {
        let mut bytes = [0; TRAILER_LEN];
        footer_trailer::MAGIC.set(&mut bytes, TRAILER_MAGIC);
        footer_trailer::FOOTER_OFFSET.set_u64(&mut bytes, self.footer_offset);
        footer_trailer::FOOTER_LEN.set_u64(&mut bytes, self.footer_len);
        footer_trailer::HEADER_CHECKSUM.set_u32(&mut bytes, self.header_checksum);
        let checksum = self.checksum(&bytes, key);
        footer_trailer::CHECKSUM.set_u32(&mut bytes, checksum);
        bytes
    }

    fn checksum(&self, bytes: &[u8], key: &SegmentKey) -> u32 {
        key.footer(FooterPart::Trailer, self.footer_offset, 0, &bytes[..footer_trailer::CHECKSUM.offset])
    }
}

#[cfg(test)]
pub(crate) mod tables {
    pub(crate) use super::{footer_header, footer_trailer, section_entry};
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSET: u64 = 12_288;

    fn key() -> SegmentKey {
        SegmentKey::new(3)
    }

    fn sample() -> Vec<u8> {
        let summary = SegmentSummary { data_end: OFFSET - 8, end_position: 12, ..SegmentSummary::default() };
        let mut bytes = Vec::new();
        encode_footer(&summary, &[Section { kind: 1, required: false, bytes: b"section" }], &key(), &mut bytes);
        bytes
    }

    /// Makes directory and header right again after a change.
    fn repair(bytes: &mut [u8]) {
        let end = FOOTER_HEADER_LEN + SECTION_ENTRY_LEN;
        let directory = key().footer(FooterPart::Directory, OFFSET, 0, &bytes[FOOTER_HEADER_LEN..end]);
        footer_header::DIRECTORY_CHECKSUM.set_u32(bytes, directory);
        let summed = &bytes[..footer_header::HEADER_CHECKSUM.offset];
        let header = key().footer(FooterPart::Header, OFFSET, 0, summed);
        footer_header::HEADER_CHECKSUM.set_u32(bytes, header);
    }

    /// Reads a footer as one does that is found at the end of a file.
    fn read(bytes: &[u8]) -> Result<(), FooterError> {
        let trailer = Trailer::decode(bytes, &key(), OFFSET + bytes.len() as u64)?;
        let header = trailer.header(bytes, &key())?;
        for entry in header.directory(bytes, &key(), |_| true)? {
            header.section(&entry, &bytes[usize::try_from(entry.offset).unwrap()..], &key())?;
        }
        Ok(())
    }

    #[test]
    #[cfg_attr(miri, ignore = "so many bytes take minutes there")]
    fn every_flipped_bit_is_told_by_the_part_it_is_in() {
        let sound = sample();
        assert_eq!(read(&sound), Ok(()));
        let directory = FOOTER_HEADER_LEN + SECTION_ENTRY_LEN;
        let (padding, trailer) = (directory + b"section".len(), sound.len() - TRAILER_LEN);
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let part = match bit / 8 {
                at if at < FOOTER_HEADER_LEN => "header",
                at if at < directory => "directory",
                at if at < padding => "section",
                at if at < trailer => "padding",
                _ => "trailer",
            };
            match read(&bytes) {
                Err(FooterError::Checksum { part: told, .. }) => assert_eq!(told, part, "bit {bit}"),
                Err(FooterError::SectionChecksum { .. }) => assert_eq!(part, "section", "bit {bit}"),
                Err(FooterError::Malformed(_)) => assert_eq!(part, "padding", "bit {bit}"),
                Err(FooterError::NoMagic) => assert!(part == "header" || part == "trailer", "bit {bit}"),
                other => panic!("bit {bit}, in the {part}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_footer_stands_where_it_says_and_has_no_more_sections_than_allowed() {
        let refused = |change: &dyn Fn(&mut [u8])| {
            let mut bytes = sample();
            change(&mut bytes);
            repair(&mut bytes);
            matches!(FooterHeader::decode(&bytes, &key(), OFFSET), Err(FooterError::Malformed(_)))
        };
        assert!(!refused(&|_| {}));
        for data_end in [OFFSET - 4096, OFFSET + 8] {
            assert!(refused(&|bytes| footer_header::DATA_END.set_u64(bytes, data_end)), "{data_end}");
        }
        for (sections, is_refused) in [(MAX_SECTIONS, false), (MAX_SECTIONS + 1, true)] {
            let many = |bytes: &mut [u8]| {
                footer_header::SECTION_COUNT.set_u32(bytes, u32::try_from(sections).unwrap());
                footer_header::FOOTER_LEN.set_u64(bytes, 1 << 20);
            };
            assert_eq!(refused(&many), is_refused, "{sections}");
        }
        for (footer_len, is_refused) in [
            (MAX_FOOTER_LEN, false),
            (MAX_FOOTER_LEN + 8, true),
            (MAX_FOOTER_LEN + 16, true),
            (MAX_FOOTER_LEN - 4, true),
        ] {
            let long = |bytes: &mut [u8]| footer_header::FOOTER_LEN.set_u64(bytes, footer_len);
            assert_eq!(refused(&long), is_refused, "{footer_len}");
        }
    }

    #[test]
    fn every_rule_of_the_header_holds_on_both_sides() {
        let mut bytes = sample();
        let sound = FooterHeader::decode(&bytes, &key(), OFFSET).unwrap();
        assert_eq!(sound.footer_len(), bytes.len() as u64);
        let least = sound.sections_start() + TRAILER_LEN as u64;
        let checked = |change: &dyn Fn(&mut FooterHeader)| {
            let mut header = sound;
            change(&mut header);
            header.check().is_ok()
        };
        for (footer_len, is_sound) in [(least - 8, false), (least, true), (least + 4, false), (least + 8, true)] {
            assert_eq!(checked(&|header| header.footer_len = footer_len), is_sound, "{footer_len}");
        }
        let highest = MAX_SEGMENT_LEN - TAIL_ZEROES_LEN;
        for (data_end, is_sound) in [
            (FIRST_FRAME_OFFSET - 8, false),
            (FIRST_FRAME_OFFSET, true),
            (FIRST_FRAME_OFFSET + 4, false),
            (highest, true),
            (highest + 8, false),
        ] {
            assert_eq!(checked(&|header| header.summary.data_end = data_end), is_sound, "{data_end}");
        }
        for (first, appends, is_sound) in [(12, 0, true), (13, 0, false), (0, 5, true), (0, 6, false)] {
            let change = |header: &mut FooterHeader| {
                header.summary.first_position = first;
                (header.summary.append_count, header.summary.frame_count) = (appends, 5);
            };
            assert_eq!(checked(&change), is_sound, "{first} {appends}");
        }
        for reserved in [footer_header::RESERVED_A.offset, footer_header::RESERVED_B.offset] {
            bytes[reserved] = 1;
            repair(&mut bytes);
            assert!(
                matches!(FooterHeader::decode(&bytes, &key(), OFFSET), Err(FooterError::Malformed(_))),
                "{reserved}"
            );
            bytes[reserved] = 0;
        }
    }

    #[test]
    fn flags_of_a_section_that_are_not_known_are_told() {
        let mut bytes = sample();
        section_entry::FLAGS.set_u16(&mut bytes[FOOTER_HEADER_LEN..], SECTION_REQUIRED | 4);
        repair(&mut bytes);
        let header = FooterHeader::decode(&bytes, &key(), OFFSET).unwrap();
        let told = header.directory(&bytes, &key(), |_| true);
        assert_eq!(told, Err(Unsupported::SectionFlags { bits: 4 }.into()));
    }

    #[test]
    fn a_footer_goes_behind_what_is_there() {
        let summary = SegmentSummary { data_end: OFFSET - 8, end_position: 12, ..SegmentSummary::default() };
        let sections = [Section { kind: 1, required: false, bytes: b"section" }];
        for before in [1, 7, 100] {
            let mut bytes = vec![9; before];
            encode_footer(&summary, &sections, &key(), &mut bytes);
            assert_eq!(bytes[before..], sample(), "{before}");
        }
    }

    #[test]
    fn a_section_that_reaches_to_the_largest_number_is_refused() {
        let start = (FOOTER_HEADER_LEN + SECTION_ENTRY_LEN) as u64;
        for len in [u64::MAX - start, u64::MAX - start - 7, u64::MAX - start - 31, u64::MAX - start - 39, u64::MAX] {
            let mut bytes = sample();
            section_entry::LEN.set_u64(&mut bytes[FOOTER_HEADER_LEN..], len);
            repair(&mut bytes);
            let header = FooterHeader::decode(&bytes, &key(), OFFSET).unwrap();
            let directory = header.directory(&bytes, &key(), |_| true);
            assert!(matches!(directory, Err(FooterError::Malformed(_))), "{len:#x}: {directory:?}");
        }
    }

    #[test]
    fn a_newer_footer_still_says_where_its_segment_ended() {
        let mut bytes = sample();
        footer_header::FOOTER_VERSION.set_u32(&mut bytes, FOOTER_VERSION + 1);
        repair(&mut bytes);
        let newer = Unsupported::FooterVersion { found: FOOTER_VERSION + 1, supported: FOOTER_VERSION };
        assert_eq!(FooterHeader::decode(&bytes, &key(), OFFSET), Err(newer.into()));
        assert_eq!(FooterHeader::end_position_at(&bytes, &key(), OFFSET), Some(12));
        assert_eq!(FooterHeader::end_position_at(&bytes, &key(), OFFSET + 8), None);
    }
}
