//! What can be wrong with bytes.

use crate::checksum::ChecksumMismatch;

/// A feature that only a newer version of the format has. The bytes are sound; this reader must not touch them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// A segment of a newer format version.
    #[error("format version {found} is newer than {supported}, the newest this version reads")]
    FormatVersion {
        /// The version the segment names.
        found: u32,
        /// The newest version this crate reads.
        supported: u32,
    },
    /// A footer of a newer version.
    #[error("footer version {found} is newer than {supported}, the newest this version reads")]
    FooterVersion {
        /// The version the footer names.
        found: u32,
        /// The newest version this crate reads.
        supported: u32,
    },
    /// Required flags of a segment header that this version does not know.
    #[error("segment header has the unknown required flags {bits:#010x}")]
    SegmentFlags {
        /// The unknown bits.
        bits: u32,
    },
    /// A kind of frame that this version does not know.
    #[error("frame kind {kind} ({name}) is not supported")]
    FrameKind {
        /// The kind's number.
        kind: u8,
        /// Its name, where the format reserves one; else `unknown`.
        name: &'static str,
    },
    /// Required flags of a frame that this version does not know.
    #[error("frame has the unknown required flags {bits:#04x}")]
    FrameFlags {
        /// The unknown bits.
        bits: u8,
    },
    /// A required extension field that this version does not know.
    #[error("frame has the unknown required extension field {field_type:#06x}")]
    ExtensionField {
        /// The field's type.
        field_type: u16,
    },
    /// Required flags of one event that this version does not know.
    #[error("event {index} of its frame has the unsupported required flags {bits:#04x}")]
    EventFlags {
        /// The event's index in its frame.
        index: u32,
        /// The unsupported bits.
        bits: u8,
    },
    /// Flags of a footer section that this version does not know.
    #[error("footer has a section with the unknown flags {bits:#06x}")]
    SectionFlags {
        /// The unknown bits.
        bits: u16,
    },
    /// A required footer section that this version does not know.
    #[error("footer has the unknown required section {kind}")]
    FooterSection {
        /// The section's kind.
        kind: u16,
    },
}

/// Why some bytes are not the frame they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The bytes end before the frame does.
    #[error("frame needs {needed} bytes and {available} are there")]
    Truncated {
        /// How many bytes the frame, or the part that was looked at, takes.
        needed: u64,
        /// How many there are.
        available: u64,
    },
    /// No frame starts here.
    #[error("no frame starts here")]
    NoMagic,
    /// The header was written for another place, or is damaged.
    #[error("the frame was written for another offset or segment, or is damaged (place tag: {0})")]
    Misplaced(ChecksumMismatch),
    /// The header is damaged.
    #[error("frame header checksum: {0}")]
    HeaderChecksum(ChecksumMismatch),
    /// The extension area or the record table is damaged.
    #[error("frame table checksum: {0}")]
    BodyChecksum(ChecksumMismatch),
    /// One record is damaged.
    #[error("checksum of record {index}: {mismatch}")]
    RecordChecksum {
        /// The record's index: stream records first, then event records.
        index: u32,
        /// What was expected and found.
        mismatch: ChecksumMismatch,
    },
    /// The checksums are right and a rule of the format is broken all the same.
    #[error("frame breaks a rule of the format: {0}")]
    Malformed(Rule),
    /// The frame has no such stream or event.
    #[error("the frame has no record {index}")]
    NoSuchRecord {
        /// The index that was asked for.
        index: u32,
    },
    /// A feature of a newer version.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

/// A rule of the format that sound bytes can still break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// Reserved bytes are not zero.
    #[error("reserved bytes must be zero")]
    Reserved,
    /// Lengths contradict each other or exceed their caps.
    #[error("lengths must fit each other and their limits")]
    Lengths,
    /// Padding is not zero.
    #[error("padding must be zero")]
    Padding,
    /// `durable_through` is not an offset that can have been synced before.
    #[error("durable_through must lie between the first frame and the frame itself")]
    DurableThrough,
    /// Incarnations start at 1.
    #[error("incarnation must not be zero")]
    Incarnation,
    /// Positions or versions would overflow.
    #[error("positions and versions must not overflow")]
    Overflow,
    /// A kind with streams, events or fields it can't have, or without those it must.
    #[error("streams, events and extension fields must be those of the frame's kind")]
    Kind,
    /// The extension area is not a run of ascending fields.
    #[error("extension fields must ascend and fill their area")]
    Extension,
    /// Record ends don't ascend within the frame.
    #[error("record ends must ascend within the frame")]
    RecordEnds,
    /// Stream records contradict the events.
    #[error("stream records must be distinct and agree with the events")]
    Streams,
    /// A stream's name is not one, or not that of its id.
    #[error("a stream's name must be valid and give its id")]
    StreamName,
    /// An event's parts don't fill its record, or exceed their limits.
    #[error("an event's parts must fill its record and keep their limits")]
    Event,
    /// Text is not UTF-8.
    #[error("types, tags and names must be UTF-8")]
    Utf8,
    /// Two equal tags.
    #[error("an event's tags must differ")]
    DuplicateTag,
}
