//! The segment header.

use eventfold_codec::recovery::SegmentInfo;
use eventfold_codec::{HEADER_BLOCK_LEN, HeaderCopies, SegmentHeader, SegmentHeaderError};
use uuid::Uuid;

use crate::shared::reader::Reader;
use crate::shared::sums;

/// A segment header: any bytes, or a header that was written, changed, and summed again.
///
/// # Panics
///
/// If a property does not hold.
pub fn header(data: &[u8]) {
    let mut input = Reader::new(data);
    let mode = input.u8();
    let mut bytes = if mode & 1 == 0 { input.rest().to_vec() } else { written(&mut input) };
    for copy in [0u8, 1] {
        if mode & (2 << copy) != 0 {
            let start = HEADER_BLOCK_LEN * usize::from(copy);
            let end = bytes.len().min(start + HEADER_BLOCK_LEN);
            if let Some(block) = bytes.get_mut(start..end) {
                sums::repair_segment_header(block, u32::from(copy));
            }
        }
    }
    examine(&bytes);
}

/// A header that was written, decoded, and then changed.
fn written(input: &mut Reader<'_>) -> Vec<u8> {
    let mut header = SegmentHeader::new(Uuid::from_u128(u128::from(input.u64())), input.u32(), input.u64());
    header.segment_size = (u64::from(input.u16()) + 16) * HEADER_BLOCK_LEN as u64;
    header.idempotency_window = input.u32() % ((1 << 24) + 1);
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    assert_eq!(SegmentHeader::decode(&bytes), Ok((header, HeaderCopies::Both)));
    // Almost all of a header is reserved: changes are aimed at its fields, and now and then at the rest.
    for _ in 0..input.u8() % 6 {
        let at = input.below(bytes.len());
        let at = match input.u8() % 4 {
            0 => at,
            1 => at % 60,
            2 => HEADER_BLOCK_LEN + at % 60,
            _ => HEADER_BLOCK_LEN - 4 + at % 4,
        };
        bytes[at] = input.u8();
    }
    bytes.truncate(bytes.len() - usize::from(input.u16()).min(bytes.len()) / 8);
    bytes
}

fn examine(bytes: &[u8]) {
    let first = bytes.get(..HEADER_BLOCK_LEN);
    let second = bytes.get(HEADER_BLOCK_LEN..2 * HEADER_BLOCK_LEN);
    let sound =
        [(first, 0), (second, 1)].map(|(block, copy)| block.filter(|block| sums::is_valid_segment_header(block, copy)));
    let is_newer = |block: &[u8]| match sums::u32_at(block, 8) {
        0 => false,
        1 => sums::u32_at(block, 12) != 0,
        _ => true,
    };
    let newer = sound.iter().flatten().any(|block| is_newer(block));
    let decoded = SegmentHeader::decode(bytes);
    assert_eq!(
        newer,
        matches!(decoded, Err(SegmentHeaderError::Unsupported(_))),
        "a sound copy of a newer version is refused as such, and nothing else is"
    );
    match decoded {
        Ok((header, copies)) => {
            let mut again = Vec::new();
            header.encode(&mut again);
            assert_eq!(SegmentHeader::decode(&again), Ok((header, HeaderCopies::Both)));
            // What was taken is what a sound copy says, but for the reserved bytes.
            let (taken, copy) = match copies {
                HeaderCopies::Both | HeaderCopies::FirstOnly(_) => (sound[0], &again[..60]),
                HeaderCopies::SecondOnly(_) => (sound[1], &again[HEADER_BLOCK_LEN..HEADER_BLOCK_LEN + 60]),
            };
            assert_eq!(taken.expect("a copy that is taken is sound")[..60], *copy);
            if copies == HeaderCopies::Both {
                let [Some(first), Some(second)] = sound else {
                    panic!("both copies are sound");
                };
                // Not `assert_eq`, which would print all of both.
                let alike = first[..36] == second[..36] && first[40..4092] == second[40..4092];
                assert!(alike, "copies that differ are refused");
            }
            // 1 MiB × 4ⁿ, in more bits than it can fill.
            let grown = 1u128 << (20 + 2 * header.number.min(32));
            assert_eq!(u128::from(header.capacity()), grown.min(header.segment_size.into()));
            let info = SegmentInfo::new(&header, 7);
            assert_eq!((info.number, info.salt, info.file_len), (header.number, header.salt, 7));
            assert_eq!(info.capacity, header.capacity());
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            if error == SegmentHeaderError::CopiesDiffer {
                assert!(sound.iter().all(Option::is_some));
            }
        }
    }
}
