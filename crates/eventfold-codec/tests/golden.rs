//! Bytes written by hand after `docs/FORMAT.md`, one file a kind of record: decoding gives what they say, and encoding
//! gives them back. They are never changed: a format version that can't read them is a new one.

mod support;

use eventfold_codec::{
    ChecksumMismatch, Configuration, Digest, ExtensionArea, Frame, FrameError, FrameKind, FramePlace, HeaderCopies,
    Link, PreparedSegment, ProposedAppend, ProposedEvent, Section, SegmentHeader, SegmentSummary, StreamName,
    StreamSlot, SystemFrame, Trailer, encode_append, encode_footer, encode_system,
};
use support::{SALT, hex, key, place, valid};
use uuid::Uuid;

const ONE_EVENT: &str = include_str!("golden/one_event.hex");
const MULTI_STREAM: &str = include_str!("golden/multi_stream.hex");
const LINK: &str = include_str!("golden/link.hex");
const WATERMARK: &str = include_str!("golden/watermark.hex");
const CONFIGURATION: &str = include_str!("golden/configuration.hex");
const CLOSE: &str = include_str!("golden/close.hex");
const PREPARED: &str = include_str!("golden/prepared.hex");
const SEGMENT_HEADER: &str = include_str!("golden/segment_header.hex");
const FOOTER: &str = include_str!("golden/footer.hex");

fn id(digit: u8) -> Uuid {
    Uuid::from_bytes([digit << 4 | digit; 16])
}

#[test]
fn a_one_event_frame_is_what_the_document_shows() {
    let golden = hex(ONE_EVENT);
    let frame = Frame::open(&golden, &key(), 8288).unwrap();
    frame.verify().unwrap();
    assert_eq!(frame.kind(), FrameKind::Append);
    let event = frame.event(0).unwrap();
    assert_eq!((event.event_id, event.stream_id), (id(2), id(1)));
    assert_eq!((event.stream_version, event.global_position, event.recorded_at), (0, 0, 1_700_000_000_000));
    assert_eq!((event.event_type, event.metadata, event.payload), ("Opened", &b""[..], &br#"{"by":"ann"}"#[..]));
    assert!(event.tags.is_empty());

    let event = ProposedEvent::new("Opened", r#"{"by":"ann"}"#).with_id(id(2));
    let append = valid(ProposedAppend::new().events(id(1), vec![event]));
    let (encoded, _) = support::encoded(&append, &place(8288, 0));
    assert_eq!(encoded, golden);

    // The document's dump: an offset, the bytes, a note two spaces on.
    let document = include_str!("../../../docs/FORMAT.md");
    let dump = document.split("<!-- dump: one-event frame -->").nth(1).unwrap().split("```").nth(1).unwrap();
    let dump: String = dump
        .lines()
        .filter_map(|line| line.get(6..))
        .map(|line| line.split("  ").next().unwrap().to_owned() + "\n")
        .collect();
    assert_eq!(hex(&dump), golden);
}

#[test]
fn a_frame_of_many_streams_keeps_names_tags_and_order() {
    let golden = hex(MULTI_STREAM);
    let frame = Frame::open(&golden, &key(), 8448).unwrap();
    frame.verify().unwrap();
    let account = StreamName::new("account-7").unwrap();
    let streams: Vec<_> = (0..2).map(|index| frame.stream(index).unwrap()).collect();
    assert_eq!((streams[0].id, streams[0].first_version, streams[0].events), (account.id(), 0, 2));
    assert_eq!((streams[0].name, streams[1].name), (Some("account-7"), None));
    assert_eq!((streams[1].id, streams[1].first_version, streams[1].events), (Uuid::nil(), 4, 1));
    let events: Vec<_> = frame.events().map(|event| event.unwrap().to_recorded()).collect();
    let versions: Vec<_> = events.iter().map(|event| (event.stream_id, event.stream_version)).collect();
    assert_eq!(versions, [(account.id(), 0), (Uuid::nil(), 4), (account.id(), 1)]);
    assert_eq!(events.iter().map(|event| event.global_position).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(frame.extensions().collect::<Vec<_>>(), [(0x0123, &b"trace"[..])]);
    assert_eq!(events[0].tags, ["account:7", "größe:1"]);
    assert_eq!(events[0].metadata, &br#"{"by":"bob"}"#[..]);
    assert_eq!((&events[1].event_type, &events[2].payload[..]), (&"Ticked".into(), &b"200"[..]));

    let deposited = ProposedEvent::new("Deposited", "500")
        .with_id(id(3))
        .with_metadata(r#"{"by":"bob"}"#)
        .with_tags(["account:7", "größe:1"]);
    let append = ProposedAppend::new()
        .events("account-7", vec![deposited])
        .events(Uuid::nil(), vec![ProposedEvent::new("Ticked", "").with_id(id(4))])
        .events(&account, vec![ProposedEvent::new("Withdrawn", "200").with_id(id(5)).with_metadata("m")]);
    let mut extensions = ExtensionArea::default();
    extensions.push(0x0123, b"trace").unwrap();
    let slots = [StreamSlot { first_version: 0, with_name: true }, StreamSlot { first_version: 4, with_name: true }];
    let at = FramePlace { recorded_at: 1_700_000_000_001, ..place(8448, 1) };
    let mut encoded = Vec::new();
    encode_append(&valid(append), &slots, &key(), &at, &extensions, &mut encoded);
    assert_eq!(encoded, golden);
}

#[test]
fn system_frames_are_what_they_say() {
    let link = Link { salt: 0xFEDC_BA98_7654_3210, end: 123_456, checksum: 0xDEAD_BEEF };
    let window = Configuration { idempotency_window: 4096 };
    let next = PreparedSegment { salt: 0x5A17 };
    let cases = [
        (LINK, 8192, 8192, 2, SystemFrame::Link(link, window), FrameKind::Link),
        (WATERMARK, 9000, 9000, 3, SystemFrame::Watermark, FrameKind::Watermark),
        (CONFIGURATION, 9064, 9000, 4, SystemFrame::Configuration(window), FrameKind::Configuration),
        (CLOSE, 9136, 9136, 5, SystemFrame::Close, FrameKind::Close),
        (PREPARED, 9072, 9000, 6, SystemFrame::Prepared(next), FrameKind::Prepared),
    ];
    for (golden, offset, durable_through, millis, system, kind) in cases {
        let golden = hex(golden);
        let frame = Frame::open(&golden, &key(), offset).unwrap();
        let verified = frame.verify().unwrap();
        let header = frame.header();
        assert_eq!(frame.kind(), kind);
        assert_eq!((header.first_position, header.end_position(), header.incarnation), (4, 4, 2), "{kind:?}");
        assert_eq!((header.durable_through, header.recorded_at), (durable_through, 1_700_000_000_000 + millis));
        assert_eq!(verified.fields().link, (kind == FrameKind::Link).then_some(link));
        let configured = matches!(kind, FrameKind::Link | FrameKind::Configuration);
        assert_eq!(verified.fields().configuration, configured.then_some(window));
        assert_eq!(verified.fields().prepared, (kind == FrameKind::Prepared).then_some(next));
        let at = FramePlace {
            offset,
            incarnation: 2,
            durable_through,
            first_position: 4,
            recorded_at: 1_700_000_000_000 + millis,
        };
        let mut encoded = Vec::new();
        encode_system(system, &key(), &at, &mut encoded);
        assert_eq!(encoded, golden, "{kind:?}");
    }
}

#[test]
fn a_segment_header_stands_twice() {
    let golden = hex(SEGMENT_HEADER);
    let store_id = Uuid::parse_str("6f9619ff-8b86-d011-b42d-00c04fc964ff").unwrap();
    let header =
        SegmentHeader { segment_size: 64 << 20, idempotency_window: 1000, ..SegmentHeader::new(store_id, 3, SALT) };
    assert_eq!(SegmentHeader::decode(&golden), Ok((header, HeaderCopies::Both)));
    let mut encoded = Vec::new();
    header.encode(&mut encoded);
    assert!(encoded == golden, "the encoded header differs");
}

#[test]
fn a_footer_holds_its_summary_and_its_sections() {
    const AT: u64 = 12_288;
    let golden = hex(FOOTER);
    let summary = SegmentSummary {
        data_end: 9200,
        first_position: 4,
        end_position: 11,
        append_count: 3,
        frame_count: 6,
        stream_count: 2,
        last_incarnation: 2,
        last_checksum: Frame::open(&hex(CLOSE), &key(), 9136).unwrap().header().checksum,
        byte_digest: Digest([0xB1; 32]),
        logical_digest: Digest([0x10; 32]),
        previous_byte_digest: Digest([0xB0; 32]),
        previous_logical_digest: Digest([0x1A; 32]),
    };
    let trailer = Trailer::decode(&golden, &key(), AT + golden.len() as u64).unwrap();
    assert_eq!((trailer.footer_offset, trailer.footer_len), (AT, golden.len() as u64));
    let header = trailer.header(&golden, &key()).unwrap();
    assert_eq!(header.summary, summary);
    let directory = header.directory(&golden, &key(), |kind| kind == 1).unwrap();
    let bytes: Vec<u8> = (0..24).collect();
    let sections = [
        Section { kind: 1, required: true, bytes: b"terms" },
        Section { kind: 0x1234, required: false, bytes: &bytes },
    ];
    assert_eq!(directory.len(), 2);
    for (entry, section) in directory.iter().zip(&sections) {
        assert_eq!((entry.kind, entry.required), (section.kind, section.required));
        let start = usize::try_from(entry.offset).unwrap();
        assert_eq!(header.section(entry, &golden[start..], &key()), Ok(section.bytes));
    }
    let mut encoded = Vec::new();
    encode_footer(&summary, &sections, &key(), &mut encoded);
    assert_eq!(encoded, golden);
}

#[test]
fn a_checksum_error_names_what_was_expected_and_found() {
    let mut bytes = hex(WATERMARK);
    let expected = u32::from_le_bytes(*bytes.last_chunk().unwrap());
    bytes[60] ^= 1;
    let Err(FrameError::HeaderChecksum(ChecksumMismatch { expected: written, found })) =
        Frame::open(&bytes, &key(), 9000)
    else {
        panic!("the damage was not found");
    };
    assert_eq!((written, found), (expected ^ 1, expected));
}
