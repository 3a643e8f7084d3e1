//! CRC-32C, and the seeds that tie bytes to the place they were written for.

/// CRC-32C (Castagnoli) of `bytes`.
///
/// ```
/// assert_eq!(eventfold_codec::crc32c(b"123456789"), 0xE306_9283);
/// ```
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// A checksum that did not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChecksumMismatch {
    /// The checksum that is written down.
    pub expected: u32,
    /// The checksum of the bytes that stand there.
    pub found: u32,
}

impl std::fmt::Display for ChecksumMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stored {:#010x}, computed {:#010x}", self.expected, self.found)
    }
}

/// The seeds of one segment's checksums, made from its salt.
///
/// A checksum is the CRC-32C of some bytes, XOR a seed. Equal bytes under different seeds never have equal checksums: what
/// was written for another offset, as another record of its frame, or by another incarnation does not verify where it
/// now stands, and what was written under another salt does once in 2³² times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentKey {
    salt: u64,
    frame_header: u32,
    frame_body: u32,
    record: u32,
    place_tag: u32,
}

/// What a checksum is of. The numbers are the domains of the format.
#[derive(Clone, Copy)]
pub(crate) enum FooterPart {
    Header = 4,
    Directory = 5,
    Section = 6,
    Trailer = 7,
}

const INDEX_STEP: u32 = 0x9E37_79B1;
const INCARNATION_STEP: u32 = 0x85EB_CA77;
const DOMAIN_STEP: u64 = 0x9E37_79B9_7F4A_7C15;
const SEGMENT_HEADER_SEED: u32 = 0x5EED_0000;

// An even step would give indexes, or incarnations, that differ by 2³¹ the same seed.
const _: () = assert!(INDEX_STEP % 2 == 1 && INCARNATION_STEP % 2 == 1);

impl SegmentKey {
    /// The key of the segment with this salt.
    pub fn new(salt: u64) -> Self {
        Self {
            salt,
            frame_header: domain_key(salt, 1),
            frame_body: domain_key(salt, 2),
            record: domain_key(salt, 3),
            place_tag: domain_key(salt, 8),
        }
    }

    /// The salt this key was made from.
    pub fn salt(&self) -> u64 {
        self.salt
    }

    #[inline]
    pub(crate) fn frame_header(&self, offset: u64, bytes: &[u8]) -> u32 {
        crc32c(bytes) ^ self.frame_header ^ place(offset)
    }

    #[inline]
    pub(crate) fn frame_body(&self, offset: u64, incarnation: u32, bytes: &[u8]) -> u32 {
        crc32c(bytes) ^ self.frame_body ^ writing(offset, incarnation)
    }

    #[inline(never)]
    pub(crate) fn record(&self, offset: u64, incarnation: u32, index: u32, bytes: &[u8]) -> u32 {
        crc32c(bytes) ^ indexed(self.record ^ writing(offset, incarnation), index)
    }

    /// What every frame at this offset of this segment carries, whatever it says. Bytes that a caller chose can't pass
    /// for a header without guessing this as well as the checksum's seed.
    #[inline]
    pub(crate) fn place_tag(&self, offset: u64) -> u32 {
        self.place_tag ^ place(offset)
    }

    /// The checksum of page `index` of a paged section of kind `kind`, where the footer, or the file's own header, stands at
    /// `offset`: so that one page of an index is verified by itself.
    pub fn page(&self, offset: u64, kind: u16, index: u32, bytes: &[u8]) -> u32 {
        let place = domain_key(self.salt, 9) ^ place(offset);
        let section = place.wrapping_add(u32::from(kind).wrapping_mul(INDEX_STEP));
        crc32c(bytes) ^ section.wrapping_add(index.wrapping_mul(INCARNATION_STEP))
    }

    pub(crate) fn footer(&self, part: FooterPart, offset: u64, index: u16, bytes: &[u8]) -> u32 {
        crc32c(bytes) ^ indexed(domain_key(self.salt, part as u64) ^ place(offset), u32::from(index))
    }
}

/// The checksum of copy `copy` of a segment header, which can't use the salt that it carries.
pub(crate) fn segment_header(copy: u32, bytes: &[u8]) -> u32 {
    crc32c(bytes) ^ SEGMENT_HEADER_SEED.wrapping_add(copy)
}

/// Compares a checksum that is written down with the one computed.
#[inline]
pub(crate) fn compare(expected: u32, found: u32) -> Result<(), ChecksumMismatch> {
    if expected == found { Ok(()) } else { Err(ChecksumMismatch { expected, found }) }
}

#[inline]
fn indexed(seed: u32, index: u32) -> u32 {
    seed.wrapping_add(index.wrapping_mul(INDEX_STEP))
}

/// An offset as 32 bits. Offsets stay below `MAX_SEGMENT_LEN`, so no two aligned ones share them; the fold only keeps a
/// caller's nonsense from being cut off unseen.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are folded in")]
fn place(offset: u64) -> u32 {
    let units = offset >> 3;
    (units ^ (units >> 32)) as u32
}

/// A place and the incarnation that wrote there: what an earlier run left at an offset does not verify under the header
/// of a later one.
#[inline]
fn writing(offset: u64, incarnation: u32) -> u32 {
    place(offset) ^ incarnation.wrapping_mul(INCARNATION_STEP)
}

fn domain_key(salt: u64, domain: u64) -> u32 {
    (mix(salt.wrapping_add(domain.wrapping_mul(DOMAIN_STEP))) >> 32) as u32
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    /// The definition, one bit at a time: what the accelerated code must agree with at every length.
    fn crc32c_by_definition(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 })
        })
    }

    #[test]
    fn the_published_check_values_hold() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn every_length_up_to_the_vectorised_paths_agrees_with_the_definition() {
        let lengths = if cfg!(miri) { 40 } else { 2100 };
        let bytes: Vec<u8> = (0..lengths).map(|i: u32| (i.wrapping_mul(0x9E37_79B1) >> 24).to_le_bytes()[0]).collect();
        for len in 0..bytes.len() {
            assert_eq!(crc32c(&bytes[..len]), crc32c_by_definition(&bytes[..len]), "length {len}");
            let start = len % 17;
            if start < len {
                assert_eq!(
                    crc32c(&bytes[start..len]),
                    crc32c_by_definition(&bytes[start..len]),
                    "from {start} to {len}"
                );
            }
        }
    }

    #[test]
    fn places_and_indexes_never_share_a_seed() {
        let key = SegmentKey::new(7);
        let (places, indexes) = if cfg!(miri) { (100, 100) } else { (10_000, 65_536) };
        let distinct = |seeds: Vec<u32>| seeds.into_iter().collect::<BTreeSet<_>>().len();
        assert_eq!(distinct((0..places).map(|place| key.frame_header(place * 8, b"")).collect()) as u64, places);
        assert_eq!(distinct((0..places).map(|place| key.place_tag(place * 8)).collect()) as u64, places);
        let bodies = (0..indexes).map(|incarnation| key.frame_body(8192, incarnation, b"")).collect();
        assert_eq!(distinct(bodies), indexes as usize);
        assert_eq!(distinct((0..indexes).map(|index| key.record(8192, 1, index, b"")).collect()), indexes as usize);
    }

    #[test]
    fn a_page_has_the_seed_that_the_document_gives() {
        let (key, bytes) = (SegmentKey::new(7), b"a page");
        assert_eq!(key.salt(), 7);
        for (offset, kind, index) in
            [(0, 1, 0), (12_288, 1, 0), (12_288, 0xFFFF, 1), (1 << 34, 2, u32::MAX), ((1 << 35) - 8, 1, 1)]
        {
            let place = domain_key(7, 9) ^ u32::try_from(offset / 8).unwrap();
            let seed = place
                .wrapping_add(u32::from(kind).wrapping_mul(0x9E37_79B1))
                .wrapping_add(index.wrapping_mul(0x85EB_CA77));
            assert_eq!(
                key.page(offset, kind, index, bytes),
                crc32c_by_definition(bytes) ^ seed,
                "{offset} {kind} {index}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 256 }))]

        #[test]
        fn any_bytes_agree_with_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..if cfg!(miri) { 50 } else { 5000 })) {
            prop_assert_eq!(crc32c(&bytes), crc32c_by_definition(&bytes));
        }
    }
}
