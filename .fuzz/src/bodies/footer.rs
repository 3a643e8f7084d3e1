//! The footer of a sealed segment.

use eventfold_codec::{
    Digest, FIRST_FRAME_OFFSET, FOOTER_HEADER_LEN, FooterError, FooterHeader, MAX_SECTIONS, MAX_SEGMENT_LEN,
    SECTION_ENTRY_LEN, Section, SegmentKey, SegmentSummary, TAIL_ZEROES_LEN, TRAILER_LEN, Trailer, Unsupported,
    encode_footer,
};

use crate::shared::reader::Reader;
use crate::shared::sums;

const SALTS: [u64; 4] = [0, 1, 0x0123_4567_89AB_CDEF, u64::MAX];

/// A footer: any bytes, bytes that were summed right, or a footer that was written, changed, and summed again.
///
/// # Panics
///
/// If a property does not hold.
pub fn footer(data: &[u8]) {
    let mut input = Reader::new(data);
    let mode = input.u8();
    let salt = SALTS[usize::from(mode >> 6)];
    let offset = match mode >> 4 & 3 {
        0 => FIRST_FRAME_OFFSET,
        1 => FIRST_FRAME_OFFSET + 8 * u64::from(input.u16()),
        2 => MAX_SEGMENT_LEN - 8,
        _ => u64::from(input.u32()),
    };
    match mode % 4 {
        0 => examine(input.rest(), salt, offset),
        1 => {
            let mut bytes = input.rest().to_vec();
            sums::repair_footer(&mut bytes, salt, offset);
            examine(&bytes, salt, offset);
        }
        _ => written(&mut input, salt, offset & !7, mode % 4 == 3),
    }
}

fn written(input: &mut Reader<'_>, salt: u64, offset: u64, repair: bool) {
    let key = SegmentKey::new(salt);
    let data_end = offset.clamp(FIRST_FRAME_OFFSET, MAX_SEGMENT_LEN - TAIL_ZEROES_LEN);
    let (first_position, frame_count) = (input.u64() / 2, input.u64());
    let summary = SegmentSummary {
        data_end,
        first_position,
        end_position: first_position + u64::from(input.u32()),
        append_count: frame_count / 2,
        frame_count,
        stream_count: input.u64(),
        last_incarnation: input.u32(),
        last_checksum: input.u32(),
        byte_digest: Digest([input.u8(); 32]),
        logical_digest: Digest([input.u8(); 32]),
        previous_byte_digest: Digest([input.u8(); 32]),
        previous_logical_digest: Digest([input.u8(); 32]),
    };
    let mut kind = 0u16;
    let mut sections = Vec::new();
    for _ in 0..usize::from(input.u8()) % (MAX_SECTIONS + 1) {
        let step = 1 + u16::from(input.u8());
        let Some(next) = kind.checked_add(step) else {
            break;
        };
        kind = next;
        let shape = input.u8();
        sections.push(Section { kind, required: shape & 0x80 != 0, bytes: input.bytes(usize::from(shape % 64)) });
    }
    let mut bytes = Vec::new();
    encode_footer(&summary, &sections, &key, &mut bytes);

    let at = summary.footer_offset();
    let file_len = at + bytes.len() as u64;
    let trailer = Trailer::decode(&bytes, &key, file_len).expect("it was just written");
    let header = trailer.header(&bytes, &key).expect("it was just written");
    assert_eq!(header.summary, summary);
    let entries = header.directory(&bytes, &key, |_| true).expect("it was just written");
    assert_eq!(entries.len(), sections.len());
    for (entry, section) in entries.iter().zip(&sections) {
        assert_eq!((entry.kind, entry.required), (section.kind, section.required));
        let from = usize::try_from(entry.offset).expect("it is in memory");
        assert_eq!(header.section(entry, &bytes[from..], &key), Ok(section.bytes));
    }
    assert!(verify(&bytes, &key, at).is_ok(), "it was just written");

    let mut damaged = bytes.clone();
    let byte = input.below(damaged.len());
    damaged[byte] ^= input.u8().max(1);
    assert!(verify(&damaged, &key, at).is_err(), "a damaged byte at {byte} is noticed");

    input.patch(&mut bytes);
    for _ in 0..input.u8() % 4 {
        aim(input, &mut bytes, sections.len());
    }
    let cut = usize::from(input.u8()).saturating_sub(200);
    bytes.truncate(bytes.len() - cut);
    if repair {
        sums::repair_footer(&mut bytes, salt, at);
    }
    examine(&bytes, salt, at);
}

/// Gives a length or an offset a value at the edge of what it can be, where sums overflow and parts meet.
fn aim(input: &mut Reader<'_>, bytes: &mut [u8], sections: usize) {
    let entry = |index: usize| FOOTER_HEADER_LEN + SECTION_ENTRY_LEN * index;
    let section = input.below(sections.max(1));
    let at = match input.u8() % 6 {
        0 | 1 if sections > 0 => entry(section) + 16,
        2 if sections > 0 => entry(section) + 8,
        3 => bytes.len() - TRAILER_LEN + 16,
        4 => bytes.len() - TRAILER_LEN + 8,
        5 => 24,
        _ => 16,
    };
    let now = sums::u64_at(bytes, at);
    let base = match input.u8() % 5 {
        0 => now,
        1 => 0,
        2 => u64::MAX,
        3 => u64::MAX - entry(sections) as u64,
        _ => u64::MAX - now,
    };
    let step = u64::from(input.u8() % 64);
    let value = if input.u8() & 1 == 0 { base.wrapping_sub(step) } else { base.wrapping_add(step) };
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Reads all that a footer has, as it stands at the end of a file. Returns where its sections lie.
fn verify(bytes: &[u8], key: &SegmentKey, offset: u64) -> Result<Vec<std::ops::Range<usize>>, FooterError> {
    let file_len = offset.saturating_add(bytes.len() as u64);
    let trailer = Trailer::decode(bytes, key, file_len)?;
    assert_eq!(trailer.footer_offset + trailer.footer_len, file_len);
    // A trailer can name another place than the one the bytes were read from; a reader goes where it points.
    let Some(start) = trailer.footer_offset.checked_sub(offset).and_then(|start| usize::try_from(start).ok()) else {
        return Err(FooterError::NoMagic);
    };
    let bytes = bytes.get(start..).unwrap_or_default();
    let header = trailer.header(bytes, key)?;
    assert_eq!(header.footer_len(), bytes.len() as u64);
    let mut sections = Vec::new();
    for entry in header.directory(bytes, key, |_| true)? {
        let from = usize::try_from(entry.offset).expect("sections lie within the footer");
        let to = from + usize::try_from(entry.len).expect("sections lie within the footer");
        // Exactly the section, the section and its padding, and all that follows are the same section.
        let section = header.section(&entry, &bytes[from..to], key)?;
        let padded = header.section(&entry, &bytes[from..to.next_multiple_of(8)], key)?;
        assert_eq!(section, padded);
        assert_eq!(Ok(section), header.section(&entry, &bytes[from..], key));
        sections.push(from..to);
    }
    Ok(sections)
}

fn examine(bytes: &[u8], salt: u64, offset: u64) {
    let key = SegmentKey::new(salt);
    // The header where it is taken to stand, whatever the trailer says: so does recovery look for it.
    match FooterHeader::decode(bytes, &key, offset) {
        Ok(header) => {
            assert!(sums::is_valid_footer_header(bytes, salt, offset));
            assert_eq!(header.summary.footer_offset(), offset);
            assert!(header.summary.first_position <= header.summary.end_position);
            assert!(header.summary.append_count <= header.summary.frame_count);
            assert!(header.sections_start() + TRAILER_LEN as u64 <= header.footer_len());
            for known in [true, false] {
                match header.directory(bytes, &key, |_| known) {
                    Ok(entries) => {
                        assert!(known || entries.iter().all(|entry| !entry.required));
                        let mut end = header.sections_start();
                        for entry in &entries {
                            assert_eq!(entry.offset, end, "sections lie one after the other");
                            end = (entry.offset + entry.len).next_multiple_of(8);
                        }
                        assert_eq!(end + TRAILER_LEN as u64, header.footer_len());
                    }
                    Err(error) => {
                        assert!(!error.to_string().is_empty());
                        if let FooterError::Unsupported(Unsupported::SectionFlags { bits }) = error {
                            assert!(bits != 0 && bits & 1 == 0, "the required bit is known");
                        }
                    }
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(sections) = verify(bytes, &key, offset) {
        let mut end = FOOTER_HEADER_LEN + SECTION_ENTRY_LEN * sections.len();
        for section in sections {
            assert!(end <= section.start && section.end <= bytes.len() - TRAILER_LEN);
            end = section.end;
        }
    }
}
