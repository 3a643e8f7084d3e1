//! The header of a checkpoint: a clean close keeps the active segment's index, so that opening need not read its frames.
//! Section 9.4 of `docs/FORMAT.md`.
//!
//! A checkpoint is a derived file: whatever is wrong with it, it is left aside and the frames are read.

use eventfold_codec::{
    FIRST_FRAME_OFFSET, FRAME_ALIGN, FRAME_HEADER_LEN, MAX_EXTENSION_LEN, MAX_IDEMPOTENCY_WINDOW, MAX_SEGMENT_LEN,
};
use uuid::Uuid;

use super::{Damage, FileError, HeaderKind, byte_table, head, rule};
use crate::index::{PAGE_CONTENT_LEN, PAGE_LEN};
use crate::roll::Content;

byte_table! {
    /// Table "checkpoint header".
    table: 4096 bytes {
        MAGIC: 8,
        FORMAT_VERSION: 4,
        REQUIRED_FLAGS: 4,
        STORE_ID: 16,
        SEGMENT_NUMBER: 4,
        LAST_CHECKSUM: 4,
        SEGMENT_SALT: 8,
        SALT: 8,
        CLOSE_OFFSET: 8,
        END: 8,
        FIRST_POSITION: 8,
        END_POSITION: 8,
        INCARNATION: 4,
        HIGHEST_INCARNATION: 4,
        PREPARED_SALT: 8,
        PREPARED: 4,
        IDEMPOTENCY_WINDOW: 4,
        CONTENT_BYTES: 8,
        CONTENT_EVENTS: 8,
        CONTENT_INDEX: 8,
        APPEND_COUNT: 8,
        FRAME_COUNT: 8,
        SECTION_COUNT: 4,
        RESERVED_A: 4,
        SECTIONS: 192,
        RESERVED_B: 3740,
        CHECKSUM: 4,
    }
}

byte_table! {
    /// Table "checkpoint section".
    section: 24 bytes {
        KIND: 2,
        RESERVED: 6,
        OFFSET: 8,
        LEN: 8,
    }
}

const CHECKPOINT: HeaderKind = HeaderKind::new(*b"CKP", 0x5EED_0300);

/// Bytes of the header.
pub(crate) const CHECKPOINT_HEADER_LEN: usize = table::SIZE;

/// The most sections a checkpoint can have.
pub(crate) const CHECKPOINT_SECTIONS_MAX: usize = 8;

/// No byte of an append adds more than this to the index size that is estimated from it: a tag of one byte takes three in
/// its event and is estimated at 73. So a sum of estimates can't overflow.
pub(crate) const CONTENT_INDEX_RATIO_MAX: u64 = 25;

/// A link frame comes first, so that no close frame starts below this.
const CLOSE_OFFSET_MIN: u64 = FIRST_FRAME_OFFSET + FRAME_HEADER_LEN as u64;
const CLOSE_LEN_MIN: u64 = FRAME_HEADER_LEN as u64;
const CLOSE_LEN_MAX: u64 = (FRAME_HEADER_LEN + MAX_EXTENSION_LEN) as u64;

const _: () = assert!(CHECKPOINT_SECTIONS_MAX * section::SIZE == table::SECTIONS.end() - table::SECTIONS.0);

/// A section of the index that follows the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointSection {
    /// What it holds; not 0.
    pub(crate) kind: u16,
    /// Where its first page stands in the file.
    pub(crate) offset: u64,
    /// Bytes of its content, without what its pages add.
    pub(crate) len: u64,
}

impl CheckpointSection {
    /// Where its last page ends.
    fn end(&self) -> Option<u64> {
        self.len.div_ceil(PAGE_CONTENT_LEN as u64).checked_mul(PAGE_LEN as u64)?.checked_add(self.offset)
    }
}

/// What a checkpoint says of the segment whose index it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointHeader {
    /// The store.
    pub(crate) store_id: Uuid,
    /// The segment.
    pub(crate) segment: u32,
    /// The segment's salt.
    pub(crate) segment_salt: u64,
    /// The salt of the checkpoint's own pages.
    pub(crate) salt: u64,
    /// Where the close frame stands.
    pub(crate) close_offset: u64,
    /// Where the close frame ends. The index covers all frames below.
    pub(crate) end: u64,
    /// The checksum of the close frame's header.
    pub(crate) last_checksum: u32,
    /// The position of the segment's first event.
    pub(crate) first_position: u64,
    /// The next position of the log.
    pub(crate) end_position: u64,
    /// The incarnation that wrote the close frame.
    pub(crate) incarnation: u32,
    /// The highest incarnation of any frame that was seen.
    pub(crate) highest_incarnation: u32,
    /// The next segment's salt, where a prepared frame names it.
    pub(crate) prepared_salt: Option<u64>,
    /// The duplicate window in force at the end.
    pub(crate) idempotency_window: u32,
    /// What counts towards rolling.
    pub(crate) content: Content,
    /// Append frames.
    pub(crate) append_count: u64,
    /// All frames.
    pub(crate) frame_count: u64,
    /// The sections, by ascending kind, in the order in which they stand.
    pub(crate) sections: Vec<CheckpointSection>,
}

impl CheckpointHeader {
    /// The header's bytes.
    ///
    /// # Panics
    ///
    /// If the header contradicts itself.
    pub(crate) fn encode(&self) -> Vec<u8> {
        if let Err(damage) = self.check(u64::MAX) {
            panic!("only a header that a reader accepts is written: {damage}");
        }
        let mut bytes = vec![0; CHECKPOINT_HEADER_LEN];
        let header = &mut bytes[..];
        table::SEGMENT_NUMBER.set_u32(header, self.segment);
        table::LAST_CHECKSUM.set_u32(header, self.last_checksum);
        table::SEGMENT_SALT.set_u64(header, self.segment_salt);
        table::SALT.set_u64(header, self.salt);
        table::CLOSE_OFFSET.set_u64(header, self.close_offset);
        table::END.set_u64(header, self.end);
        table::FIRST_POSITION.set_u64(header, self.first_position);
        table::END_POSITION.set_u64(header, self.end_position);
        table::INCARNATION.set_u32(header, self.incarnation);
        table::HIGHEST_INCARNATION.set_u32(header, self.highest_incarnation);
        table::PREPARED_SALT.set_u64(header, self.prepared_salt.unwrap_or_default());
        table::PREPARED.set_u32(header, u32::from(self.prepared_salt.is_some()));
        table::IDEMPOTENCY_WINDOW.set_u32(header, self.idempotency_window);
        table::CONTENT_BYTES.set_u64(header, self.content.bytes);
        table::CONTENT_EVENTS.set_u64(header, self.content.events);
        table::CONTENT_INDEX.set_u64(header, self.content.index);
        table::APPEND_COUNT.set_u64(header, self.append_count);
        table::FRAME_COUNT.set_u64(header, self.frame_count);
        let section_count = u32::try_from(self.sections.len()).expect("checked above");
        table::SECTION_COUNT.set_u32(header, section_count);
        let rows = header[table::SECTIONS.0..table::SECTIONS.end()].chunks_exact_mut(section::SIZE);
        for (row, section) in rows.zip(&self.sections) {
            section::KIND.set_u16(row, section.kind);
            section::OFFSET.set_u64(row, section.offset);
            section::LEN.set_u64(row, section.len);
        }
        CHECKPOINT.seal(header, self.store_id);
        bytes
    }

    /// Reads the header from the start of a file that is `file_len` bytes long.
    pub(crate) fn decode(bytes: &[u8], file_len: u64) -> Result<Self, FileError> {
        let header = head(bytes, CHECKPOINT_HEADER_LEN)?;
        let store_id = CHECKPOINT.open(header)?;
        let prepared_salt = match (table::PREPARED.get_u32(header), table::PREPARED_SALT.get_u64(header)) {
            (0, 0) => None,
            (0, value) => return Err(Damage::Field { field: "prepared_salt", value }.into()),
            (1, salt) => Some(salt),
            (flag, _) => return Err(Damage::Field { field: "prepared", value: u64::from(flag) }.into()),
        };
        let checkpoint = Self {
            store_id,
            segment: table::SEGMENT_NUMBER.get_u32(header),
            segment_salt: table::SEGMENT_SALT.get_u64(header),
            salt: table::SALT.get_u64(header),
            close_offset: table::CLOSE_OFFSET.get_u64(header),
            end: table::END.get_u64(header),
            last_checksum: table::LAST_CHECKSUM.get_u32(header),
            first_position: table::FIRST_POSITION.get_u64(header),
            end_position: table::END_POSITION.get_u64(header),
            incarnation: table::INCARNATION.get_u32(header),
            highest_incarnation: table::HIGHEST_INCARNATION.get_u32(header),
            prepared_salt,
            idempotency_window: table::IDEMPOTENCY_WINDOW.get_u32(header),
            content: Content {
                bytes: table::CONTENT_BYTES.get_u64(header),
                events: table::CONTENT_EVENTS.get_u64(header),
                index: table::CONTENT_INDEX.get_u64(header),
            },
            append_count: table::APPEND_COUNT.get_u64(header),
            frame_count: table::FRAME_COUNT.get_u64(header),
            sections: Self::decode_sections(header)?,
        };
        checkpoint.check(file_len)?;
        Ok(checkpoint)
    }

    fn decode_sections(header: &[u8]) -> Result<Vec<CheckpointSection>, Damage> {
        let count = table::SECTION_COUNT.get_u32(header);
        rule(count as usize <= CHECKPOINT_SECTIONS_MAX, "section_count", u64::from(count))?;
        let rows = table::SECTIONS.get(header);
        let (used, unused) = rows.split_at(count as usize * section::SIZE);
        rule(unused.iter().all(|byte| *byte == 0), "section_count", u64::from(count))?;
        used.chunks_exact(section::SIZE)
            .map(|row| {
                rule(section::RESERVED.get(row) == [0; 6], "reserved", u64::from(section::KIND.get_u16(row)))?;
                Ok(CheckpointSection {
                    kind: section::KIND.get_u16(row),
                    offset: section::OFFSET.get_u64(row),
                    len: section::LEN.get_u64(row),
                })
            })
            .collect()
    }

    fn check(&self, file_len: u64) -> Result<(), Damage> {
        let (close, end) = (self.close_offset, self.end);
        rule(close >= CLOSE_OFFSET_MIN && close.is_multiple_of(FRAME_ALIGN), "close_offset", close)?;
        let close_len = end.checked_sub(close).ok_or(Damage::Field { field: "end", value: end })?;
        let is_close_frame =
            (CLOSE_LEN_MIN..=CLOSE_LEN_MAX).contains(&close_len) && close_len.is_multiple_of(FRAME_ALIGN);
        rule(is_close_frame && end <= MAX_SEGMENT_LEN, "end", end)?;

        rule(self.incarnation > 0, "incarnation", u64::from(self.incarnation))?;
        let highest = self.highest_incarnation;
        rule(highest >= self.incarnation, "highest_incarnation", u64::from(highest))?;
        let window = self.idempotency_window;
        rule(window <= MAX_IDEMPOTENCY_WINDOW, "idempotency_window", u64::from(window))?;

        let events = self.end_position.checked_sub(self.first_position);
        rule(events.is_some(), "end_position", self.end_position)?;
        let Content { bytes, events: counted, index } = self.content;
        rule(events == Some(counted), "content_events", counted)?;
        rule(bytes <= close - FIRST_FRAME_OFFSET, "content_bytes", bytes)?;
        rule(index <= bytes * CONTENT_INDEX_RATIO_MAX, "content_index", index)?;
        let appends = self.append_count;
        rule(appends <= counted && (appends == 0) == (counted == 0), "append_count", appends)?;
        // The link and the close frame are no appends.
        let others = self.frame_count.checked_sub(appends);
        let fits = self.frame_count <= (end - FIRST_FRAME_OFFSET) / FRAME_HEADER_LEN as u64;
        rule(others >= Some(2) && fits, "frame_count", self.frame_count)?;
        self.check_sections(file_len)
    }

    fn check_sections(&self, file_len: u64) -> Result<(), Damage> {
        rule(self.sections.len() <= CHECKPOINT_SECTIONS_MAX, "section_count", self.sections.len() as u64)?;
        let (mut kind, mut next) = (0, CHECKPOINT_HEADER_LEN as u64);
        for section in &self.sections {
            rule(section.kind > kind, "kind", u64::from(section.kind))?;
            rule(section.offset >= next && section.offset.is_multiple_of(8), "offset", section.offset)?;
            kind = section.kind;
            next = section.end().ok_or(Damage::Field { field: "len", value: section.len })?;
        }
        if next > file_len {
            return Err(Damage::Length { expected: next, found: file_len });
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) fn layout() -> (usize, &'static [(usize, usize, &'static str)], HeaderKind) {
    (table::SIZE, table::ROWS, CHECKPOINT)
}

#[cfg(test)]
pub(super) fn section_layout() -> (usize, &'static [(usize, usize, &'static str)]) {
    (section::SIZE, section::ROWS)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hex, keeps_the_common_rules, resealed};
    use super::*;
    use proptest::prelude::*;

    const GOLDEN: &str = include_str!("../../tests/golden/checkpoint_header.hex");
    const FILE_LEN: u64 = 4096 + 4096 + 8192;

    fn sample() -> CheckpointHeader {
        CheckpointHeader {
            store_id: Uuid::from_u128(0x6F96_19FF_8B86_D011_B42D_00C0_4FC9_64FF),
            segment: 3,
            segment_salt: 0x0123_4567_89AB_CDEF,
            salt: 0xFEDC_BA98_7654_3210,
            close_offset: 9216,
            end: 9280,
            last_checksum: 0xDEAD_BEEF,
            first_position: 100,
            end_position: 105,
            incarnation: 7,
            highest_incarnation: 8,
            prepared_salt: Some(0x1122_3344_5566_7788),
            idempotency_window: 1000,
            content: Content { bytes: 800, events: 5, index: 1200 },
            append_count: 2,
            frame_count: 5,
            sections: vec![
                CheckpointSection { kind: 1, offset: 4096, len: 4092 },
                CheckpointSection { kind: 2, offset: 8192, len: 4093 },
                CheckpointSection { kind: 4, offset: 16384, len: 0 },
            ],
        }
    }

    fn decode(bytes: &[u8]) -> Result<CheckpointHeader, FileError> {
        CheckpointHeader::decode(bytes, FILE_LEN)
    }

    #[test]
    fn the_bytes_are_the_golden_ones() {
        assert_eq!(sample().encode(), hex(GOLDEN));
        assert_eq!(decode(&hex(GOLDEN)), Ok(sample()));
    }

    #[test]
    fn newer_files_are_refused_by_number_and_others_as_damage() {
        keeps_the_common_rules(&CHECKPOINT, &sample().encode(), |bytes| decode(bytes).map(drop));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut bytes = sample().encode();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&bytes), Err(FileError::Damaged(_))), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_file_that_lost_its_end_is_noticed() {
        let bytes = sample().encode();
        let short = Damage::Length { expected: FILE_LEN, found: FILE_LEN - 1 };
        assert_eq!(CheckpointHeader::decode(&bytes, FILE_LEN - 1), Err(short.into()));
    }

    #[test]
    fn every_rule_is_kept() {
        let set = |change: fn(&mut CheckpointHeader)| {
            let mut header = sample();
            change(&mut header);
            match header.check(FILE_LEN) {
                Err(Damage::Field { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(set(|header| header.close_offset = 8192), "close_offset");
        assert_eq!(set(|header| header.close_offset += 4), "close_offset");
        assert_eq!(set(|header| header.end = 9215), "end");
        assert_eq!(set(|header| header.end = 9216), "end");
        assert_eq!(set(|header| header.end += 4), "end");
        assert_eq!(set(|header| header.end += 4104), "end");
        assert_eq!(set(|header| (header.close_offset, header.end) = (MAX_SEGMENT_LEN, MAX_SEGMENT_LEN + 64)), "end");
        assert_eq!(set(|header| (header.close_offset, header.end) = (u64::MAX - 7, 64)), "end");
        assert_eq!(set(|header| header.incarnation = 0), "incarnation");
        assert_eq!(set(|header| header.highest_incarnation = 6), "highest_incarnation");
        assert_eq!(set(|header| header.idempotency_window = 1 << 25), "idempotency_window");
        assert_eq!(set(|header| header.end_position = 99), "end_position");
        assert_eq!(set(|header| header.content.events = 6), "content_events");
        assert_eq!(set(|header| header.content.bytes = 1032), "content_bytes");
        assert_eq!(set(|header| header.content.index = 20_001), "content_index");
        assert_eq!(set(|header| header.append_count = 6), "append_count");
        assert_eq!(set(|header| header.append_count = 0), "append_count");
        assert_eq!(set(|header| header.frame_count = 3), "frame_count");
        assert_eq!(set(|header| header.frame_count = 1), "frame_count");
        assert_eq!(set(|header| header.frame_count = 18), "frame_count");
        assert_eq!(set(|header| header.sections = vec![header.sections[0]; 9]), "section_count");
        assert_eq!(set(|header| header.sections[0].kind = 0), "kind");
        assert_eq!(set(|header| header.sections[1].kind = 1), "kind");
        assert_eq!(set(|header| header.sections[0].offset = 0), "offset");
        assert_eq!(set(|header| header.sections[1].offset = 8188), "offset");
        assert_eq!(set(|header| header.sections[1].offset = 8196), "offset");
        assert_eq!(set(|header| header.sections[2].len = u64::MAX), "len");
    }

    #[test]
    fn what_only_bytes_can_break_is_checked_too() {
        let refused = |change: fn(&mut [u8])| match decode(&resealed(&CHECKPOINT, &sample().encode(), change)) {
            Err(FileError::Damaged(Damage::Field { field, .. })) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(|bytes| table::PREPARED.set_u32(bytes, 2)), "prepared");
        assert_eq!(refused(|bytes| table::PREPARED.set_u32(bytes, 0)), "prepared_salt");
        assert_eq!(refused(|bytes| table::SECTION_COUNT.set_u32(bytes, 9)), "section_count");
        assert_eq!(refused(|bytes| table::SECTION_COUNT.set_u32(bytes, u32::MAX)), "section_count");
        assert_eq!(refused(|bytes| table::SECTION_COUNT.set_u32(bytes, 2)), "section_count");
        assert_eq!(refused(|bytes| bytes[table::SECTIONS.0 + 3] = 1), "reserved");
        let reserved = resealed(&CHECKPOINT, &sample().encode(), |bytes| bytes[3000] = 9);
        assert_eq!(decode(&reserved), Ok(sample()));
    }

    prop_compose! {
        fn headers()(
            store_id in any::<u128>().prop_map(Uuid::from_u128),
            (segment, segment_salt, salt, last_checksum) in any::<(u32, u64, u64, u32)>(),
            (close, close_len) in ((CLOSE_OFFSET_MIN + 800) / 8..MAX_SEGMENT_LEN / 8 - 16, 8..=16_u64),
            (first_position, events) in (0..u64::MAX / 2, 0..1_000_u64),
            (incarnation, beyond) in (1..1_000_u32, 0..10_u32),
            prepared_salt in any::<Option<u64>>(),
            idempotency_window in 0..=MAX_IDEMPOTENCY_WINDOW,
            (bytes, index) in (0..800_u64, 0..=CONTENT_INDEX_RATIO_MAX),
            others in 2..5_u64,
            gaps in proptest::collection::vec((1..9_u16, 0..3_u64, 0..20_000_u64), 0..=CHECKPOINT_SECTIONS_MAX),
        ) -> CheckpointHeader {
            let append_count = events.min(5);
            let sections = gaps.into_iter().scan((0, 4096), |(kind, offset), (step, gap, len)| {
                *kind += step;
                let section = CheckpointSection { kind: *kind, offset: *offset + gap * 8, len };
                *offset = section.end()?;
                Some(section)
            });
            CheckpointHeader {
                store_id,
                segment,
                segment_salt,
                salt,
                close_offset: close * 8,
                end: (close + close_len) * 8,
                last_checksum,
                first_position,
                end_position: first_position + events,
                incarnation,
                highest_incarnation: incarnation + beyond,
                prepared_salt,
                idempotency_window,
                content: Content { bytes, events, index: bytes * index },
                append_count,
                frame_count: append_count + others,
                sections: sections.collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(header in headers()) {
            let end = header.sections.last().map_or(Some(4096), CheckpointSection::end).unwrap();
            prop_assert_eq!(CheckpointHeader::decode(&header.encode(), end), Ok(header.clone()));
            prop_assert!(CheckpointHeader::decode(&header.encode(), end - 1).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn arbitrary_fields_under_a_right_checksum_are_no_panic(
            changes in proptest::collection::vec((2..46_usize, any::<u64>()), 1..8),
            file_len in any::<u64>(),
        ) {
            let bytes = resealed(&CHECKPOINT, &sample().encode(), |bytes| {
                for (field, value) in changes {
                    bytes[field * 8..][..8].copy_from_slice(&value.to_le_bytes());
                }
            });
            if let Ok(header) = CheckpointHeader::decode(&bytes, file_len) {
                prop_assert_eq!(header.check(file_len), Ok(()));
            }
        }
    }
}
