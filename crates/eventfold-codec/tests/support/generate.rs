//! Generators of valid appends and of whole segments.

use std::collections::BTreeSet;

use eventfold_codec::{
    Configuration, MAX_EVENT_TYPE_LEN, MAX_STREAM_NAME_LEN, MAX_TAG_LEN, ProposedAppend, ProposedEvent, StreamRef,
    SystemFrame,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::image::Image;
use super::valid;

/// Text of 1 to `max` bytes, most of it short, some at the very limit.
fn text(max: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-z]{1,12}",
        2 => "\\PC{1,20}".prop_filter("must fit", move |text| text.len() <= max),
        1 => (max - 1..=max).prop_map(|len| "x".repeat(len)),
    ]
}

fn stream() -> impl Strategy<Value = StreamRef> {
    prop_oneof![
        4 => "[a-c]".prop_map(StreamRef::from),
        2 => (0..4u128).prop_map(|id| StreamRef::from(Uuid::from_u128(id))),
        1 => text(MAX_STREAM_NAME_LEN)
            .prop_filter("not the system's", |name| !name.starts_with('$'))
            .prop_map(StreamRef::from),
    ]
}

/// Bytes, zeroes among them: what follows them is zero too.
fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..max),
        1 => (0..max).prop_map(|len| vec![0; len]),
    ]
}

pub(crate) fn event() -> impl Strategy<Value = ProposedEvent> {
    let tags = prop_oneof![
        6 => prop::collection::btree_set(text(MAX_TAG_LEN), 0..4),
        1 => (60..=64u32).prop_map(|count| (0..count).map(|tag| format!("tag:{tag}")).collect::<BTreeSet<_>>()),
    ];
    (text(MAX_EVENT_TYPE_LEN), tags, bytes(60), bytes(300), prop::option::of(any::<u128>())).prop_map(
        |(event_type, tags, metadata, payload, id)| {
            let event = ProposedEvent::new(event_type, payload).with_metadata(metadata).with_tags(tags);
            match id {
                Some(id) => event.with_id(Uuid::from_u128(id)),
                None => event,
            }
        },
    )
}

/// A valid append of up to `max` events, in runs to a few streams that come back.
pub(crate) fn append(max: usize) -> impl Strategy<Value = ProposedAppend> {
    prop::collection::vec((stream(), event()), 1..=max).prop_map(|events| {
        events.into_iter().fold(ProposedAppend::new(), |append, (stream, event)| append.events(stream, vec![event]))
    })
}

/// What a writer does next.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Append(ProposedAppend),
    /// The group is synced; the next frame starts another.
    Sync,
    /// A watermark; whether it is synced shows in what the next group says.
    Watermark,
    Configure(u32),
    /// A clean close and another open.
    Close,
    /// A kill and another open, which announces itself.
    Reopen,
}

pub(crate) fn ops(max: usize) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => append(3).prop_map(Op::Append),
        4 => Just(Op::Sync),
        1 => Just(Op::Watermark),
        1 => (0..100u32).prop_map(Op::Configure),
        1 => Just(Op::Close),
        1 => Just(Op::Reopen),
    ];
    prop::collection::vec(op, 0..max)
}

/// Another incarnation announces itself.
fn reopen(image: &mut Image) {
    image.next_group();
    image.incarnation += 1;
    image.system(SystemFrame::Watermark);
    image.next_group();
}

/// The segment a writer leaves that did these.
pub(crate) fn build(mut image: Image, ops: Vec<Op>) -> Image {
    for op in ops {
        match op {
            Op::Append(append) => {
                image.append(&valid(append));
            }
            Op::Sync => image.next_group(),
            Op::Watermark => {
                image.next_group();
                image.system(SystemFrame::Watermark);
            }
            Op::Configure(idempotency_window) => {
                image.system(SystemFrame::Configuration(Configuration { idempotency_window }));
            }
            Op::Close => {
                image.next_group();
                image.system(SystemFrame::Close);
                image.next_group();
                reopen(&mut image);
            }
            Op::Reopen => reopen(&mut image),
        }
    }
    image
}

/// The first segment of a log, with what a few operations leave.
pub(crate) fn image(max_ops: usize) -> impl Strategy<Value = Image> {
    (any::<u64>(), ops(max_ops)).prop_map(|(salt, ops)| build(Image::first(salt), ops))
}
