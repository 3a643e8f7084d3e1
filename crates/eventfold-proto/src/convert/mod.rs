//! The values of `eventfold-store` to and from those of the wire.
//!
//! To the wire, everything has a form. From it, a message may lack a field or hold what is none: [`Malformed`] says which and
//! why. Limits are not checked here; the store's own checks are the one place for that.

#[cfg(feature = "admin")]
mod admin;
mod append;
mod event;
mod failure;
mod malformed;
mod query;

#[cfg(feature = "admin")]
pub use admin::{
    chunk_from_wire, chunk_to_wire, consequence_from_wire, consequence_to_wire, exported_from_wire, exported_to_wire,
    manifest_from_wire, manifest_to_wire, report_from_wire, report_to_wire, sealed_from_wire, sealed_to_wire,
};
pub use append::{append_from_wire, append_to_wire, recorded_from_wire, response_to_wire};
pub use event::{
    EncodedEvents, event_from_wire, events_to_wire, id_from_wire, stream_from_wire, stream_to_wire, uuid_to_wire,
};
pub use failure::{Failed, failure_of};
pub use malformed::Malformed;
pub use query::{info_from_wire, info_to_wire, query_from_wire, query_to_wire};
