//! What goes to the wire comes back as it was, and what comes from it is a value or says what is wrong.

#![cfg(feature = "convert")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventfold_proto::convert::{
    Failed, Malformed, append_from_wire, append_to_wire, event_from_wire, events_to_wire, failure_of, info_from_wire,
    info_to_wire, query_from_wire, query_to_wire, recorded_from_wire, response_to_wire, stream_from_wire,
    stream_to_wire,
};
use eventfold_proto::v1;
use eventfold_store::{
    Append, Error, ErrorKind, EventType, ExpectedVersion, FailedCondition, FrameError, IoError, Operation, Poison,
    ProposedEvent, Query, QueryItem, ReadError, RecordedEvent, StreamInfo, StreamName, StreamRef, Tag, Uuid,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use tonic::{Code, Status};

// ---- Values: valid ones and such that the store refuses, since that is for the store to say. ----

fn id() -> impl Strategy<Value = Uuid> {
    prop_oneof![4 => any::<u128>().prop_map(Uuid::from_u128), 1 => Just(Uuid::nil()), 1 => Just(Uuid::max())]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![8 => "\\PC{0,12}", 1 => Just(String::new()), 1 => Just("x".repeat(700))]
}

/// What stands for a stream, and what it is once it was on the wire: there a UUID is its bytes, however it was given.
fn stream() -> impl Strategy<Value = StreamRef> {
    prop_oneof![
        id().prop_map(StreamRef::from),
        id().prop_map(|id| StreamRef::from(id.to_string().to_uppercase())),
        text().prop_map(StreamRef::from),
        name().prop_map(StreamRef::from),
    ]
}

fn name() -> impl Strategy<Value = StreamName> {
    "[a-z$-]{1,12}".prop_map(|name| StreamName::new(&name).unwrap())
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn proposed() -> impl Strategy<Value = ProposedEvent> {
    let parts = (option::of(id()), text(), vec(text(), 0..4), bytes(), bytes());
    parts.prop_map(|(event_id, event_type, tags, metadata, payload)| ProposedEvent {
        event_id,
        event_type: event_type.into(),
        tags: tags.into_iter().map(Tag::from).collect(),
        metadata,
        payload,
    })
}

fn recorded() -> impl Strategy<Value = RecordedEvent> {
    let places = (id(), any::<[u64; 3]>());
    (proposed(), id(), places).prop_map(|(event, event_id, (stream_id, [version, position, time]))| RecordedEvent {
        event_id,
        stream_id,
        stream_version: version,
        global_position: position,
        recorded_at: time,
        event_type: event.event_type,
        tags: event.tags,
        metadata: event.metadata,
        payload: event.payload,
    })
}

fn item() -> impl Strategy<Value = QueryItem> {
    let parts = (vec(text(), 0..3), vec(text(), 0..3), option::of(stream()), option::of(text()));
    parts.prop_map(|(types, tags, stream, stream_prefix)| QueryItem {
        types: types.into_iter().map(EventType::from).collect(),
        tags: tags.into_iter().map(Tag::from).collect(),
        stream,
        stream_prefix,
    })
}

fn query() -> impl Strategy<Value = Query> {
    (any::<bool>(), vec(item(), 0..4)).prop_map(|(all, items)| Query { all, items })
}

fn expected() -> impl Strategy<Value = ExpectedVersion> {
    prop_oneof![
        Just(ExpectedVersion::Any),
        Just(ExpectedVersion::NoStream),
        Just(ExpectedVersion::Exists),
        any::<u64>().prop_map(ExpectedVersion::Exact),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Expect(StreamRef, ExpectedVersion),
    NoMatch(Query, Option<u64>),
    Events(StreamRef, Vec<ProposedEvent>),
}

fn append() -> impl Strategy<Value = Append> {
    let step = prop_oneof![
        (stream(), expected()).prop_map(|(stream, expected)| Step::Expect(stream, expected)),
        (query(), option::of(any::<u64>())).prop_map(|(query, after)| Step::NoMatch(query, after)),
        (stream(), vec(proposed(), 0..4)).prop_map(|(stream, events)| Step::Events(stream, events)),
    ];
    vec(step, 0..6).prop_map(|steps| {
        steps.into_iter().fold(Append::new(), |append, step| match step {
            Step::Expect(stream, expected) => append.expect(stream, expected),
            Step::NoMatch(query, after) => append.no_match(query, after),
            Step::Events(stream, events) => append.events(stream, events),
        })
    })
}

/// A stream as it means the same on both sides: an id, or the text that it was given as.
fn meaning(stream: &StreamRef) -> Result<Uuid, String> {
    stream.resolve().map(|resolved| resolved.id).map_err(|_| stream.to_string())
}

fn meaning_of_query(query: &Query) -> Query {
    let mut query = query.clone();
    for item in &mut query.items {
        item.stream = item.stream.take().map(|stream| stream_from_wire(Some(stream_to_wire(&stream)), "").unwrap());
    }
    query
}

/// Over the wire: as bytes, not only as messages.
fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

proptest! {
    #[test]
    fn a_stream_means_the_same(stream in stream()) {
        let back = stream_from_wire(Some(sent(&stream_to_wire(&stream))), "stream").unwrap();
        prop_assert_eq!(meaning(&back), meaning(&stream));
        prop_assert_eq!(back.resolve().ok(), stream.resolve().ok());
    }

    #[test]
    fn a_query_is_the_same(query in query()) {
        let back = query_from_wire(Some(sent(&query_to_wire(&query))), "query").unwrap();
        prop_assert_eq!(back.check(), query.check());
        prop_assert_eq!(back, meaning_of_query(&query));
    }

    #[test]
    fn an_append_is_the_same(append in append()) {
        let wire = append_to_wire(&append);
        let back = append_from_wire(sent(&wire)).unwrap();
        prop_assert_eq!(append_to_wire(&back), wire);
        prop_assert_eq!(back.conditions().len(), append.conditions().len());
        for ((stream, events), (same_stream, same_events)) in back.runs().zip(append.runs()) {
            prop_assert_eq!(meaning(stream), meaning(same_stream));
            prop_assert_eq!(events, same_events);
        }
        prop_assert_eq!(format!("{:?}", back.validate()), format!("{:?}", append.validate()));
    }

    #[test]
    fn an_event_is_the_same(event in recorded()) {
        let [encoded] = events_to_wire(std::slice::from_ref(&event)).try_into().unwrap();
        // Written here by hand, and by what was generated from the definition: the same bytes.
        let message = v1::RecordedEvent::decode(encoded.clone()).unwrap();
        prop_assert_eq!(Bytes::from(message.encode_to_vec()), encoded.clone());
        prop_assert_eq!(event_from_wire(encoded).unwrap(), event);
    }

    #[test]
    fn many_events_are_told_apart(events in vec(recorded(), 0..8)) {
        let back: Result<Vec<_>, _> = events_to_wire(&events).into_iter().map(event_from_wire).collect();
        prop_assert_eq!(back.unwrap(), events);
    }

    #[test]
    fn what_is_known_of_a_stream_is_the_same(id in id(), name in option::of(name()), version in any::<u64>()) {
        let info = StreamInfo::new(id, name, version);
        prop_assert_eq!(info_from_wire(sent(&info_to_wire(&info))).unwrap(), info);
    }

    /// What is answered to an append is what was recorded, whichever ids were made up.
    #[test]
    fn an_append_is_answered_as_it_was_recorded(append in append(), first in 0..u64::MAX / 2, ids in vec(id(), 24)) {
        let mut ids = ids.into_iter();
        let mut recorded = Vec::new();
        for (stream, events) in append.runs() {
            for (version, event) in (first..).zip(events) {
                recorded.push(RecordedEvent {
                    event_id: event.event_id.unwrap_or_else(|| ids.next().unwrap()),
                    stream_id: stream.resolve().map_or(Uuid::nil(), |resolved| resolved.id),
                    stream_version: version,
                    global_position: first + recorded.len() as u64,
                    recorded_at: 7,
                    event_type: event.event_type.clone(),
                    tags: event.tags.clone(),
                    metadata: event.metadata.clone(),
                    payload: event.payload.clone(),
                });
            }
        }
        prop_assume!(!recorded.is_empty());
        let lacks_ids = append.runs().flat_map(|(_, events)| events).any(|event| event.event_id.is_none());
        let runs = append.runs().map(|(_, events)| events.len()).filter(|count| *count > 0);
        let response = sent(&response_to_wire(&recorded, runs, lacks_ids));
        prop_assert_eq!(recorded_from_wire(&append, &response), Ok(recorded));
    }
}

// ---- Failures. ----

fn condition() -> impl Strategy<Value = FailedCondition> {
    let index = || 0..2000_usize;
    prop_oneof![
        version_condition(),
        (index(), any::<u64>()).prop_map(|(index, position)| { FailedCondition::Match { index, position } })
    ]
}

fn version_condition() -> impl Strategy<Value = FailedCondition> {
    let parts = (0..2000_usize, id(), option::of(name()), expected(), option::of(any::<u64>()));
    parts.prop_map(|(index, stream_id, name, expected, actual)| FailedCondition::Version {
        index,
        stream_id,
        name,
        expected,
        actual,
    })
}

fn poison() -> impl Strategy<Value = Poison> {
    text().prop_map(|what| Poison::reported(what, false))
}

/// Every error that has facts on the wire.
fn error() -> impl Strategy<Value = Error> {
    let wrong = (version_condition(), vec(condition(), 0..3)).prop_map(|(first, mut failed)| {
        let FailedCondition::Version { stream_id, expected, actual, .. } = first.clone() else { unreachable!() };
        failed.insert(0, first);
        Error::WrongExpectedVersion { stream_id, expected, actual, failed }
    });
    let matched = (0..2000_usize, any::<u64>(), vec(condition(), 0..3)).prop_map(|(index, position, mut failed)| {
        failed.insert(0, FailedCondition::Match { index, position });
        Error::QueryMatched { index, position, failed }
    });
    let counts = (0..1_000_000_usize, 0..1_000_000_usize);
    let full = text().prop_map(|what| {
        let source = std::io::Error::new(std::io::ErrorKind::StorageFull, what);
        Error::StorageFull { source: Arc::new(IoError::new(Operation::Write, source)) }
    });
    prop_oneof![
        wrong,
        matched,
        (id(), any::<u64>()).prop_map(|(event_id, position)| Error::DuplicateEventId { event_id, position }),
        text().prop_map(|stream| Error::StreamNotFound { stream }),
        (id(), name(), name()).prop_map(|(stream_id, asked, stored)| Error::StreamNameMismatch {
            stream_id,
            asked,
            stored
        }),
        counts.prop_map(|(waiting, bytes)| Error::Backpressure { waiting, bytes }),
        any::<u32>().prop_map(|rounds| Error::Busy { rounds }),
        full,
        option::of(poison()).prop_map(|cause| Error::OutcomeUnknown { cause }),
        poison().prop_map(|cause| Error::Poisoned { cause }),
        text().prop_map(|what| Error::Poisoned { cause: Poison::reported(what, true) }),
        (option::of(text()), option::of(any::<u64>()), any::<bool>(), text()).prop_map(
            |(file, offset, is_damage, what)| {
                Error::Read(ReadError::Reported { file, offset, is_damage, kind: ErrorKind::Operator, what })
            }
        ),
        Just(()).prop_map(|()| Error::Closed),
        Just(()).prop_map(|()| Error::ReadOnly),
    ]
}

/// The facts of an error. What the disk said is told in other words, once it was told elsewhere.
fn facts(error: &Error) -> String {
    match error {
        Error::StorageFull { .. } => "StorageFull".to_owned(),
        error => format!("{error:?}: {error}"),
    }
}

proptest! {
    #[test]
    fn a_failure_is_the_same_error_as_a_status_and_in_a_session(error in error()) {
        let failed = failure_of(&error);
        prop_assert!(failed.code != Code::Ok && failed.failure.advice() != v1::Advice::Unspecified);
        prop_assert_eq!(&failed.message, &error.to_string());
        let as_status = Failed::of_status(&Status::from(failed.clone())).unwrap();
        let in_session = Failed::of_refused(sent(&failed.clone().into_refused()));
        for back in [as_status, in_session] {
            prop_assert_eq!(&back, &failed);
            let same = back.store_error().unwrap();
            prop_assert_eq!(facts(&same), facts(&error));
            prop_assert_eq!(same.kind(), error.kind());
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_has_no_error_of_the_store(append in append()) {
        let Err(error) = append.validate() else { return Ok(()) };
        prop_assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        let failed = failure_of(&error);
        prop_assert_eq!(failed.code, Code::InvalidArgument);
        prop_assert_eq!(failed.failure.advice(), v1::Advice::InvalidRequest);
        prop_assert!(failed.store_error().is_none(), "its facts are those of the request, which the client has");
    }
}

#[test]
fn what_could_not_be_read_is_told_with_where_it_stands() {
    let source = FrameError::Truncated { needed: 64, available: 8 };
    let handles = std::io::Error::other("the device is gone");
    for (error, code) in [
        (ReadError::Frame { file: "0000000001.segment".to_owned(), offset: 9000, source }, Code::DataLoss),
        (ReadError::Index { file: "0000000002.segment".to_owned(), what: "a page" }, Code::DataLoss),
        (ReadError::Io(IoError::new(Operation::Read, handles).with_name("x").with_range(3, 4)), Code::Internal),
    ] {
        let facts = (error.file().map(str::to_owned), error.offset(), error.is_damage(), error.to_string());
        let error = Error::Read(error);
        let (kind, failed) = (error.kind(), failure_of(&error));
        assert_eq!(failed.code, code);
        let told = failed.store_error().unwrap();
        assert_eq!(told.kind(), kind);
        let Error::Read(told) = told else { panic!("{told:?}") };
        assert_eq!((told.file().map(str::to_owned), told.offset(), told.is_damage(), told.to_string()), facts);
    }
}

#[test]
fn a_wait_is_told_in_both_ways() {
    let failed = failure_of(&Error::Busy { rounds: 8 }).retry_after(Duration::from_millis(1500));
    let status = Status::from(failed.clone());
    assert_eq!(Failed::of_status(&status), Some(failed));
    let retry_info = b"type.googleapis.com/google.rpc.RetryInfo";
    assert!(status.details().windows(retry_info.len()).any(|window| window == retry_info));
    // One second and half a billion nanoseconds.
    let delay: &[u8] = &[0x08, 1, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01];
    assert!(status.details().windows(delay.len()).any(|window| window == delay));
}

#[test]
fn the_longest_wait_can_be_told() {
    let failed = failure_of(&Error::Closed).retry_after(Duration::MAX);
    assert_eq!(Failed::of_status(&Status::from(failed.clone())), Some(failed));
}

// ---- What comes from elsewhere. ----

/// What this says is wrong names a part of the message.
fn judged<T>(result: Result<T, Malformed>) -> Option<T> {
    result.inspect_err(|malformed| assert!(malformed.to_string().starts_with(malformed.field()))).ok()
}

/// A message that was damaged on its way, or made by somebody else.
fn damaged(bytes: &[u8], damage: &[(prop::sample::Index, u8)], cut: Option<prop::sample::Index>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (place, mask) in damage {
        if !bytes.is_empty() {
            let at = place.index(bytes.len());
            bytes[at] ^= mask;
        }
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len() + 1));
    }
    bytes
}

fn damage() -> impl Strategy<Value = (Vec<(prop::sample::Index, u8)>, Option<prop::sample::Index>)> {
    (vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), option::of(any::<prop::sample::Index>()))
}

proptest! {
    #[test]
    fn a_damaged_append_is_an_append_or_says_what_is_wrong(append in append(), (damage, cut) in damage()) {
        let bytes = damaged(&append_to_wire(&append).encode_to_vec(), &damage, cut);
        if let Ok(message) = v1::AppendRequest::decode(bytes.as_slice())
            && let Some(append) = judged(append_from_wire(message))
        {
            let _ = append.validate();
            prop_assert!(append_from_wire(append_to_wire(&append)).is_ok());
        }
    }

    #[test]
    fn a_damaged_query_is_a_query_or_says_what_is_wrong(query in query(), (damage, cut) in damage()) {
        let bytes = damaged(&query_to_wire(&query).encode_to_vec(), &damage, cut);
        if let Ok(message) = v1::Query::decode(bytes.as_slice())
            && let Some(query) = judged(query_from_wire(Some(message), "query"))
        {
            let _ = query.check();
        }
    }

    #[test]
    fn a_damaged_event_is_an_event_or_says_what_is_wrong(event in recorded(), (damage, cut) in damage()) {
        judged(event_from_wire(damaged(&events_to_wire(&[event])[0], &damage, cut).into()));
    }

    #[test]
    fn a_damaged_answer_is_an_answer_or_says_what_is_wrong(
        append in append(),
        events in vec(recorded(), 1..5),
        (damage, cut) in damage(),
    ) {
        let response = response_to_wire(&events, [events.len()].into_iter(), true);
        let bytes = damaged(&response.encode_to_vec(), &damage, cut);
        if let Ok(message) = v1::AppendResponse::decode(bytes.as_slice())
            && let Some(recorded) = judged(recorded_from_wire(&append, &message))
        {
            prop_assert_eq!(recorded.len(), append.runs().map(|(_, events)| events.len()).sum::<usize>());
        }
    }

    #[test]
    fn a_damaged_failure_has_facts_or_none(error in error(), (damage, cut) in damage(), code in 0..20_i32) {
        let status = Status::from(failure_of(&error));
        let details = Bytes::from(damaged(status.details(), &damage, cut));
        let damaged_status = Status::with_details(Code::from_i32(code), "", details);
        if let Some(failed) = Failed::of_status(&damaged_status) {
            let _ = failed.store_error().map(|error| error.to_string());
        }
    }

    #[test]
    fn any_bytes_at_all_are_judged(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(message) = v1::AppendRequest::decode(bytes.as_slice()) {
            judged(append_from_wire(message));
        }
        if let Ok(message) = v1::StreamInfo::decode(bytes.as_slice()) {
            judged(info_from_wire(message));
        }
        if let Ok(refused) = v1::append_session_response::Refused::decode(bytes.as_slice()) {
            let _ = Failed::of_refused(refused).store_error();
        }
        let _ = Failed::of_status(&Status::with_details(Code::Internal, "", Bytes::from(bytes)));
    }
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let event = v1::ProposedEvent { id: "short".into(), ..v1::ProposedEvent::default() };
    let stream = Some(v1::StreamRef { stream: Some(v1::stream_ref::Stream::Name("a".to_owned())) });
    let write = |event| v1::StreamEvents { stream: stream.clone(), events: vec![v1::ProposedEvent::default(), event] };
    let field = |request| append_from_wire(request).unwrap_err().field().to_owned();
    let with_writes = |writes| v1::AppendRequest { conditions: Vec::new(), writes };
    assert_eq!(field(with_writes(vec![write(v1::ProposedEvent::default()), write(event)])), "writes[1].events[1].id");
    let not_text = Bytes::from_static(&[0xff]);
    let event = v1::ProposedEvent { tags: vec!["t".into(), not_text.clone()], ..v1::ProposedEvent::default() };
    assert_eq!(field(with_writes(vec![write(event)])), "writes[0].events[1].tags[1]");
    assert_eq!(field(with_writes(vec![v1::StreamEvents::default()])), "writes[0].stream");

    let with_condition = |condition| v1::AppendRequest { conditions: vec![condition], writes: Vec::new() };
    assert_eq!(field(with_condition(v1::Condition::default())), "conditions[0]");
    let no_match = |query| v1::Condition {
        condition: Some(v1::condition::Condition::NoMatch(v1::condition::NoMatch { query, after: None })),
    };
    assert_eq!(field(with_condition(no_match(None))), "conditions[0].no_match.query");
    let item = v1::QueryItem { types: vec![not_text], ..v1::QueryItem::default() };
    let query = v1::Query { all: false, items: vec![item] };
    assert_eq!(field(with_condition(no_match(Some(query)))), "conditions[0].no_match.query.items[0].types[0]");
    let version = v1::condition::StreamVersion { stream, expected: None };
    let version = v1::Condition { condition: Some(v1::condition::Condition::Version(version)) };
    assert_eq!(field(with_condition(version)), "conditions[0].version.expected");
}
