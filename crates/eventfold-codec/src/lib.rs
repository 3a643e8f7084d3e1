//! The bytes of the eventfold event store: events, frames, checksums, segment headers and footers, and what the end of a
//! log means.
//!
//! This layer is pure: bytes in, values out. It opens no file, reads no clock, starts no thread and draws no random
//! number; who uses it brings bytes, times, ids and salts. The store, and any other tool that reads or writes eventfold's
//! files, stands on it. It is not an event store: for that, see the layers above.
//!
//! The format is written down byte by byte in `docs/FORMAT.md`, which this crate implements.
//!
//! # Example
//!
//! An append is checked once, encoded into a buffer, and decoded without copying:
//!
//! ```
//! use eventfold_codec::{
//!     ExtensionArea, Frame, FramePlace, ProposedAppend, ProposedEvent, SegmentKey, StreamSlot, encode_append,
//! };
//! use uuid::Uuid;
//!
//! let key = SegmentKey::new(0x0123_4567_89AB_CDEF); // from the segment's salt
//! let append = ProposedAppend::new()
//!     .events("account-7", vec![ProposedEvent::new("Deposited", r#"{"cents":500}"#)])
//!     .check(|| Uuid::from_u128(1))?;
//!
//! let place = FramePlace { offset: 8288, incarnation: 1, durable_through: 8288, first_position: 0, recorded_at: 0 };
//! let slots = [StreamSlot { first_version: 0, with_name: true }];
//! let mut bytes = Vec::new();
//! encode_append(&append, &slots, &key, &place, &ExtensionArea::default(), &mut bytes);
//!
//! let frame = Frame::open(&bytes, &key, 8288)?;
//! let event = frame.event(0)?;
//! assert_eq!(event.event_type, "Deposited");
//! assert_eq!(frame.stream(0)?.name, Some("account-7"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A whole segment
//!
//! A file starts with its [header](SegmentHeader), then the link frame, then a frame for each append, then zeroes up to its
//! [capacity](SegmentHeader::capacity) at the least. [`recovery`] reads it back and says how the log ends. The example `tour`
//! goes on from here and breaks it.
//!
//! ```
//! use eventfold_codec::recovery::{Progress, SegmentEnd, SegmentInfo, SegmentScan, TailEnd, decide};
//! use eventfold_codec::{Configuration, FramePlace, SegmentHeader, SystemFrame, encode_system};
//! use uuid::Uuid;
//!
//! let header = SegmentHeader::new(Uuid::from_u128(1), 0, 0x0123_4567_89AB_CDEF);
//! let mut file = Vec::new();
//! header.encode(&mut file);
//! let offset = file.len() as u64;
//! let place = FramePlace { offset, incarnation: 1, durable_through: offset, first_position: 0, recorded_at: 0 };
//! let settings = Configuration { idempotency_window: header.idempotency_window };
//! encode_system(SystemFrame::Link(SegmentEnd::GENESIS.link(), settings), &header.key(), &place, &mut file);
//! // … appends, each at `file.len()` …
//! file.resize(usize::try_from(header.capacity())?, 0);
//!
//! let mut scan = SegmentScan::new(SegmentInfo::new(&header, file.len() as u64), SegmentEnd::GENESIS, None);
//! while let Progress::Frame(frame) = scan.step(0, &file)? {
//!     println!("{:?} at offset {}", frame.frame().kind(), frame.frame().offset());
//! }
//! let recovery = decide(&[scan.finish()], false)?;
//! assert_eq!(recovery.end, TailEnd::Unproven); // nothing was closed, and nothing vouches for the last group
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod append;
mod checksum;
mod digest;
#[cfg(all(test, not(miri)))] // parses prose: minutes under Miri, and nothing for it to find
mod document;
mod error;
mod event;
mod footer;
mod frame;
#[cfg(feature = "serde")]
mod json;
mod layout;
mod limits;
pub mod recovery;
mod segment;
mod stream;
mod text;

pub use append::{AppendStream, InvalidAppend, ProposedAppend, ValidAppend};
pub use checksum::{ChecksumMismatch, SegmentKey, crc32c};
pub use digest::{ByteDigest, Digest, LogicalDigest, event_leaf};
pub use error::{FrameError, Rule, Unsupported};
pub use event::{ExpectedVersion, ProposedEvent, RecordedEvent};
pub use footer::{
    FOOTER_ALIGN, FOOTER_HEADER_LEN, FOOTER_VERSION, FooterError, FooterHeader, MAX_FOOTER_LEN, MAX_SECTIONS,
    SECTION_ENTRY_LEN, Section, SectionEntry, SegmentSummary, TRAILER_LEN, Trailer, encode_footer,
};
pub use frame::{
    Configuration, EventRef, Events, ExtensionArea, ExtensionError, Frame, FrameHeader, FrameKind, FramePlace,
    KnownFields, Link, PreparedSegment, StreamEntry, StreamSlot, SystemFrame, Tags, VerifiedEvents, VerifiedFrame,
    encode_append, encode_system, read_event_in_parts,
};
pub use limits::*;
pub use segment::{
    HeaderCopies, HeaderCopyError, SegmentHeader, SegmentHeaderError, is_segment_size, segment_capacity,
};
pub use stream::{InvalidStreamName, NO_STREAM, ResolvedStream, STREAM_NAMESPACE, StreamName, StreamRef};
pub use text::{EventType, Tag};
