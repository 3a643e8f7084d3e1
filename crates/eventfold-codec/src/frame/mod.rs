//! Frames: section 4 of `docs/FORMAT.md`.

mod decode;
mod encode;
mod extension;
mod header;
mod parts;
mod record;
#[cfg(test)]
mod rules;
mod verified;

pub use decode::{Events, Frame};
pub use encode::{FramePlace, StreamSlot, SystemFrame, encode_append, encode_system};
pub use extension::{Configuration, ExtensionArea, ExtensionError, KnownFields, Link, PreparedSegment};
pub use header::{FrameHeader, FrameKind};
pub use parts::read_event_in_parts;
pub use record::{EventRef, StreamEntry, Tags};
pub use verified::{VerifiedEvents, VerifiedFrame};

pub(crate) use extension::PREPARED_FRAME_LEN;
pub(crate) use header::{FRAME_MAGIC, RECORD_ENTRY_LEN};

#[cfg(test)]
pub(crate) mod tables {
    pub(crate) use super::extension::{
        FIELD_CONFIGURATION, FIELD_LINK, FIELD_SUCCESSOR, configuration_field, extension_field, link_field,
        successor_field,
    };
    pub(crate) use super::header::frame_header;
    pub(crate) use super::record::{event_record, record_entry, stream_record};
}
