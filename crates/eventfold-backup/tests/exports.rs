//! What is exported from one store and imported into another is the same there.
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use eventfold_backup::{ExportedEvent, Exports, Import, ImportError, ImportReport};
use eventfold_io::sim::{SimDisk, SimOptions};
use eventfold_read::ReadIndex;
use eventfold_store::{Append, Error, EventLog, ProposedEvent, RecordedEvent, Store, StreamRef, Uuid};
use eventfold_writer::{Writer, WriterHandle, WriterOptions, WriterThread};
use proptest::prelude::*;

struct Open {
    writer: WriterHandle,
    thread: WriterThread,
    reads: ReadIndex,
}

impl Open {
    fn new() -> Self {
        let disk = SimDisk::new(SimOptions::new(7));
        let store = Store::builder().segment_size(64 << 10).open_on(disk.attach()).unwrap();
        let reads = ReadIndex::new(store.log());
        let (writer, thread) = Writer::start(store, &WriterOptions::default()).unwrap();
        Self { writer, thread, reads }
    }

    fn log(&self) -> EventLog {
        self.writer.log()
    }

    fn append(&self, append: Append) -> Vec<RecordedEvent> {
        self.writer.append_request_blocking(append).unwrap()
    }

    fn events(&self) -> Vec<RecordedEvent> {
        self.reads.read_all(0, u64::MAX).unwrap()
    }

    fn import(&self, events: impl IntoIterator<Item = ExportedEvent>) -> Result<ImportReport, ImportError> {
        wait(async {
            let mut import = Import::new(self.writer.clone(), self.reads.clone());
            for event in events {
                import.push(event).await?;
            }
            import.finish().await
        })
    }

    fn close(self) {
        self.writer.close_blocking().unwrap();
        self.thread.join();
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn exported(log: &EventLog, from: u64, to: Option<u64>, bytes: usize) -> Vec<ExportedEvent> {
    let mut exports = Exports::new(log.snapshot(), from, to);
    let mut events = Vec::new();
    loop {
        let page = exports.next_events(bytes).unwrap();
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}

fn text() -> impl Strategy<Value = String> {
    "[a-z\\PC]{1,8}"
}

fn event() -> impl Strategy<Value = ProposedEvent> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    let tags = proptest::collection::btree_set(text(), 0..3);
    (text(), tags, bytes(), bytes()).prop_map(|(event_type, tags, metadata, payload)| {
        ProposedEvent::new(event_type, payload).with_metadata(metadata).with_tags(tags)
    })
}

/// A stream with a name, one without, and none.
fn stream() -> impl Strategy<Value = StreamRef> {
    prop_oneof![
        (0..4u8).prop_map(|n| StreamRef::from(format!("stream-{n}"))),
        (1..3u128).prop_map(|n| StreamRef::from(Uuid::from_u128(n))),
        Just(StreamRef::from(Uuid::nil())),
    ]
}

fn append() -> impl Strategy<Value = Append> {
    let runs = proptest::collection::vec((stream(), proptest::collection::vec(event(), 1..4)), 1..4);
    (runs, 0..1u64 << 40).prop_map(|(runs, time)| {
        let append = Append::new().recorded_at(time);
        runs.into_iter().fold(append, |append, (stream, events)| append.events(stream, events))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_import_is_the_same_log(
        appends in proptest::collection::vec(append(), 1..20),
        bytes in 1..3000usize,
        cut in any::<prop::sample::Index>(),
    ) {
        let (source, target) = (Open::new(), Open::new());
        for append in &appends {
            source.append(append.clone());
        }
        let events = exported(&source.log(), 0, None, bytes);
        let told: Vec<_> = events.iter().map(|exported| exported.event.clone()).collect();
        prop_assert_eq!(&told, &source.events());

        // One that is cut, anywhere, and begun again.
        let cut = cut.index(events.len() + 1);
        let begun = target.import(events[..cut].iter().cloned());
        // Of an append that is not whole, nothing is appended.
        let within = cut > 0 && cut < events.len() && events[cut - 1].append == events[cut].append;
        prop_assert_eq!(begun.is_err(), within);
        let report = target.import(events.clone()).unwrap();
        let end = if within { events[cut].append } else { cut as u64 };
        let before = events.iter().filter(|event| event.append == event.event.global_position && event.append < end);
        let before = before.count() as u64;
        prop_assert_eq!((report.repeated_appends, report.appends), (before, appends.len() as u64 - before));
        prop_assert_eq!((report.moved_appends, report.position), (0, events.len() as u64));
        prop_assert_eq!(target.events(), source.events());
        prop_assert_eq!(&exported(&target.log(), 0, None, 1 << 20), &events);
        // A part is of whole appends.
        let part = exported(&source.log(), cut as u64, Some(cut as u64 + 1), bytes);
        let whole: Vec<_> =
            events.iter().filter(|event| cut < events.len() && event.append == events[cut].append).cloned().collect();
        prop_assert_eq!(part, whole);
        source.close();
        target.close();
    }
}

fn counted(store: &Open, stream: &str, count: usize) {
    for _ in 0..count {
        store.append(Append::new().events(stream, vec![ProposedEvent::new("Counted", "1")]));
    }
}

#[test]
fn a_part_of_a_log_is_imported_where_it_belongs() {
    let (source, target) = (Open::new(), Open::new());
    counted(&source, "a", 10);
    let report = target.import(exported(&source.log(), 0, Some(6), 1 << 20)).unwrap();
    assert_eq!((report.events, report.position), (6, 6));
    counted(&source, "b", 5);
    let report = target.import(exported(&source.log(), 6, None, 1 << 20)).unwrap();
    assert_eq!((report.events, report.moved_appends, report.position), (9, 0, 15));
    assert_eq!(target.events(), source.events());

    // Where what comes before is missing, versions could not be kept.
    let empty = Open::new();
    let refused = empty.import(exported(&source.log(), 6, None, 1 << 20)).unwrap_err();
    let ImportError::Append { position: 6, source: Error::WrongExpectedVersion { .. } } = refused else {
        panic!("{refused}")
    };
    assert_eq!(empty.events(), []);
    for store in [source, target, empty] {
        store.close();
    }
}

#[test]
fn an_append_may_have_more_streams_than_conditions() {
    let (source, target) = (Open::new(), Open::new());
    for _ in 0..2 {
        let append = (0..1500u128).fold(Append::new(), |append, n| {
            append.events(Uuid::from_u128(n + 1), vec![ProposedEvent::new("Counted", "1")])
        });
        source.append(append);
    }
    let events = exported(&source.log(), 0, None, 1 << 20);
    let refused = target.import(events[1500..].iter().cloned()).unwrap_err();
    assert!(matches!(refused, ImportError::Malformed { position: 1500, .. }), "{refused}");
    let report = target.import(events.clone()).unwrap();
    assert_eq!((report.appends, report.moved_appends), (2, 0));
    assert_eq!(target.events(), source.events());

    // They are known again at other positions too, and those in whose way something stands.
    let moved = Open::new();
    counted(&moved, "a", 1);
    assert_eq!(moved.import(events.clone()).unwrap().moved_appends, 2);
    let report = moved.import(events.clone()).unwrap();
    assert_eq!((report.appends, report.repeated_appends, report.position), (0, 2, 3001));
    let other = Open::new();
    other.append(Append::new().events(Uuid::from_u128(1400), vec![ProposedEvent::new("Counted", "2")]));
    let refused = other.import(events).unwrap_err();
    assert!(matches!(refused, ImportError::Malformed { position: 0, .. }), "{refused}");
    assert_eq!(other.events().len(), 1);
    for store in [source, target, moved, other] {
        store.close();
    }
}

#[test]
fn what_stands_after_an_error_is_the_beginning_of_what_was_taken_in() {
    let (source, target) = (Open::new(), Open::new());
    for stream in ["a", "b", "c", "d"] {
        counted(&source, stream, 1);
    }
    // In the way of the second append. Nothing else is in the way of those behind it, which are under way together with it.
    counted(&target, "b", 1);
    let refused = target.import(exported(&source.log(), 0, None, 1 << 20)).unwrap_err();
    assert!(matches!(refused, ImportError::Append { position: 1, .. }), "{refused}");
    let streams: Vec<_> = target.events().iter().map(|event| event.stream_id).collect();
    let ids = ["b", "a"].map(|name| StreamRef::from(name).resolve().unwrap().id);
    assert_eq!(streams, ids);
    source.close();
    target.close();
}

#[test]
fn other_streams_are_imported_behind_what_is_there() {
    let (source, target) = (Open::new(), Open::new());
    counted(&source, "a", 10);
    counted(&target, "b", 3);
    let report = target.import(exported(&source.log(), 0, None, 1 << 20)).unwrap();
    assert_eq!((report.events, report.moved_appends, report.position), (10, 10, 13));
    let moved = target.reads.read_stream("a", 0, 100).unwrap();
    for (moved, event) in moved.iter().zip(source.events()) {
        assert_eq!(*moved, RecordedEvent { global_position: event.global_position + 3, ..event });
    }
    // The same again is recognised, though it stands elsewhere.
    let report = target.import(exported(&source.log(), 0, None, 1 << 20)).unwrap();
    assert_eq!((report.appends, report.repeated_appends, report.position), (0, 10, 13));

    // A stream that both have does not become a mixture of the two.
    let other = Open::new();
    counted(&other, "a", 2);
    let refused = target.import(exported(&other.log(), 0, None, 1 << 20)).unwrap_err();
    assert!(matches!(refused, ImportError::Append { position: 0, .. }), "{refused}");
    assert_eq!(target.events().len(), 13);
    for store in [source, target, other] {
        store.close();
    }
}

#[test]
fn what_is_no_export_is_told() {
    let source = Open::new();
    let both = |events| Append::new().events("a", events);
    source.append(both(vec![ProposedEvent::new("One", ""), ProposedEvent::new("Two", "")]));
    let sound = exported(&source.log(), 0, None, 1 << 20);
    let refused = |change: fn(&mut Vec<ExportedEvent>)| {
        let (target, mut events) = (Open::new(), sound.clone());
        change(&mut events);
        let refused = target.import(events).unwrap_err();
        assert_eq!(target.events(), []);
        target.close();
        match refused {
            ImportError::Malformed { position, what } => (position, what),
            other => panic!("{other}"),
        }
    };
    let behind = "it does not come behind the one before it";
    assert_eq!(refused(|events| events.swap(0, 1)), (1, behind));
    assert_eq!(refused(|events| drop(events.remove(0))), (1, behind));
    assert_eq!(refused(|events| events[1].event.global_position = u64::MAX), (u64::MAX, behind));
    let next = "its version is not the next of its stream";
    assert_eq!(refused(|events| events[1].event.stream_version = 5), (1, next));
    let named = "its stream has another name";
    assert_eq!(refused(|events| events[0].event.stream_id = Uuid::max()), (0, named));
    assert_eq!(refused(|events| events[1].event.recorded_at += 1), (1, "its time is not that of its append"));
    let larger = "its append is larger than one can be";
    let many = |events: &mut Vec<ExportedEvent>| {
        *events = (0..70_000)
            .map(|n| {
                let mut event = events[0].clone();
                event.event.global_position = n;
                event
            })
            .collect();
    };
    assert_eq!(refused(many), (65_536, larger));
    assert_eq!(refused(|events| events[1].event.payload = vec![0; 17 << 20].into()), (1, larger));
    source.close();
}
