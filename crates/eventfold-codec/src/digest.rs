//! The two digests of a sealed segment, chained from footer to footer: section 5.2 of `docs/FORMAT.md`.

use crate::frame::{EventRef, FrameKind, VerifiedFrame};

/// What an item of the logical digest is.
const ITEM_APPEND: u8 = 1;
const ITEM_CONFIGURATION: u8 = 2;

/// A BLAKE3 digest.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A hasher of bytes that come in small pieces. BLAKE3 sums sixteen KiB and more at a time several times as fast as the same
/// bytes one piece after the other, so the pieces are gathered.
#[derive(Clone, Debug)]
struct Gathered {
    hasher: blake3::Hasher,
    bytes: Vec<u8>,
}

/// How much is gathered: enough for all lanes of the widest processors, and little beside what else a segment's sealing takes.
const GATHERED_LEN: usize = 64 << 10;

impl Gathered {
    fn new(previous: Digest) -> Self {
        let mut gathered = Self { hasher: blake3::Hasher::new(), bytes: Vec::with_capacity(GATHERED_LEN) };
        gathered.update(&previous.0);
        gathered
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while bytes.len() >= GATHERED_LEN - self.bytes.len() {
            let (taken, rest) = bytes.split_at(GATHERED_LEN - self.bytes.len());
            self.bytes.extend_from_slice(taken);
            self.hasher.update(&self.bytes);
            self.bytes.clear();
            bytes = rest;
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn finish(&self) -> Digest {
        Digest(*self.hasher.clone().update(&self.bytes).finalize().as_bytes())
    }
}

/// Sums a segment's bytes, from the file's start to the end of its last frame.
#[derive(Clone, Debug)]
pub struct ByteDigest(Gathered);

impl ByteDigest {
    /// Starts from the byte digest of the segment before; all zeroes for segment 0.
    pub fn new(previous: Digest) -> Self {
        Self(Gathered::new(previous))
    }

    /// Adds the bytes that follow those added before.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest.
    pub fn finish(&self) -> Digest {
        self.0.finish()
    }
}

/// Sums what a segment says, not how: equal on every machine that holds the same log.
#[derive(Clone, Debug)]
pub struct LogicalDigest {
    items: Gathered,
    /// What an event's leaf is of, to be summed at once.
    leaf: Vec<u8>,
}

impl LogicalDigest {
    /// Starts from the logical digest of the segment before; all zeroes for segment 0.
    pub fn new(previous: Digest) -> Self {
        Self { items: Gathered::new(previous), leaf: Vec::new() }
    }

    /// Adds a frame. Only appends and configurations say what other machines hold too.
    pub fn update(&mut self, frame: &VerifiedFrame<'_>) {
        match frame.frame().kind() {
            FrameKind::Append => self.update_append(frame),
            FrameKind::Configuration => {
                if let Some(configuration) = frame.fields().configuration {
                    self.items.update(&[ITEM_CONFIGURATION]);
                    self.items.update(&configuration.idempotency_window.to_le_bytes());
                }
            }
            FrameKind::Link | FrameKind::Watermark | FrameKind::Prepared | FrameKind::Close => {}
        }
    }

    fn update_append(&mut self, frame: &VerifiedFrame<'_>) {
        self.items.update(&[ITEM_APPEND]);
        self.items.update(&frame.frame().header().event_count.to_le_bytes());
        let (mut named, mut texts) = (0u32, Vec::new());
        for stream in frame.streams() {
            if let Some(name) = stream.name {
                named += 1;
                texts.extend_from_slice(stream.id.as_bytes());
                texts.extend_from_slice(&len16(name));
                texts.extend_from_slice(name.as_bytes());
            }
        }
        self.items.update(&named.to_le_bytes());
        self.items.update(&texts);
        for event in frame.events() {
            let leaf = leaf(&event, &mut self.leaf);
            self.items.update(&leaf.0);
        }
    }

    /// The digest.
    pub fn finish(&self) -> Digest {
        self.items.finish()
    }
}

/// The leaf of one event in the logical digest.
pub fn event_leaf(event: &EventRef<'_>) -> Digest {
    leaf(event, &mut Vec::new())
}

/// Gathers in `bytes`, since an event has a dozen parts and BLAKE3 takes a while for each piece.
fn leaf(event: &EventRef<'_>, bytes: &mut Vec<u8>) -> Digest {
    bytes.clear();
    bytes.extend_from_slice(&event.global_position.to_le_bytes());
    bytes.extend_from_slice(&event.stream_version.to_le_bytes());
    bytes.extend_from_slice(&event.recorded_at.to_le_bytes());
    bytes.extend_from_slice(event.stream_id.as_bytes());
    bytes.extend_from_slice(event.event_id.as_bytes());
    bytes.extend_from_slice(&len16(event.event_type));
    bytes.extend_from_slice(event.event_type.as_bytes());
    bytes.push(u8::try_from(event.tags.len()).expect("an event has at most 64 tags"));
    for tag in event.tags.iter() {
        bytes.extend_from_slice(&len16(tag));
        bytes.extend_from_slice(tag.as_bytes());
    }
    for part in [event.metadata, event.payload] {
        bytes.extend_from_slice(&u32::try_from(part.len()).expect("an event has at most 1 MiB").to_le_bytes());
        bytes.extend_from_slice(part);
    }
    Digest(*blake3::hash(bytes).as_bytes())
}

fn len16(text: &str) -> [u8; 2] {
    u16::try_from(text.len()).expect("types, tags and names have at most 512 bytes").to_le_bytes()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::append::ProposedAppend;
    use crate::checksum::SegmentKey;
    use crate::event::ProposedEvent;
    use crate::frame::{
        Configuration, ExtensionArea, Frame, FramePlace, StreamSlot, SystemFrame, encode_append, encode_system,
    };
    use crate::stream::StreamName;

    const PREVIOUS: Digest = Digest([7; 32]);

    #[test]
    #[cfg_attr(miri, ignore = "so many bytes take minutes there")]
    fn bytes_are_summed_behind_the_digest_before_however_they_come() {
        let bytes: Vec<u8> = (0..=250).cycle().take(4 * GATHERED_LEN + 5).collect();
        let mut hasher = blake3::Hasher::new();
        let expected = Digest(*hasher.update(&PREVIOUS.0).update(&bytes).finalize().as_bytes());
        for len in [1000, GATHERED_LEN - PREVIOUS.0.len(), GATHERED_LEN, bytes.len()] {
            let mut digest = ByteDigest::new(PREVIOUS);
            bytes.chunks(len).for_each(|piece| digest.update(piece));
            assert_eq!(digest.finish(), expected, "{len}");
        }
        // Pieces that fill what is gathered half way, over its end, and many times over.
        let mut digest = ByteDigest::new(PREVIOUS);
        let (first, rest) = bytes.split_at(GATHERED_LEN / 2 + 1);
        let (second, rest) = rest.split_at(GATHERED_LEN / 2 + 1);
        for piece in [first, second, rest] {
            digest.update(piece);
        }
        assert_eq!(digest.finish(), expected);
        assert_eq!(ByteDigest::new(PREVIOUS).finish(), Digest(*blake3::hash(&PREVIOUS.0).as_bytes()));
    }

    #[test]
    fn the_logical_digest_is_put_together_as_the_document_says() {
        let key = SegmentKey::new(3);
        let [alpha, beta] = ["alpha", "beta"].map(|name| StreamName::new(name).unwrap().id());
        let event = |number: u128| ProposedEvent::new("Noted", "payload").with_id(Uuid::from_u128(number));
        let append = ProposedAppend::new()
            .events("alpha", vec![event(1).with_tags(["red", "big"]).with_metadata("meta")])
            .events("beta", vec![event(2)])
            .events("alpha", vec![event(3)])
            .check(Uuid::nil)
            .unwrap();
        let slots =
            [StreamSlot { first_version: 3, with_name: true }, StreamSlot { first_version: 0, with_name: false }];
        let place =
            FramePlace { offset: 8288, incarnation: 1, durable_through: 8288, first_position: 5, recorded_at: 9 };
        let mut frames = [const { Vec::new() }; 3];
        encode_append(&append, &slots, &key, &place, &ExtensionArea::default(), &mut frames[0]);
        // What stands between the appends of one machine says nothing of the log.
        encode_system(SystemFrame::Watermark, &key, &place, &mut frames[1]);
        let configuration = SystemFrame::Configuration(Configuration { idempotency_window: 77 });
        encode_system(configuration, &key, &place, &mut frames[2]);
        let mut digest = LogicalDigest::new(PREVIOUS);
        for frame in &frames {
            digest.update(&Frame::open(frame, &key, place.offset).unwrap().verify().unwrap());
        }

        let leaf = |position: u64, version: u64, stream: Uuid, event: u128, contents: &[u8]| {
            let id = Uuid::from_u128(event);
            let numbers = [position, version, 9].map(u64::to_le_bytes).concat();
            *blake3::hash(&[&*numbers, stream.as_bytes(), id.as_bytes(), contents].concat()).as_bytes()
        };
        let plain = b"\x05\0Noted\0\0\0\0\0\x07\0\0\0payload";
        let tagged = b"\x05\0Noted\x02\x03\0red\x03\0big\x04\0\0\0meta\x07\0\0\0payload";
        let expected = [
            &PREVIOUS.0,
            &b"\x01\x03\0\0\0\x01\0\0\0"[..],
            alpha.as_bytes(),
            b"\x05\0alpha",
            &leaf(5, 3, alpha, 1, tagged),
            &leaf(6, 0, beta, 2, plain),
            &leaf(7, 4, alpha, 3, plain),
            b"\x02\x4D\0\0\0",
        ];
        assert_eq!(digest.finish(), Digest(*blake3::hash(&expected.concat()).as_bytes()));
        let append = Frame::open(&frames[0], &key, place.offset).unwrap();
        assert_eq!(event_leaf(&append.event(1).unwrap()), Digest(leaf(6, 0, beta, 2, plain)));
    }
}
