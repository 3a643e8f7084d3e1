//! The wire of the eventfold event store: the types and services of `proto/eventfold/v1/eventfold.proto`, as Rust.
//!
//! This is for who writes a client or a server of their own. Who only wants to use a store finds `eventfold-client` and
//! `eventfold-server` easier. What the messages mean is said in `docs/PROTOCOL.md`.
//!
//! The code is generated and checked in, so that building needs no `protoc`; a test sees that it is what the definition says.
//! In Rust, the types and tags of events are bytes, which decoding need not copy; the definition calls them strings, so who takes
//! them checks that they are. The events of a page are bytes too, each an encoded [`RecordedEvent`](v1::RecordedEvent), so that
//! they can be encoded and decoded where there is time for it:
//!
//! ```
//! use eventfold_proto::v1;
//! use prost::Message;
//!
//! fn positions(page: v1::ReadResponse) -> Result<Vec<u64>, prost::DecodeError> {
//!     page.events.into_iter().map(|event| Ok(v1::RecordedEvent::decode(event)?.position)).collect()
//! }
//! # assert!(positions(v1::ReadResponse::default()).unwrap().is_empty());
//! ```
//!
//! [`FILE_DESCRIPTOR_SET`] is the definition itself, for reflection.
//!
//! ```
//! use eventfold_proto::v1;
//!
//! let write = v1::StreamEvents {
//!     stream: Some(v1::StreamRef { stream: Some(v1::stream_ref::Stream::Name("account-7".to_owned())) }),
//!     events: vec![v1::ProposedEvent { r#type: "Opened".into(), payload: "{}".into(), ..Default::default() }],
//! };
//! let request = v1::AppendRequest { conditions: Vec::new(), writes: vec![write] };
//! assert_eq!(request.writes.len(), 1);
//! ```
//!
//! # Features
//!
//! | feature | on by default | what it adds |
//! |---|---|---|
//! | `convert` | | the values of `eventfold-store` to and from those of the wire |
//! | `admin` | | those of `eventfold-backup` too |

#[doc(hidden)]
pub mod codec;
#[cfg(feature = "convert")]
pub mod convert;

/// Version 1 of the wire.
#[rustfmt::skip]
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
#[path = "generated/eventfold.v1.rs"]
pub mod v1;

/// The definition of [`v1`], as a serialized `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/eventfold.v1.bin");
