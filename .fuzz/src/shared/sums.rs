//! The checksums of the format once more, written from sections 2 to 5 of `docs/FORMAT.md` and not from the codec.

use eventfold_codec::crc32c;

const MAGIC_FRAME: [u8; 4] = [0xEF, 0x46, 0x52, 0x1A];
const MAGIC_FOOTER: [u8; 8] = [0xEF, 0x45, 0x56, 0x46, 0x46, 0x54, 0x52, 0x1A];
const MAGIC_TRAILER: [u8; 8] = [0xEF, 0x45, 0x56, 0x46, 0x45, 0x4E, 0x44, 0x1A];
const MAGIC_SEGMENT: [u8; 8] = [0xEF, 0x45, 0x56, 0x46, 0x53, 0x45, 0x47, 0x1A];

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn key(salt: u64, domain: u64) -> u32 {
    let mixed = mix(salt.wrapping_add(domain.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    u32::try_from(mixed >> 32).expect("the upper half of 64 bits fits 32")
}

/// The seed of a domain at an offset. `None` past the largest offset of the format, where no seed is defined.
fn seed(salt: u64, domain: u64, offset: u64) -> Option<u32> {
    Some(key(salt, domain) ^ u32::try_from(offset / 8).ok()?)
}

/// What the incarnation of the frame that starts `bytes` adds to the seeds of its body and its records.
fn run(bytes: &[u8]) -> u32 {
    u32_at(bytes, 40).wrapping_mul(0x85EB_CA77)
}

/// The place tag of a frame at this offset.
pub(crate) fn place_tag(salt: u64, offset: u64) -> Option<u32> {
    seed(salt, 8, offset)
}

fn indexed(seed: u32, index: u32) -> u32 {
    seed.wrapping_add(index.wrapping_mul(0x9E37_79B1))
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn set_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn len(value: u32) -> usize {
    usize::try_from(value).expect("32 bits fit a usize where this runs")
}

/// Where the record table of the frame that starts `bytes` stands, and how many records it has; `None` where there are
/// fewer bytes than that.
fn table(bytes: &[u8]) -> Option<(usize, usize)> {
    if bytes.len() < 64 {
        return None;
    }
    let start = 64 + usize::from(u16_at(bytes, 12));
    let records = len(u32_at(bytes, 44)).checked_add(len(u32_at(bytes, 48)))?;
    let end = start.checked_add(records.checked_mul(8)?)?;
    (end <= bytes.len()).then_some((start, records))
}

/// The bytes of the records of the frame that starts `bytes`, as its table has them. `None` for a record that is not
/// in `bytes`.
pub(crate) fn records(bytes: &[u8]) -> Vec<Option<std::ops::Range<usize>>> {
    let Some((table, count)) = table(bytes) else {
        return Vec::new();
    };
    let mut start = table + 8 * count;
    (0..count)
        .map(|index| {
            let end = len(u32_at(bytes, table + 8 * index));
            let record = start..end;
            start = end;
            bytes.get(record.clone()).map(|_| record)
        })
        .collect()
}

/// Where the fields of the frame that starts `bytes` stand, but for its checksums: those of the header, those of the
/// extension area, the ends of the records, and those of each record.
pub(crate) fn fields(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    // Offset and length, from the tables of section 4.
    const HEADER: [(usize, usize); 12] =
        [(4, 1), (5, 1), (6, 2), (8, 4), (12, 2), (14, 2), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 4)];
    const STREAM: [(usize, usize); 4] = [(0, 16), (16, 8), (24, 4), (28, 1)];
    const EVENT: [(usize, usize); 9] =
        [(0, 16), (16, 2), (18, 2), (20, 2), (22, 1), (23, 1), (24, 4), (28, 4), (32, 1)];
    let Some((table, _)) = table(bytes) else {
        return Vec::new();
    };
    let streams = len(u32_at(bytes, 44));
    let mut fields: Vec<_> = HEADER.iter().map(|(at, len)| *at..at + len).collect();
    for field in extensions(&bytes[64..table]) {
        let start = 64 + field.start;
        fields.extend([start - 4..start - 2, start - 2..start]);
        if !field.is_empty() {
            fields.push(start..64 + field.end);
        }
    }
    for (index, record) in records(bytes).into_iter().enumerate() {
        let entry = table + 8 * index;
        fields.push(entry..entry + 4);
        let Some(record) = record else { continue };
        let of_record: &[_] = if index < streams { &STREAM } else { &EVENT };
        fields.extend(of_record.iter().map(|(at, len)| record.start + at..record.start + at + len));
    }
    fields
}

/// Where the data of the fields of an extension area stand, as far as they fit it. A field's type and length are the four
/// bytes before.
pub(crate) fn extensions(area: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut at, mut fields) = (0, Vec::new());
    while at + 4 <= area.len() {
        let end = at + 4 + usize::from(u16_at(area, at + 2));
        if end > area.len() {
            break;
        }
        fields.push(at + 4..end);
        at = end.next_multiple_of(8);
    }
    fields
}

pub(crate) fn frame_header(bytes: &[u8], salt: u64, offset: u64) -> Option<u32> {
    Some(crc32c(bytes.get(..60)?) ^ seed(salt, 1, offset)?)
}

pub(crate) fn frame_body(bytes: &[u8], salt: u64, offset: u64) -> Option<u32> {
    let (table, count) = table(bytes)?;
    Some(crc32c(&bytes[64..table + 8 * count]) ^ seed(salt, 2, offset)? ^ run(bytes))
}

/// The checksum of the record of this index, which stands at `range` of the frame.
fn record(frame: &[u8], range: std::ops::Range<usize>, index: usize, salt: u64, offset: u64) -> Option<u32> {
    let index = u32::try_from(index).ok()?;
    Some(crc32c(&frame[range]) ^ indexed(seed(salt, 3, offset)? ^ run(frame), index))
}

/// Whether a frame header stands at the start of `bytes` that section 4.1 calls valid: magic, place tag and checksum are
/// right.
pub(crate) fn is_valid_frame_header(bytes: &[u8], salt: u64, offset: u64) -> bool {
    bytes.len() >= 64
        && has_frame_magic(bytes)
        && place_tag(salt, offset) == Some(u32_at(bytes, 52))
        && frame_header(bytes, salt, offset) == Some(u32_at(bytes, 60))
}

pub(crate) fn has_frame_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC_FRAME)
}

/// Whether a footer header stands at the start of `bytes` whose magic and checksum are right.
pub(crate) fn is_valid_footer_header(bytes: &[u8], salt: u64, offset: u64) -> bool {
    bytes.len() >= 256
        && bytes[..8] == MAGIC_FOOTER
        && seed(salt, 4, offset).is_some_and(|seed| crc32c(&bytes[..252]) ^ seed == u32_at(bytes, 252))
}

/// Whether every checksum of a frame is right.
pub(crate) fn is_summed(frame: &[u8], salt: u64, offset: u64) -> bool {
    is_valid_frame_header(frame, salt, offset)
        && frame_body(frame, salt, offset) == Some(u32_at(frame, 56))
        && table(frame).is_some_and(|(table, _)| {
            records(frame).into_iter().enumerate().all(|(index, range)| {
                range.is_some_and(|range| {
                    record(frame, range, index, salt, offset) == Some(u32_at(frame, table + 8 * index + 4))
                })
            })
        })
}

/// Makes magic, place tag and header checksum right, as far as there are bytes.
pub(crate) fn repair_frame_header(bytes: &mut [u8], salt: u64, offset: u64) {
    if bytes.len() < 64 {
        return;
    }
    bytes[..4].copy_from_slice(&MAGIC_FRAME);
    if let Some(tag) = place_tag(salt, offset) {
        set_u32(bytes, 52, tag);
    }
    if let Some(checksum) = frame_header(bytes, salt, offset) {
        set_u32(bytes, 60, checksum);
    }
}

/// Makes every checksum of a frame right, as far as its lengths lie within `bytes`.
pub(crate) fn repair_frame(bytes: &mut [u8], salt: u64, offset: u64) {
    if let Some((table, _)) = table(bytes) {
        for (index, range) in records(bytes).into_iter().enumerate() {
            let Some(range) = range else { continue };
            if let Some(checksum) = record(bytes, range, index, salt, offset) {
                set_u32(bytes, table + 8 * index + 4, checksum);
            }
        }
        if let Some(checksum) = frame_body(bytes, salt, offset) {
            set_u32(bytes, 56, checksum);
        }
    }
    repair_frame_header(bytes, salt, offset);
}

/// Makes the frame as long as the bytes there are.
pub(crate) fn fit_frame(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(8).max(64), 0);
    let frame_len = u32::try_from(bytes.len()).expect("no input is that long");
    set_u32(bytes, 8, frame_len);
}

/// The checksum of copy `copy` of a segment header.
fn segment_header(block: &[u8], copy: u32) -> u32 {
    crc32c(&block[..4092]) ^ (0x5EED_0000 + copy)
}

/// Whether a copy of a segment header has the right magic and checksum.
pub(crate) fn is_valid_segment_header(block: &[u8], copy: u32) -> bool {
    block.len() >= 4096 && block[..8] == MAGIC_SEGMENT && segment_header(block, copy) == u32_at(block, 4092)
}

/// Makes magic and checksum of a copy right, as far as there are bytes.
pub(crate) fn repair_segment_header(block: &mut [u8], copy: u32) {
    if block.len() < 4096 {
        return;
    }
    block[..8].copy_from_slice(&MAGIC_SEGMENT);
    let checksum = segment_header(block, copy);
    set_u32(block, 4092, checksum);
}

/// Makes magic and header checksum of a footer right, as far as there are bytes.
pub(crate) fn repair_footer_header(footer: &mut [u8], salt: u64, offset: u64) {
    if let Some(header) = footer.get_mut(..256)
        && let Some(seed) = seed(salt, 4, offset)
    {
        header[..8].copy_from_slice(&MAGIC_FOOTER);
        let checksum = crc32c(&header[..252]) ^ seed;
        set_u32(header, 252, checksum);
    }
}

/// Makes every checksum of a footer right that starts `footer`, at `offset`, and ends with it. Lengths and offsets stay
/// as they are; what they leave out of `footer` is not summed.
pub(crate) fn repair_footer(footer: &mut [u8], salt: u64, offset: u64) {
    if footer.len() < 256 + 32 {
        return;
    }
    let sections = len(u32_at(footer, 12)).min(footer.len() / 24);
    for index in 0..sections {
        let entry = 256 + 24 * index;
        if entry + 24 > footer.len() {
            break;
        }
        let kind = u32::from(u16_at(footer, entry));
        let (from, size) = (u64_at(footer, entry + 8), u64_at(footer, entry + 16));
        let section = usize::try_from(from)
            .ok()
            .zip(from.checked_add(size).and_then(|to| usize::try_from(to).ok()))
            .and_then(|(from, to)| footer.get(from..to));
        if let (Some(section), Some(seed)) = (section, seed(salt, 6, offset)) {
            let checksum = crc32c(section) ^ indexed(seed, kind);
            set_u32(footer, entry + 4, checksum);
        }
    }
    if let (Some(directory), Some(seed)) = (footer.get(256..256 + 24 * sections), seed(salt, 5, offset)) {
        let checksum = crc32c(directory) ^ seed;
        set_u32(footer, 248, checksum);
    }
    repair_footer_header(footer, salt, offset);
    let header_checksum = u32_at(footer, 252);
    let at = footer.len() - 32;
    let trailer = &mut footer[at..];
    trailer[..8].copy_from_slice(&MAGIC_TRAILER);
    set_u32(trailer, 24, header_checksum);
    // The trailer's seed is that of the offset it names.
    if let Some(seed) = seed(salt, 7, u64_at(trailer, 8)) {
        let checksum = crc32c(&trailer[..28]) ^ seed;
        set_u32(trailer, 28, checksum);
    }
}
