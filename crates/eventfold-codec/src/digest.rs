//! The two digests of a sealed segment, chained from footer to footer: section 5.2 of `docs/FORMAT.md`.

use crate::error::FrameError;
use crate::frame::{EventRef, Frame, FrameKind};

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

/// Sums a segment's bytes, from the file's start to the end of its last frame.
#[derive(Clone, Debug)]
pub struct ByteDigest(blake3::Hasher);

impl ByteDigest {
    /// Starts from the byte digest of the segment before; all zeroes for segment 0.
    pub fn new(previous: Digest) -> Self {
        Self(chained(previous))
    }

    /// Adds the bytes that follow those added before.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest.
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

/// Sums what a segment says, not how: equal on every machine that holds the same log.
#[derive(Clone, Debug)]
pub struct LogicalDigest(blake3::Hasher);

impl LogicalDigest {
    /// Starts from the logical digest of the segment before; all zeroes for segment 0.
    pub fn new(previous: Digest) -> Self {
        Self(chained(previous))
    }

    /// Adds a frame. Only appends and configurations say what other machines hold too.
    ///
    /// # Errors
    ///
    /// [`FrameError`] where the frame is damaged; the digest is then of no use.
    pub fn update(&mut self, frame: &Frame<'_>) -> Result<(), FrameError> {
        match frame.kind() {
            FrameKind::Append => self.update_append(frame),
            FrameKind::Configuration => {
                if let Some(configuration) = frame.verify()?.fields().configuration {
                    self.0.update(&[ITEM_CONFIGURATION]);
                    self.0.update(&configuration.idempotency_window.to_le_bytes());
                }
                Ok(())
            }
            FrameKind::Link | FrameKind::Watermark | FrameKind::Prepared | FrameKind::Close => Ok(()),
        }
    }

    fn update_append(&mut self, frame: &Frame<'_>) -> Result<(), FrameError> {
        let header = frame.header();
        self.0.update(&[ITEM_APPEND]);
        self.0.update(&header.event_count.to_le_bytes());
        let (mut named, mut texts) = (0u32, Vec::new());
        for index in 0..header.stream_count {
            let stream = frame.stream(index)?;
            if let Some(name) = stream.name {
                named += 1;
                texts.extend_from_slice(stream.id.as_bytes());
                texts.extend_from_slice(&len16(name));
                texts.extend_from_slice(name.as_bytes());
            }
        }
        self.0.update(&named.to_le_bytes());
        self.0.update(&texts);
        for event in frame.events() {
            self.0.update(&event_leaf(&event?).0);
        }
        Ok(())
    }

    /// The digest.
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

/// The leaf of one event in the logical digest.
#[expect(clippy::missing_panics_doc, reason = "a decoded event keeps the limits that make its lengths fit")]
pub fn event_leaf(event: &EventRef<'_>) -> Digest {
    let mut leaf = blake3::Hasher::new();
    leaf.update(&event.global_position.to_le_bytes());
    leaf.update(&event.stream_version.to_le_bytes());
    leaf.update(&event.recorded_at.to_le_bytes());
    leaf.update(event.stream_id.as_bytes());
    leaf.update(event.event_id.as_bytes());
    leaf.update(&len16(event.event_type));
    leaf.update(event.event_type.as_bytes());
    leaf.update(&[u8::try_from(event.tags.len()).expect("an event has at most 64 tags")]);
    for tag in event.tags.iter() {
        leaf.update(&len16(tag));
        leaf.update(tag.as_bytes());
    }
    for bytes in [event.metadata, event.payload] {
        leaf.update(&u32::try_from(bytes.len()).expect("an event has at most 1 MiB").to_le_bytes());
        leaf.update(bytes);
    }
    Digest(*leaf.finalize().as_bytes())
}

fn chained(previous: Digest) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&previous.0);
    hasher
}

fn len16(text: &str) -> [u8; 2] {
    u16::try_from(text.len()).expect("types, tags and names have at most 512 bytes").to_le_bytes()
}
