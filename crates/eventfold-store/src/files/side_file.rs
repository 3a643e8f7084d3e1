//! The side file, where a recovery keeps what it drops before it erases it. Section 9.3 of `docs/FORMAT.md`.
//!
//! What is dropped can be as large as a segment, so it is copied and verified piece by piece. A writer knows from the extents
//! where every piece goes; it copies them, sums each one as it passes, and writes the head with these sums last.

use eventfold_codec::crc32c;
use eventfold_codec::recovery::Extent;
use uuid::Uuid;

use super::{Damage, FileError, HeaderKind, byte_table, compare, head, rule};

byte_table! {
    /// Table "side file header".
    header: 64 bytes {
        MAGIC: 8,
        FORMAT_VERSION: 4,
        REQUIRED_FLAGS: 4,
        STORE_ID: 16,
        INCARNATION: 4,
        EXTENT_COUNT: 4,
        PIECE_COUNT: 8,
        FILE_LEN: 8,
        TABLE_CHECKSUM: 4,
        CHECKSUM: 4,
    }
}

byte_table! {
    /// Table "side file extent".
    extent: 24 bytes {
        SEGMENT: 4,
        RESERVED: 4,
        FROM: 8,
        TO: 8,
    }
}

const SIDE_FILE: HeaderKind = HeaderKind::new(*b"SID", 0x5EED_0200);
const SUM_LEN: usize = 4;

/// Bytes of the header, which says how long the whole head is.
pub(crate) const SIDE_FILE_HEADER_LEN: usize = header::SIZE;

/// Dropped bytes that are summed together: large enough to be copied at the disk's speed, small enough to hold.
pub(crate) const PIECE_LEN: u64 = 1 << 20;

/// What a side file holds, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SideFileHeader {
    store_id: Uuid,
    incarnation: u32,
    extents: Vec<Extent>,
    piece_count: u64,
    head_len: u64,
    file_len: u64,
}

/// Some dropped bytes, at most [`PIECE_LEN`], that have a checksum of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where they come from.
    pub(crate) source: Extent,
    /// Where they stand in the side file.
    pub(crate) offset: u64,
}

impl Piece {
    /// How many bytes they are.
    pub(crate) fn len(&self) -> u64 {
        self.source.to - self.source.from
    }
}

impl SideFileHeader {
    /// Lays out a side file for these extents: at least one, not empty, at most one of each segment and in the segments'
    /// order. The incarnation is the one that the recovery starts.
    pub(crate) fn new(store_id: Uuid, incarnation: u32, extents: Vec<Extent>) -> Result<Self, Damage> {
        rule(incarnation > 0, "incarnation", u64::from(incarnation))?;
        rule(!extents.is_empty() && u32::try_from(extents.len()).is_ok(), "extent_count", extents.len() as u64)?;
        if let Some(pair) = extents.windows(2).find(|pair| pair[0].segment >= pair[1].segment) {
            return Err(Damage::Field { field: "segment", value: u64::from(pair[1].segment) });
        }
        let (mut piece_count, mut content_len) = (0_u64, 0_u64);
        for extent in &extents {
            let too_long = Damage::Field { field: "to", value: extent.to };
            let len = extent.to.checked_sub(extent.from).filter(|len| *len > 0).ok_or(too_long)?;
            piece_count += len.div_ceil(PIECE_LEN);
            content_len = content_len.checked_add(len).ok_or(too_long)?;
        }
        let head_len = head_len(extents.len() as u64, piece_count);
        let file_len = head_len.and_then(|head_len| head_len.checked_add(content_len));
        match head_len.zip(file_len) {
            Some((head_len, file_len)) => Ok(Self { store_id, incarnation, extents, piece_count, head_len, file_len }),
            None => Err(Damage::Field { field: "file_len", value: u64::MAX }),
        }
    }

    /// The store it belongs to.
    pub(crate) fn store_id(&self) -> Uuid {
        self.store_id
    }

    /// The incarnation that the recovery starts.
    #[cfg(test)]
    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// What was dropped.
    pub(crate) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Where the dropped bytes start: how much of the file the head takes.
    #[cfg(test)]
    pub(crate) fn head_len(&self) -> u64 {
        self.head_len
    }

    /// How long the file is.
    #[cfg(test)]
    pub(crate) fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Each extent and where its bytes start in the side file.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Extent, u64)> {
        self.extents.iter().scan(self.head_len, |next, extent| {
            let offset = *next;
            *next += extent.to - extent.from;
            Some((*extent, offset))
        })
    }

    /// The pieces, in the order of their checksums.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece> {
        self.places().flat_map(|(extent, offset)| {
            let len = extent.to - extent.from;
            (0..len.div_ceil(PIECE_LEN)).map(move |index| {
                let (start, end) = (index * PIECE_LEN, len.min((index + 1).saturating_mul(PIECE_LEN)));
                let source = Extent { segment: extent.segment, from: extent.from + start, to: extent.from + end };
                Piece { source, offset: offset + start }
            })
        })
    }

    /// The file's first [`head_len`](Self::head_len) bytes, from the CRC-32C of each of its [`pieces`](Self::pieces).
    ///
    /// # Panics
    ///
    /// If there are more or fewer checksums than pieces.
    pub(crate) fn encode(&self, sums: &[u32]) -> Vec<u8> {
        assert_eq!(sums.len() as u64, self.piece_count, "each piece has one checksum");
        let mut bytes = vec![0; header::SIZE];
        for extent in &self.extents {
            let mut row = [0; extent::SIZE];
            extent::SEGMENT.set_u32(&mut row, extent.segment);
            extent::FROM.set_u64(&mut row, extent.from);
            extent::TO.set_u64(&mut row, extent.to);
            bytes.extend_from_slice(&row);
        }
        bytes.extend(sums.iter().flat_map(|sum| sum.to_le_bytes()));
        bytes.resize(bytes.len().next_multiple_of(8), 0);

        let (header, table) = bytes.split_at_mut(header::SIZE);
        header::INCARNATION.set_u32(header, self.incarnation);
        let extent_count = u32::try_from(self.extents.len()).expect("checked when it was made");
        header::EXTENT_COUNT.set_u32(header, extent_count);
        header::PIECE_COUNT.set_u64(header, self.piece_count);
        header::FILE_LEN.set_u64(header, self.file_len);
        header::TABLE_CHECKSUM.set_u32(header, SIDE_FILE.sum(table));
        SIDE_FILE.seal(header, self.store_id);
        bytes
    }
}

/// A side file that was read, but for the dropped bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SideFile {
    header: SideFileHeader,
    sums: Vec<u32>,
}

impl SideFile {
    /// How many bytes [`decode`](Self::decode) takes, from the file's first [`SIDE_FILE_HEADER_LEN`]. Never more than
    /// `file_len`, which is how long the file is.
    pub(crate) fn head_len(bytes: &[u8], file_len: u64) -> Result<usize, FileError> {
        let header = head(bytes, header::SIZE)?;
        SIDE_FILE.open(header)?;
        let expected = header::FILE_LEN.get_u64(header);
        if expected != file_len {
            return Err(Damage::Length { expected, found: file_len }.into());
        }
        let pieces = header::PIECE_COUNT.get_u64(header);
        let head_len = head_len(u64::from(header::EXTENT_COUNT.get_u32(header)), pieces);
        head_len
            .filter(|len| *len <= file_len)
            .and_then(|len| usize::try_from(len).ok())
            .ok_or(Damage::Field { field: "piece_count", value: pieces }.into())
    }

    /// Reads the head of a file that is `file_len` bytes long.
    pub(crate) fn decode(bytes: &[u8], file_len: u64) -> Result<Self, FileError> {
        let head_len = Self::head_len(bytes, file_len)?;
        let (header, table) = head(bytes, head_len)?.split_at(header::SIZE);
        compare("table", header::TABLE_CHECKSUM.get_u32(header), SIDE_FILE.sum(table))?;

        let extent_count = header::EXTENT_COUNT.get_u32(header) as usize;
        let (rows, sums) = table.split_at(extent_count * extent::SIZE);
        let mut extents = Vec::with_capacity(extent_count);
        for row in rows.chunks_exact(extent::SIZE) {
            let reserved = extent::RESERVED.get_u32(row);
            rule(reserved == 0, "reserved", u64::from(reserved))?;
            let (from, to) = (extent::FROM.get_u64(row), extent::TO.get_u64(row));
            extents.push(Extent { segment: extent::SEGMENT.get_u32(row), from, to });
        }
        let store_id = Uuid::from_bytes(header::STORE_ID.get(header));
        let layout = SideFileHeader::new(store_id, header::INCARNATION.get_u32(header), extents)?;
        let piece_count = header::PIECE_COUNT.get_u64(header);
        rule(layout.piece_count == piece_count, "piece_count", piece_count)?;
        rule(layout.file_len == file_len, "file_len", file_len)?;

        let mut sums: Vec<u32> = sums.as_chunks().0.iter().map(|sum| u32::from_le_bytes(*sum)).collect();
        if sums.len() as u64 > piece_count {
            let padding = sums.pop().unwrap_or_default();
            rule(padding == 0, "padding", u64::from(padding))?;
        }
        Ok(Self { header: layout, sums })
    }

    /// What it holds, and where.
    pub(crate) fn header(&self) -> &SideFileHeader {
        &self.header
    }

    /// Each piece with its checksum.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (Piece, u32)> {
        self.header.pieces().zip(self.sums.iter().copied())
    }

    /// Checks the bytes of a piece against its checksum.
    pub(crate) fn verify(sum: u32, bytes: &[u8]) -> Result<(), Damage> {
        compare("piece", sum, crc32c(bytes))
    }
}

/// Header, extents and checksums, up to the next multiple of 8.
fn head_len(extents: u64, pieces: u64) -> Option<u64> {
    let rows = extents.checked_mul(extent::SIZE as u64)?;
    let sums = pieces.checked_mul(SUM_LEN as u64)?;
    (header::SIZE as u64).checked_add(rows)?.checked_add(sums)?.checked_next_multiple_of(8)
}

#[cfg(test)]
pub(super) fn layout() -> (usize, &'static [(usize, usize, &'static str)], HeaderKind) {
    (header::SIZE, header::ROWS, SIDE_FILE)
}

#[cfg(test)]
pub(super) fn extent_layout() -> (usize, &'static [(usize, usize, &'static str)]) {
    (extent::SIZE, extent::ROWS)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hex, keeps_the_common_rules, resealed};
    use super::*;
    use proptest::prelude::*;

    const GOLDEN: &str = include_str!("../../tests/golden/side_file.hex");
    const STORE: Uuid = Uuid::from_u128(0x6F96_19FF_8B86_D011_B42D_00C0_4FC9_64FF);

    fn sample() -> SideFileHeader {
        let extents =
            vec![Extent { segment: 2, from: 8288, to: 8296 }, Extent { segment: 3, from: 8192, to: 8192 + 5 }];
        SideFileHeader::new(STORE, 7, extents).unwrap()
    }

    fn content(piece: &Piece) -> Vec<u8> {
        let seed = piece.source.from ^ u64::from(piece.source.segment);
        (0..piece.len()).map(|index| u8::try_from((index ^ seed) % 251).unwrap()).collect()
    }

    /// A whole file, as a writer makes it: pieces first, the head last.
    fn file(layout: &SideFileHeader) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(layout.file_len()).unwrap()];
        let mut sums = Vec::new();
        for piece in layout.pieces() {
            let dropped = content(&piece);
            sums.push(crc32c(&dropped));
            bytes[usize::try_from(piece.offset).unwrap()..][..dropped.len()].copy_from_slice(&dropped);
        }
        let head = layout.encode(&sums);
        assert_eq!(head.len() as u64, layout.head_len());
        bytes[..head.len()].copy_from_slice(&head);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<SideFile, FileError> {
        SideFile::decode(bytes, bytes.len() as u64)
    }

    /// Everything a reader checks, down to the dropped bytes.
    fn verified(bytes: &[u8]) -> Result<SideFile, FileError> {
        let file = decode(bytes)?;
        for (piece, sum) in file.pieces() {
            let start = usize::try_from(piece.offset).unwrap();
            SideFile::verify(sum, &bytes[start..][..usize::try_from(piece.len()).unwrap()])?;
        }
        Ok(file)
    }

    #[test]
    fn the_bytes_are_the_golden_ones() {
        assert_eq!(file(&sample()), hex(GOLDEN));
        let read = verified(&hex(GOLDEN)).unwrap();
        assert_eq!(read.header(), &sample());
        assert_eq!((read.header().store_id(), read.header().incarnation()), (STORE, 7));
        let offsets: Vec<u64> = sample().places().map(|(_, offset)| offset).collect();
        assert_eq!(offsets, [120, 128]);
    }

    #[test]
    fn newer_files_are_refused_by_number_and_others_as_damage() {
        let bytes = file(&sample());
        keeps_the_common_rules(&SIDE_FILE, &bytes[..header::SIZE], |header| {
            SideFile::head_len(header, bytes.len() as u64).map(drop)
        });
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mut bytes = file(&sample());
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(verified(&bytes), Err(FileError::Damaged(_))), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..bytes.len() {
            assert!(matches!(decode(&bytes[..len]), Err(FileError::Damaged(_))), "{len}");
        }
        bytes.push(0);
        assert!(matches!(decode(&bytes), Err(FileError::Damaged(Damage::Length { .. }))));
    }

    #[test]
    fn a_large_extent_is_cut_into_pieces() {
        let extents = vec![
            Extent { segment: 0, from: 8192, to: 8192 + 2 * PIECE_LEN + 1 },
            Extent { segment: 1, from: 8192, to: 8192 + PIECE_LEN },
        ];
        let layout = SideFileHeader::new(STORE, 1, extents).unwrap();
        let pieces: Vec<_> = layout.pieces().map(|piece| (piece.source.segment, piece.len())).collect();
        assert_eq!(pieces, [(0, PIECE_LEN), (0, PIECE_LEN), (0, 1), (1, PIECE_LEN)]);
        assert_eq!(layout.pieces().last().map(|piece| piece.offset + piece.len()), Some(layout.file_len()));
    }

    #[test]
    fn extents_that_make_no_file_are_refused() {
        let extent = |segment, from, to| Extent { segment, from, to };
        for (field, incarnation, extents) in [
            ("incarnation", 0, vec![extent(0, 0, 1)]),
            ("extent_count", 1, vec![]),
            ("to", 1, vec![extent(0, 8, 8)]),
            ("to", 1, vec![extent(0, 9, 8)]),
            ("to", 1, vec![extent(0, 0, u64::MAX), extent(1, 0, u64::MAX)]),
            ("segment", 1, vec![extent(1, 0, 8), extent(1, 8, 16)]),
            ("segment", 1, vec![extent(1, 0, 8), extent(0, 0, 8)]),
            ("file_len", 1, vec![extent(1, 0, u64::MAX)]),
        ] {
            let refused = SideFileHeader::new(STORE, incarnation, extents);
            assert!(matches!(refused, Err(Damage::Field { field: found, .. }) if found == field), "{field}");
        }
    }

    #[test]
    fn counts_are_checked_before_anything_is_read_by_them() {
        let bytes = file(&sample());
        let file_len = bytes.len() as u64;
        for change in [
            (|header| header::EXTENT_COUNT.set_u32(header, u32::MAX)) as fn(&mut [u8]),
            |header| header::PIECE_COUNT.set_u64(header, u64::MAX),
            |header| header::PIECE_COUNT.set_u64(header, u64::MAX / 4),
            |header| header::PIECE_COUNT.set_u64(header, 1 << 30),
            |header| header::FILE_LEN.set_u64(header, u64::MAX),
        ] {
            let header = resealed(&SIDE_FILE, &bytes[..header::SIZE], change);
            assert!(SideFile::head_len(&header, file_len).is_err());
        }
    }

    fn extents() -> impl Strategy<Value = Vec<Extent>> {
        let lens = prop_oneof![1..100_u64, PIECE_LEN - 2..PIECE_LEN + 2, 2 * PIECE_LEN - 1..2 * PIECE_LEN + 2];
        proptest::collection::vec((1..3_u32, 0..1_u64 << 34, lens), 1..4).prop_map(|extents| {
            extents
                .into_iter()
                .scan(0, |segment, (step, from, len)| {
                    *segment += step;
                    Some(Extent { segment: *segment, from, to: from + len })
                })
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_written_is_read_back(id in any::<u128>(), incarnation in 1..u32::MAX, extents in extents()) {
            let layout = SideFileHeader::new(Uuid::from_u128(id), incarnation, extents.clone()).unwrap();
            let read = verified(&file(&layout)).unwrap();
            prop_assert_eq!(read.header(), &layout);
            prop_assert_eq!(read.header().extents(), &extents[..]);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn arbitrary_heads_under_right_checksums_are_no_panic(
            extent_count in 0..5_u32,
            piece_count in 0..9_u64,
            table in proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..160),
        ) {
            let mut bytes = file(&sample());
            bytes.truncate(header::SIZE);
            let file_len = (header::SIZE + table.len()) as u64;
            // Sums the table that the counts announce, as far as it is there.
            let announced = head_len(u64::from(extent_count), piece_count).unwrap();
            let summed = table.len().min(usize::try_from(announced).unwrap() - header::SIZE);
            let mut bytes = resealed(&SIDE_FILE, &bytes, |header| {
                header::EXTENT_COUNT.set_u32(header, extent_count);
                header::PIECE_COUNT.set_u64(header, piece_count);
                header::FILE_LEN.set_u64(header, file_len);
                header::TABLE_CHECKSUM.set_u32(header, SIDE_FILE.sum(&table[..summed]));
            });
            bytes.extend(table);
            if let Ok(read) = decode(&bytes) {
                prop_assert_eq!(read.header().file_len(), file_len);
            }
        }
    }
}
