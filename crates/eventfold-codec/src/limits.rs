//! The format's limits. All stand in `docs/FORMAT.md`; a test compares.

/// The version of the on-disk format this crate writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Bytes of one copy of the segment header.
pub const HEADER_BLOCK_LEN: usize = 4096;

/// Where the first frame of every segment stands: behind the two copies of the header.
pub const FIRST_FRAME_OFFSET: u64 = 8192;

/// Every frame starts, and ends, at a multiple of this.
pub const FRAME_ALIGN: u64 = 8;

/// Zeroes that follow the last frame of a segment that is not sealed: a shorter file has lost its end.
pub const TAIL_ZEROES_LEN: u64 = 4096;

/// No frame ends past this offset, so that an offset divided by [`FRAME_ALIGN`] fits the 32 bits of a checksum's seed.
pub const MAX_SEGMENT_LEN: u64 = 1 << 35;

/// The smallest segment size a store can be configured to; tests use it to cross many borders.
pub const MIN_SEGMENT_SIZE: u64 = 64 << 10;

/// The segment size where none is configured.
pub const DEFAULT_SEGMENT_SIZE: u64 = 256 << 20;

/// The largest segment size a store can be configured to. An append may still enlarge a segment past it.
pub const MAX_SEGMENT_SIZE: u64 = 16 << 30;

/// Capacity of segment 0, so that a small store is a small file.
pub const FIRST_CAPACITY: u64 = 1 << 20;

/// The most appends the duplicate window can be configured to hold.
pub const MAX_IDEMPOTENCY_WINDOW: u32 = 1 << 24;

/// Appends in the duplicate window where none is configured: about 32 MiB when full.
pub const DEFAULT_IDEMPOTENCY_WINDOW: u32 = 1 << 20;

/// Bytes of a frame's header.
pub const FRAME_HEADER_LEN: usize = 64;

/// Bytes of a stream record without the name.
pub const STREAM_RECORD_LEN: usize = 28;

/// Bytes of an event record without the contents.
pub const EVENT_RECORD_LEN: usize = 32;

/// The largest extension area of a frame.
pub const MAX_EXTENSION_LEN: usize = 4096;

/// The most events one append can hold.
pub const MAX_EVENTS_PER_APPEND: usize = 65_536;

/// The largest event: type, tags, metadata and payload together.
pub const MAX_EVENT_SIZE: usize = 1 << 20;

/// The largest append: all its events. Stream names don't count: which of them a frame holds is not the caller's choice.
pub const MAX_APPEND_SIZE: usize = 16 << 20;

/// The longest event type, in bytes.
pub const MAX_EVENT_TYPE_LEN: usize = 256;

/// The most tags one event can have.
pub const MAX_TAGS: usize = 64;

/// The longest tag, in bytes.
pub const MAX_TAG_LEN: usize = 256;

/// The longest stream name, in bytes.
pub const MAX_STREAM_NAME_LEN: usize = 512;

/// No frame is longer: every limit of an append reached at once, with the largest extension area.
///
/// A tag adds two bytes for its length to the at least one byte that counts towards the append's size, and an append
/// can't have more tags than [`MAX_TAGS`] an event.
pub const MAX_FRAME_LEN: usize = FRAME_HEADER_LEN
    + MAX_EXTENSION_LEN
    + MAX_EVENTS_PER_APPEND * (2 * 8 + STREAM_RECORD_LEN + MAX_STREAM_NAME_LEN + EVENT_RECORD_LEN + 2 * MAX_TAGS)
    + MAX_APPEND_SIZE;

const _: () = assert!(MAX_FRAME_LEN.is_multiple_of(8) && MAX_FRAME_LEN < u32::MAX as usize);
const _: () = assert!(FIRST_FRAME_OFFSET == 2 * HEADER_BLOCK_LEN as u64);
const _: () = assert!(MAX_SEGMENT_SIZE + MAX_FRAME_LEN as u64 + TAIL_ZEROES_LEN <= MAX_SEGMENT_LEN);
