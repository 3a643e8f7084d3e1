//! What several tests of the codec share.
#![allow(dead_code, reason = "every test binary uses another part")]

pub(crate) mod generate;
pub(crate) mod image;

use eventfold_codec::{
    ExtensionArea, FrameHeader, FramePlace, ProposedAppend, SegmentKey, StreamSlot, ValidAppend, encode_append,
};
use uuid::Uuid;

/// The salt of every hand-made segment.
pub(crate) const SALT: u64 = 0x0123_4567_89AB_CDEF;

pub(crate) fn key() -> SegmentKey {
    SegmentKey::new(SALT)
}

/// Bytes from an annotated dump: two hex digits a byte, `00*4032` for a run, `#` to the end of a line is a note.
pub(crate) fn hex(dump: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for token in dump.lines().flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace()) {
        let (byte, count) = token.split_once('*').unwrap_or((token, "1"));
        let byte = u8::from_str_radix(byte, 16).expect("two hex digits");
        bytes.resize(bytes.len() + count.parse::<usize>().expect("a count"), byte);
    }
    bytes
}

/// A valid append; events without an id get 1, 2, 3, …
pub(crate) fn valid(append: ProposedAppend) -> ValidAppend {
    let mut id = 0;
    append
        .check(|| {
            id += 1;
            Uuid::from_u128(id)
        })
        .expect("the append is valid")
}

/// A place in the group that starts at `offset`.
pub(crate) fn place(offset: u64, first_position: u64) -> FramePlace {
    FramePlace { offset, incarnation: 1, durable_through: offset, first_position, recorded_at: 1_700_000_000_000 }
}

/// The append's frame, every stream at version 0 and every name stored.
pub(crate) fn encoded(append: &ValidAppend, place: &FramePlace) -> (Vec<u8>, FrameHeader) {
    let slots = vec![StreamSlot { first_version: 0, with_name: true }; append.streams().len()];
    let mut bytes = Vec::new();
    let header = encode_append(append, &slots, &key(), place, &ExtensionArea::default(), &mut bytes);
    (bytes, header)
}
