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
