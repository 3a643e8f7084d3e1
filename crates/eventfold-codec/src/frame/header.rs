//! The frame header: 64 bytes that say what a frame is, where it belongs and what was safe before it.

use crate::checksum::{self, SegmentKey};
use crate::error::{FrameError, Rule, Unsupported};
use crate::layout::layout;
use crate::limits::{
    FIRST_FRAME_OFFSET, FRAME_ALIGN, FRAME_HEADER_LEN, MAX_EVENTS_PER_APPEND, MAX_EXTENSION_LEN, MAX_FRAME_LEN,
    MAX_SEGMENT_LEN,
};

layout! {
    /// Table "frame header".
    frame_header, 64 bytes {
        MAGIC: 4,
        KIND: 1,
        RESERVED_A: 1,
        FLAGS: 2,
        FRAME_LEN: 4,
        EXT_LEN: 2,
        RESERVED_B: 2,
        FIRST_POSITION: 8,
        RECORDED_AT: 8,
        DURABLE_THROUGH: 8,
        INCARNATION: 4,
        STREAM_COUNT: 4,
        EVENT_COUNT: 4,
        PLACE_TAG: 4,
        BODY_CHECKSUM: 4,
        HEADER_CHECKSUM: 4,
    }
}

const _: () = assert!(frame_header::SIZE == FRAME_HEADER_LEN);

/// The four bytes every frame starts with.
pub(crate) const FRAME_MAGIC: [u8; 4] = [0xEF, b'F', b'R', 0x1A];

/// Bytes of one entry of the record table.
pub(crate) const RECORD_ENTRY_LEN: usize = 8;

/// Flag bit 0: the extension area holds a required field.
pub(crate) const FLAG_REQUIRED_EXTENSION: u16 = 1;

/// Bits 0 to 7 are required.
const REQUIRED_FLAGS: u16 = 0x00FF;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameKind {
    /// One append.
    Append,
    /// First frame of a segment: names the segment before.
    Link,
    /// All below its `durable_through` is synced.
    Watermark,
    /// A deterministic setting changes.
    Configuration,
    /// The next segment's file stands, with its header: a log must not be without it from here on.
    Prepared,
    /// The writer ended cleanly.
    Close,
}

impl FrameKind {
    /// The kind's number in the format.
    pub const fn number(self) -> u8 {
        match self {
            Self::Append => 1,
            Self::Link => 2,
            Self::Watermark => 3,
            Self::Configuration => 4,
            Self::Close => 8,
            Self::Prepared => 9,
        }
    }

    /// The kind with this number.
    ///
    /// # Errors
    ///
    /// [`Unsupported::FrameKind`], with the name of a reserved kind.
    pub const fn from_number(kind: u8) -> Result<Self, Unsupported> {
        let name = match kind {
            1 => return Ok(Self::Append),
            2 => return Ok(Self::Link),
            3 => return Ok(Self::Watermark),
            4 => return Ok(Self::Configuration),
            8 => return Ok(Self::Close),
            9 => return Ok(Self::Prepared),
            5 => "truncation",
            6 => "carry-forward",
            7 => "eviction",
            _ => "unknown",
        };
        Err(Unsupported::FrameKind { kind, name })
    }
}

/// A frame's header.
///
/// One that was read has a checksum that is right for its place; [`check`](Self::check) says whether its fields make
/// sense too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The kind's number; see [`FrameKind`].
    pub kind: u8,
    /// Required flags in bits 0 to 7, optional ones above.
    pub flags: u16,
    /// Length of the whole frame.
    pub frame_len: u32,
    /// Length of the extension area.
    pub ext_len: u16,
    /// Position of the frame's first event, or the next position of the log where it has none.
    pub first_position: u64,
    /// Unix milliseconds, informative only.
    pub recorded_at: u64,
    /// Every byte of the segment below this offset was synced before the frame's group was written.
    pub durable_through: u64,
    /// Which writable open of the store wrote the frame.
    pub incarnation: u32,
    /// Number of stream records.
    pub stream_count: u32,
    /// Number of event records.
    pub event_count: u32,
    /// Checksum of the extension area and the record table.
    pub body_checksum: u32,
    /// Checksum of the header itself; it stands for the whole frame.
    pub checksum: u32,
}

impl FrameHeader {
    /// Reads the header that starts `bytes`, for a frame at `offset`, and verifies its checksum: nothing else is
    /// looked at. Reserved bytes that are not zero are reported by this, as they are not kept.
    ///
    /// # Errors
    ///
    /// [`FrameError::Truncated`], [`FrameError::NoMagic`], [`FrameError::Misplaced`], [`FrameError::HeaderChecksum`],
    /// or, where reserved bytes are not zero, [`FrameError::Unsupported`] or [`FrameError::Malformed`].
    #[inline]
    pub fn read(bytes: &[u8], key: &SegmentKey, offset: u64) -> Result<Self, FrameError> {
        let header = Self::read_valid(bytes, key, offset)?;
        if frame_header::RESERVED_A.get_u8(bytes) != 0 || frame_header::RESERVED_B.get_u16(bytes) != 0 {
            // A newer version may use them, and says so in its kind or its flags.
            header.supported()?;
            return Err(FrameError::Malformed(Rule::Reserved));
        }
        Ok(header)
    }

    /// Reads a header whose magic and checksum are right, even if its reserved bytes are not zero: what the format calls
    /// valid. Recovery takes what it says of synced bytes as proof, whoever wrote it.
    #[inline]
    pub(crate) fn read_valid(bytes: &[u8], key: &SegmentKey, offset: u64) -> Result<Self, FrameError> {
        let Some(bytes) = bytes.first_chunk::<FRAME_HEADER_LEN>() else {
            return Err(FrameError::Truncated { needed: FRAME_HEADER_LEN as u64, available: bytes.len() as u64 });
        };
        if frame_header::MAGIC.get(bytes) != FRAME_MAGIC {
            return Err(FrameError::NoMagic);
        }
        checksum::compare(frame_header::PLACE_TAG.get_u32(bytes), key.place_tag(offset))
            .map_err(FrameError::Misplaced)?;
        let checksum = frame_header::HEADER_CHECKSUM.get_u32(bytes);
        checksum::compare(checksum, key.frame_header(offset, &bytes[..frame_header::HEADER_CHECKSUM.offset]))
            .map_err(FrameError::HeaderChecksum)?;
        Ok(Self {
            kind: frame_header::KIND.get_u8(bytes),
            flags: frame_header::FLAGS.get_u16(bytes),
            frame_len: frame_header::FRAME_LEN.get_u32(bytes),
            ext_len: frame_header::EXT_LEN.get_u16(bytes),
            first_position: frame_header::FIRST_POSITION.get_u64(bytes),
            recorded_at: frame_header::RECORDED_AT.get_u64(bytes),
            durable_through: frame_header::DURABLE_THROUGH.get_u64(bytes),
            incarnation: frame_header::INCARNATION.get_u32(bytes),
            stream_count: frame_header::STREAM_COUNT.get_u32(bytes),
            event_count: frame_header::EVENT_COUNT.get_u32(bytes),
            body_checksum: frame_header::BODY_CHECKSUM.get_u32(bytes),
            checksum,
        })
    }

    /// Writes the header's fields into the start of `bytes`, all but the checksums.
    #[inline]
    pub(crate) fn write(&self, bytes: &mut [u8], key: &SegmentKey, offset: u64) {
        let bytes = &mut bytes[..FRAME_HEADER_LEN];
        frame_header::MAGIC.set(bytes, FRAME_MAGIC);
        frame_header::KIND.set_u8(bytes, self.kind);
        frame_header::RESERVED_A.set_u8(bytes, 0);
        frame_header::FLAGS.set_u16(bytes, self.flags);
        frame_header::FRAME_LEN.set_u32(bytes, self.frame_len);
        frame_header::EXT_LEN.set_u16(bytes, self.ext_len);
        frame_header::RESERVED_B.set_u16(bytes, 0);
        frame_header::FIRST_POSITION.set_u64(bytes, self.first_position);
        frame_header::RECORDED_AT.set_u64(bytes, self.recorded_at);
        frame_header::DURABLE_THROUGH.set_u64(bytes, self.durable_through);
        frame_header::INCARNATION.set_u32(bytes, self.incarnation);
        frame_header::STREAM_COUNT.set_u32(bytes, self.stream_count);
        frame_header::EVENT_COUNT.set_u32(bytes, self.event_count);
        frame_header::PLACE_TAG.set_u32(bytes, key.place_tag(offset));
    }

    /// Sums `body`, the extension area and the record table, and then the header that [`write`](Self::write) wrote into
    /// `bytes`. Writes both checksums there, and gives the header that has them.
    #[inline]
    pub(crate) fn seal(&self, bytes: &mut [u8], key: &SegmentKey, offset: u64, body: &[u8]) -> Self {
        let bytes = &mut bytes[..FRAME_HEADER_LEN];
        let body_checksum = key.frame_body(offset, self.incarnation, body);
        frame_header::BODY_CHECKSUM.set_u32(bytes, body_checksum);
        let checksum = key.frame_header(offset, &bytes[..frame_header::HEADER_CHECKSUM.offset]);
        frame_header::HEADER_CHECKSUM.set_u32(bytes, checksum);
        Self { body_checksum, checksum, ..*self }
    }

    /// Checks every field against the format, for a frame at `offset`, before any length in it is used.
    ///
    /// # Errors
    ///
    /// [`FrameError::Unsupported`] for kinds and required flags of a newer version, [`FrameError::Malformed`] for a
    /// broken rule.
    #[inline]
    pub fn check(&self, offset: u64) -> Result<FrameKind, FrameError> {
        let kind = self.supported()?;
        let rule = if !self.lengths_fit(offset) {
            Rule::Lengths
        } else if self.first_position.checked_add(u64::from(self.event_count)).is_none() {
            Rule::Overflow
        } else if !self.durable_through.is_multiple_of(FRAME_ALIGN)
            || self.durable_through < FIRST_FRAME_OFFSET
            || self.durable_through > offset
        {
            Rule::DurableThrough
        } else if self.incarnation == 0 {
            Rule::Incarnation
        } else if (kind == FrameKind::Append) != (self.event_count > 0)
            || (self.stream_count > 0) != (self.event_count > 0)
            || self.stream_count > self.event_count
        {
            Rule::Kind
        } else {
            return Ok(kind);
        };
        Err(FrameError::Malformed(rule))
    }

    /// The kind, if this version knows it and every required flag.
    fn supported(&self) -> Result<FrameKind, Unsupported> {
        let kind = FrameKind::from_number(self.kind)?;
        match self.flags & REQUIRED_FLAGS & !FLAG_REQUIRED_EXTENSION {
            0 => Ok(kind),
            unknown => Err(Unsupported::FrameFlags { bits: unknown.to_le_bytes()[0] }),
        }
    }

    fn lengths_fit(&self, offset: u64) -> bool {
        let frame_len = self.frame_len as usize;
        let counts_fit =
            self.stream_count as usize <= MAX_EVENTS_PER_APPEND && self.event_count as usize <= MAX_EVENTS_PER_APPEND;
        counts_fit
            && frame_len.is_multiple_of(8)
            && (FRAME_HEADER_LEN..=MAX_FRAME_LEN).contains(&frame_len)
            && self.ext_len.is_multiple_of(8)
            && usize::from(self.ext_len) <= MAX_EXTENSION_LEN
            && self.records_start() <= frame_len
            && offset.saturating_add(u64::from(self.frame_len)) <= MAX_SEGMENT_LEN
    }

    /// The log's next position after this frame.
    ///
    /// Saturates where [`check`](Self::check) would refuse the header.
    pub fn end_position(&self) -> u64 {
        self.first_position.saturating_add(u64::from(self.event_count))
    }

    /// Where the record table starts, from the frame's start.
    pub fn table_start(&self) -> usize {
        FRAME_HEADER_LEN + usize::from(self.ext_len)
    }

    /// Where the first record starts, from the frame's start.
    pub fn records_start(&self) -> usize {
        self.table_start() + RECORD_ENTRY_LEN * (self.stream_count as usize + self.event_count as usize)
    }
}
