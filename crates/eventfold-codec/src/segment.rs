//! The segment header: section 3 of `docs/FORMAT.md`.

use uuid::Uuid;

use crate::checksum::{self, ChecksumMismatch, SegmentKey};
use crate::error::Unsupported;
use crate::layout::layout;
use crate::limits::{
    FIRST_CAPACITY, FIRST_FRAME_OFFSET, FORMAT_VERSION, HEADER_BLOCK_LEN, MAX_IDEMPOTENCY_WINDOW, MAX_SEGMENT_SIZE,
    MIN_SEGMENT_SIZE,
};

layout! {
    /// Table "segment header".
    segment_header, 4096 bytes {
        MAGIC: 8,
        FORMAT_VERSION: 4,
        REQUIRED_FLAGS: 4,
        STORE_ID: 16,
        SEGMENT_NUMBER: 4,
        COPY: 4,
        SALT: 8,
        SEGMENT_SIZE: 8,
        IDEMPOTENCY_WINDOW: 4,
        RESERVED: 4032,
        CHECKSUM: 4,
    }
}

const _: () = assert!(segment_header::SIZE == HEADER_BLOCK_LEN);

pub(crate) const SEGMENT_MAGIC: [u8; 8] = [0xEF, b'E', b'V', b'F', b'S', b'E', b'G', 0x1A];

/// What a segment says of itself.
///
/// ```
/// use eventfold_codec::{HeaderCopies, SegmentHeader};
/// use uuid::Uuid;
///
/// let header = SegmentHeader::new(Uuid::from_u128(1), 0, 0xC0FFEE);
/// let mut file = Vec::new();
/// header.encode(&mut file);
/// file[100] ^= 1; // damage in the first copy
///
/// let (read, copies) = SegmentHeader::decode(&file)?;
/// assert_eq!(read, header);
/// assert!(matches!(copies, HeaderCopies::SecondOnly(_)));
/// # Ok::<(), eventfold_codec::SegmentHeaderError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The store it belongs to.
    pub store_id: Uuid,
    /// Its number.
    pub number: u32,
    /// Random bits, drawn for this file alone.
    pub salt: u64,
    /// The store's configured segment size.
    pub segment_size: u64,
    /// The duplicate window the store was created with.
    pub idempotency_window: u32,
}

/// Which of the two copies of a segment header are sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderCopies {
    /// Both.
    Both,
    /// The first; the second is damaged as said.
    FirstOnly(HeaderCopyError),
    /// The second; the first is damaged as said.
    SecondOnly(HeaderCopyError),
}

/// What is wrong with one copy of a segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderCopyError {
    /// The file ends before it.
    #[error("it is cut off")]
    Truncated,
    /// It does not start as a segment header does.
    #[error("it does not start as a segment header does")]
    NoMagic,
    /// It is damaged.
    #[error("checksum: {0}")]
    Checksum(ChecksumMismatch),
    /// A field has a value it can't have.
    #[error("field {field} can't be {value}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A newer version wrote it.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

/// Why a segment header can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentHeaderError {
    /// A newer version wrote it.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// Both copies are damaged.
    #[error("both copies of the segment header are damaged: {0}; {1}")]
    Damaged(HeaderCopyError, HeaderCopyError),
    /// Both copies are sound and say different things.
    #[error("the two copies of the segment header differ")]
    CopiesDiffer,
}

impl SegmentHeader {
    /// A header with the default options.
    pub fn new(store_id: Uuid, number: u32, salt: u64) -> Self {
        Self {
            store_id,
            number,
            salt,
            segment_size: crate::limits::DEFAULT_SEGMENT_SIZE,
            idempotency_window: crate::limits::DEFAULT_IDEMPOTENCY_WINDOW,
        }
    }

    /// The key of the segment's checksums.
    pub fn key(&self) -> SegmentKey {
        SegmentKey::new(self.salt)
    }

    /// The segment's capacity, which its file is never shorter than until it is sealed.
    pub fn capacity(&self) -> u64 {
        segment_capacity(self.number, self.segment_size)
    }

    /// Appends both copies: [`FIRST_FRAME_OFFSET`] bytes.
    ///
    /// # Panics
    ///
    /// If an option is out of its bounds.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Err(error) = self.check() {
            panic!("only a header that a reader accepts is written: {error}");
        }
        for copy in [0, 1] {
            let start = out.len();
            out.resize(start + HEADER_BLOCK_LEN, 0);
            let block = &mut out[start..];
            segment_header::MAGIC.set(block, SEGMENT_MAGIC);
            segment_header::FORMAT_VERSION.set_u32(block, FORMAT_VERSION);
            segment_header::STORE_ID.set(block, self.store_id.into_bytes());
            segment_header::SEGMENT_NUMBER.set_u32(block, self.number);
            segment_header::SALT.set_u64(block, self.salt);
            segment_header::SEGMENT_SIZE.set_u64(block, self.segment_size);
            segment_header::IDEMPOTENCY_WINDOW.set_u32(block, self.idempotency_window);
            seal_copy(block, copy);
        }
    }

    /// Reads the header from the start of a segment: [`FIRST_FRAME_OFFSET`] bytes, or what there is of them.
    ///
    /// # Errors
    ///
    /// [`SegmentHeaderError`] where no copy is sound, both are and differ, or a newer version wrote one.
    pub fn decode(bytes: &[u8]) -> Result<(Self, HeaderCopies), SegmentHeaderError> {
        let bytes = &bytes[..bytes.len().min(usize::try_from(FIRST_FRAME_OFFSET).unwrap_or(usize::MAX))];
        let (first, second) = bytes.split_at_checked(HEADER_BLOCK_LEN).unwrap_or((bytes, &[]));
        match (Self::decode_copy(first, 0), Self::decode_copy(second, 1)) {
            (Err(HeaderCopyError::Unsupported(newer)), _) | (_, Err(HeaderCopyError::Unsupported(newer))) => {
                Err(newer.into())
            }
            (Ok(header), Ok(_)) if Self::alike(first, second) => Ok((header, HeaderCopies::Both)),
            (Ok(_), Ok(_)) => Err(SegmentHeaderError::CopiesDiffer),
            (Ok(header), Err(damage)) => Ok((header, HeaderCopies::FirstOnly(damage))),
            (Err(damage), Ok(header)) => Ok((header, HeaderCopies::SecondOnly(damage))),
            (Err(first), Err(second)) => Err(SegmentHeaderError::Damaged(first, second)),
        }
    }

    /// What the damaged one of the two copies has to be, and the offset it belongs at; `None` where both are sound. `bytes`
    /// are the start of the segment, as for [`decode`](Self::decode).
    ///
    /// It is made from the sound copy and not from what this version reads in it: two sound copies that differ in what is
    /// reserved would be refused.
    ///
    /// # Errors
    ///
    /// [`SegmentHeaderError`], as [`decode`](Self::decode) gives it: there is no copy to make the other from.
    pub fn healed_copy(bytes: &[u8]) -> Result<Option<(u64, Vec<u8>)>, SegmentHeaderError> {
        let (sound, damaged) = match Self::decode(bytes)?.1 {
            HeaderCopies::Both => return Ok(None),
            HeaderCopies::FirstOnly(_) => (0, 1),
            HeaderCopies::SecondOnly(_) => (HEADER_BLOCK_LEN, 0),
        };
        let mut block = bytes[sound..][..HEADER_BLOCK_LEN].to_vec();
        seal_copy(&mut block, damaged);
        Ok(Some((u64::from(damaged) * HEADER_BLOCK_LEN as u64, block)))
    }

    /// Whether two blocks say the same but for which copy they are. Bytes that are not interpreted yet count too.
    fn alike(first: &[u8], second: &[u8]) -> bool {
        [0..segment_header::COPY.offset, segment_header::COPY.end()..segment_header::CHECKSUM.offset]
            .into_iter()
            .all(|range| first[range.clone()] == second[range])
    }

    fn decode_copy(bytes: &[u8], copy: u32) -> Result<Self, HeaderCopyError> {
        let block = bytes.first_chunk::<HEADER_BLOCK_LEN>().ok_or(HeaderCopyError::Truncated)?;
        if segment_header::MAGIC.get(block) != SEGMENT_MAGIC {
            return Err(HeaderCopyError::NoMagic);
        }
        let found = checksum::segment_header(copy, &block[..segment_header::CHECKSUM.offset]);
        checksum::compare(segment_header::CHECKSUM.get_u32(block), found).map_err(HeaderCopyError::Checksum)?;
        match segment_header::FORMAT_VERSION.get_u32(block) {
            FORMAT_VERSION => {}
            0 => {
                return Err(HeaderCopyError::Field { field: "format_version", value: 0 });
            }
            found => {
                return Err(Unsupported::FormatVersion { found, supported: FORMAT_VERSION }.into());
            }
        }
        let bits = segment_header::REQUIRED_FLAGS.get_u32(block);
        if bits != 0 {
            return Err(Unsupported::SegmentFlags { bits }.into());
        }
        let found_copy = segment_header::COPY.get_u32(block);
        if found_copy != copy {
            return Err(HeaderCopyError::Field { field: "copy", value: u64::from(found_copy) });
        }
        let header = Self {
            store_id: Uuid::from_bytes(segment_header::STORE_ID.get(block)),
            number: segment_header::SEGMENT_NUMBER.get_u32(block),
            salt: segment_header::SALT.get_u64(block),
            segment_size: segment_header::SEGMENT_SIZE.get_u64(block),
            idempotency_window: segment_header::IDEMPOTENCY_WINDOW.get_u32(block),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), HeaderCopyError> {
        if !is_segment_size(self.segment_size) {
            return Err(HeaderCopyError::Field { field: "segment_size", value: self.segment_size });
        }
        if self.idempotency_window > MAX_IDEMPOTENCY_WINDOW {
            let value = u64::from(self.idempotency_window);
            return Err(HeaderCopyError::Field { field: "idempotency_window", value });
        }
        Ok(())
    }
}

/// Makes a block that is complete otherwise this copy of the header.
fn seal_copy(block: &mut [u8], copy: u32) {
    segment_header::COPY.set_u32(block, copy);
    let checksum = checksum::segment_header(copy, &block[..segment_header::CHECKSUM.offset]);
    segment_header::CHECKSUM.set_u32(block, checksum);
}

/// Whether a store can be configured to segments of this size: a multiple of 4,096 between [`MIN_SEGMENT_SIZE`] and
/// [`MAX_SEGMENT_SIZE`].
pub fn is_segment_size(size: u64) -> bool {
    (MIN_SEGMENT_SIZE..=MAX_SEGMENT_SIZE).contains(&size) && size.is_multiple_of(HEADER_BLOCK_LEN as u64)
}

/// The capacity of segment `number`: 1 MiB for the first, four times the last for each that follows, up to the
/// configured size.
///
/// ```
/// use eventfold_codec::{DEFAULT_SEGMENT_SIZE, segment_capacity};
///
/// let capacities = [0, 1, 2, 3, 4, 5].map(|number| segment_capacity(number, DEFAULT_SEGMENT_SIZE) >> 20);
/// assert_eq!(capacities, [1, 4, 16, 64, 256, 256]);
/// ```
pub fn segment_capacity(number: u32, segment_size: u64) -> u64 {
    let grown = 4u64.checked_pow(number).and_then(|factor| factor.checked_mul(FIRST_CAPACITY));
    grown.unwrap_or(u64::MAX).min(segment_size)
}

#[cfg(test)]
pub(crate) use segment_header as table;

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(header: &SegmentHeader) -> Vec<u8> {
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        bytes
    }

    fn sample() -> SegmentHeader {
        SegmentHeader::new(Uuid::from_u128(42), 3, 0x0123_4567_89AB_CDEF)
    }

    /// The block with one field changed and the checksum made right again.
    fn with(change: impl Fn(&mut [u8]), copies: &[usize]) -> Vec<u8> {
        let mut bytes = encoded(&sample());
        for copy in copies {
            let block = &mut bytes[copy * HEADER_BLOCK_LEN..][..HEADER_BLOCK_LEN];
            change(block);
            let seed = u32::try_from(*copy).unwrap();
            let checksum = checksum::segment_header(seed, &block[..segment_header::CHECKSUM.offset]);
            segment_header::CHECKSUM.set_u32(block, checksum);
        }
        bytes
    }

    #[test]
    fn either_copy_is_enough() {
        let header = sample();
        let bytes = encoded(&header);
        assert_eq!(bytes.len() as u64, FIRST_FRAME_OFFSET);
        assert_eq!(SegmentHeader::decode(&bytes), Ok((header, HeaderCopies::Both)));
        let first_only = HeaderCopies::FirstOnly(HeaderCopyError::Truncated);
        assert_eq!(SegmentHeader::decode(&bytes[..HEADER_BLOCK_LEN]), Ok((header, first_only)));
        assert_eq!(SegmentHeader::decode(&bytes[..bytes.len() - 1]), Ok((header, first_only)));
        let mut zeroed = bytes;
        zeroed[..HEADER_BLOCK_LEN].fill(0);
        let second_only = HeaderCopies::SecondOnly(HeaderCopyError::NoMagic);
        assert_eq!(SegmentHeader::decode(&zeroed), Ok((header, second_only)));
        zeroed.fill(0);
        assert!(matches!(SegmentHeader::decode(&zeroed), Err(SegmentHeaderError::Damaged(..))));
        assert!(matches!(SegmentHeader::decode(&[]), Err(SegmentHeaderError::Damaged(..))));
    }

    #[test]
    fn a_damaged_copy_is_made_again_from_the_other() {
        // What a later version may keep where this one has nothing is part of it.
        let sound = with(|block| block[3000] = 9, &[0, 1]);
        assert_eq!(SegmentHeader::healed_copy(&sound), Ok(None));
        for at in [0, 60, 3000, 4095, 4096, 5000, 8191] {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            let (offset, copy) = SegmentHeader::healed_copy(&damaged).unwrap().unwrap();
            damaged[usize::try_from(offset).unwrap()..][..copy.len()].copy_from_slice(&copy);
            assert_eq!(damaged, sound);
        }
        let cut = SegmentHeader::healed_copy(&sound[..5000]);
        assert_eq!(cut, Ok(Some((4096, sound[HEADER_BLOCK_LEN..].to_vec()))));
        assert!(matches!(SegmentHeader::healed_copy(&[0; 8192]), Err(SegmentHeaderError::Damaged(..))));
    }

    #[test]
    fn one_copy_over_the_other_is_noticed() {
        let mut bytes = encoded(&sample());
        bytes.copy_within(..HEADER_BLOCK_LEN, HEADER_BLOCK_LEN);
        let (_, copies) = SegmentHeader::decode(&bytes).unwrap();
        assert!(matches!(copies, HeaderCopies::FirstOnly(HeaderCopyError::Checksum(_))));
    }

    #[test]
    fn a_newer_version_is_refused_by_name_even_if_the_other_copy_is_damaged() {
        let mut bytes = with(|block| segment_header::FORMAT_VERSION.set_u32(block, 2), &[0, 1]);
        let newer = Unsupported::FormatVersion { found: 2, supported: 1 };
        assert_eq!(SegmentHeader::decode(&bytes), Err(newer.into()));
        bytes[500] ^= 1;
        assert_eq!(SegmentHeader::decode(&bytes), Err(newer.into()));
        let flagged = with(|block| segment_header::REQUIRED_FLAGS.set_u32(block, 6), &[0, 1]);
        assert_eq!(SegmentHeader::decode(&flagged), Err(Unsupported::SegmentFlags { bits: 6 }.into()));
    }

    #[test]
    fn values_out_of_bounds_are_damage() {
        for (field, value) in [("copy", 1), ("copy", 2), ("segment_size", 65_537), ("idempotency_window", 1 << 25)] {
            let bytes = with(
                |block| match field {
                    "copy" => segment_header::COPY.set_u32(block, u32::try_from(value).unwrap()),
                    "segment_size" => segment_header::SEGMENT_SIZE.set_u64(block, value),
                    _ => segment_header::IDEMPOTENCY_WINDOW.set_u32(block, 1 << 25),
                },
                &[0],
            );
            let (_, copies) = SegmentHeader::decode(&bytes).unwrap();
            assert_eq!(copies, HeaderCopies::SecondOnly(HeaderCopyError::Field { field, value }));
        }
        let widest = SegmentHeader { idempotency_window: MAX_IDEMPOTENCY_WINDOW, ..sample() };
        assert_eq!(SegmentHeader::decode(&encoded(&widest)), Ok((widest, HeaderCopies::Both)));
        let zero = with(|block| segment_header::FORMAT_VERSION.set_u32(block, 0), &[0, 1]);
        assert!(matches!(SegmentHeader::decode(&zero), Err(SegmentHeaderError::Damaged(..))));
    }

    #[test]
    fn copies_that_disagree_are_refused() {
        let bytes = with(|block| segment_header::SALT.set_u64(block, 1), &[1]);
        assert_eq!(SegmentHeader::decode(&bytes), Err(SegmentHeaderError::CopiesDiffer));
        let reserved = with(|block| block[3000] = 9, &[1]);
        assert_eq!(SegmentHeader::decode(&reserved), Err(SegmentHeaderError::CopiesDiffer));
    }

    #[test]
    fn reserved_bytes_are_summed_and_not_interpreted() {
        let bytes = with(|block| block[3000] = 9, &[0, 1]);
        assert_eq!(SegmentHeader::decode(&bytes), Ok((sample(), HeaderCopies::Both)));
        let mut flipped = encoded(&sample());
        flipped[3000] ^= 1;
        assert!(matches!(SegmentHeader::decode(&flipped), Ok((_, HeaderCopies::SecondOnly(_)))));
    }

    #[test]
    fn segment_sizes_keep_their_limits() {
        for (size, valid) in [
            (MIN_SEGMENT_SIZE - 4096, false),
            (MIN_SEGMENT_SIZE, true),
            (MIN_SEGMENT_SIZE + 1, false),
            (MIN_SEGMENT_SIZE + 4096, true),
            (MAX_SEGMENT_SIZE - 4096, true),
            (MAX_SEGMENT_SIZE, true),
            (MAX_SEGMENT_SIZE + 4096, false),
        ] {
            assert_eq!(is_segment_size(size), valid, "{size}");
        }
        assert_eq!(segment_capacity(u32::MAX, MAX_SEGMENT_SIZE), MAX_SEGMENT_SIZE);
        assert_eq!(segment_capacity(0, MIN_SEGMENT_SIZE), MIN_SEGMENT_SIZE);
    }
}
