//! Reads of every kind, beside a plain list of the same events.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use eventfold_read::ReadIndex;
use eventfold_store::{Error, NO_STREAM, Query, QueryItem, RecordedEvent, Store};

use support::{append, block_on, open, sim};

const STREAMS: [&str; 3] = ["a-1", "a-2", "b-1"];

/// Two hundred events in five segments, most of them sealed.
fn filled() -> (Store, Vec<RecordedEvent>) {
    let mut store = open(sim().attach());
    let mut model = Vec::new();
    for number in 0..200_usize {
        let event_type = if number.is_multiple_of(7) { "Rare" } else { "Common" };
        model.push(append(&mut store, STREAMS[(number + number / 4) % 3], event_type));
    }
    (store, model)
}

fn of_stream(model: &[RecordedEvent], name: &str) -> Vec<RecordedEvent> {
    let id = eventfold_store::StreamRef::from(name).resolve().unwrap().id;
    model.iter().filter(|event| event.stream_id == id).cloned().collect()
}

fn rare(model: &[RecordedEvent]) -> Vec<RecordedEvent> {
    model.iter().filter(|event| event.event_type == "Rare").cloned().collect()
}

fn forward(events: &[RecordedEvent], from: usize, max_count: usize) -> Vec<RecordedEvent> {
    events.iter().skip(from).take(max_count).cloned().collect()
}

fn backward(events: &[RecordedEvent], from: usize, max_count: usize) -> Vec<RecordedEvent> {
    events.iter().take(from.saturating_add(1)).rev().take(max_count).cloned().collect()
}

const FROM: [usize; 6] = [0, 1, 57, 199, 200, usize::MAX];
const COUNTS: [usize; 4] = [0, 1, 60, usize::MAX];

#[test]
fn the_log_is_read_both_ways_by_calls_and_by_futures() {
    let (store, model) = filled();
    let index = ReadIndex::new(store.log());
    assert_eq!(index.global_position(), 200);
    for from in FROM {
        for count in COUNTS {
            let (start, max) = (from as u64, count as u64);
            let expected = forward(&model, from, count);
            assert_eq!(index.read_all(start, max).unwrap(), expected);
            assert_eq!(block_on(index.in_background().read_all(start, max)).unwrap(), expected);
            let expected = backward(&model, from, count);
            assert_eq!(index.read_all_backward(start, max).unwrap(), expected);
            assert_eq!(block_on(index.in_background().read_all_backward(start, max)).unwrap(), expected);
        }
        let expected = model.get(from).cloned();
        assert_eq!(index.event(from as u64).unwrap(), expected);
        assert_eq!(block_on(index.in_background().event(from as u64)).unwrap(), expected);
        assert_eq!(
            index.events(from as u64).collect::<Result<Vec<_>, _>>().unwrap(),
            forward(&model, from, usize::MAX)
        );
    }
}

#[test]
fn a_stream_is_read_both_ways_by_calls_and_by_futures() {
    let (store, model) = filled();
    let index = ReadIndex::new(store.log());
    for stream in STREAMS {
        let events = of_stream(&model, stream);
        for from in FROM {
            for count in COUNTS {
                let (start, max) = (from as u64, count as u64);
                let expected = forward(&events, from, count);
                assert_eq!(index.read_stream(stream, start, max).unwrap(), expected);
                assert_eq!(block_on(index.in_background().read_stream(stream, start, max)).unwrap(), expected);
                let expected = backward(&events, from, count);
                assert_eq!(index.read_stream_backward(stream, start, max).unwrap(), expected);
                assert_eq!(block_on(index.in_background().read_stream_backward(stream, start, max)).unwrap(), expected);
            }
            let iterated: Vec<_> = index.stream_events(stream, from as u64).unwrap().collect::<Result<_, _>>().unwrap();
            assert_eq!(iterated, forward(&events, from, usize::MAX));
        }
        let version = events.last().map(|event| event.stream_version);
        assert_eq!(index.stream_version(stream).unwrap(), version);
        assert_eq!(block_on(index.in_background().stream_version(stream)).unwrap(), version);
        let info = index.stream_info(stream).unwrap().unwrap();
        assert_eq!((info.name.as_deref(), Some(info.version)), (Some(stream), version));
        assert_eq!(block_on(index.in_background().stream_info(stream)).unwrap(), Some(info));
    }
}

#[test]
fn a_query_is_read_both_ways_by_calls_and_by_futures() {
    let (store, model) = filled();
    let index = ReadIndex::new(store.log());
    let query = || Query::from(QueryItem::new().types(["Rare"]));
    let events = rare(&model);
    for from in FROM {
        let behind = events.iter().filter(|event| event.global_position >= from as u64).cloned().collect::<Vec<_>>();
        let before =
            events.iter().rev().filter(|event| event.global_position <= from as u64).cloned().collect::<Vec<_>>();
        for count in COUNTS {
            let (start, max) = (from as u64, count as u64);
            let expected = forward(&behind, 0, count);
            assert_eq!(index.query(query(), start, max).unwrap(), expected);
            assert_eq!(block_on(index.in_background().query(query(), start, max)).unwrap(), expected);
            let expected = forward(&before, 0, count);
            assert_eq!(index.query_backward(query(), start, max).unwrap(), expected);
            assert_eq!(block_on(index.in_background().query_backward(query(), start, max)).unwrap(), expected);
        }
        assert_eq!(index.matching(query(), from as u64).unwrap().collect::<Result<Vec<_>, _>>().unwrap(), behind);
    }
}

#[test]
fn streams_are_listed_by_name() {
    let (store, _) = filled();
    let index = ReadIndex::new(store.log());
    let names = |infos: Vec<eventfold_store::StreamInfo>| {
        infos.into_iter().map(|info| info.name.unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(index.streams("", None, 10).unwrap()), STREAMS);
    assert_eq!(names(index.streams("a-", Some("a-1"), 10).unwrap()), ["a-2"]);
    assert_eq!(names(block_on(index.in_background().streams("a-", None, 1)).unwrap()), ["a-1"]);
}

#[test]
fn what_is_not_there_is_told() {
    let (store, _) = filled();
    let index = ReadIndex::new(store.log());
    assert!(matches!(index.read_stream("none", 0, 1), Err(Error::StreamNotFound { .. })));
    assert!(matches!(index.stream_events("none", 0), Err(Error::StreamNotFound { .. })));
    assert!(matches!(block_on(index.in_background().read_stream("none", 0, 1)), Err(Error::StreamNotFound { .. })));
    assert_eq!(index.stream_version("none").unwrap(), None);
    assert!(matches!(index.read_stream(NO_STREAM, 0, 1), Err(Error::NoSuchStream)));
    assert!(matches!(index.subscribe_stream(NO_STREAM, 0), Err(Error::InvalidQuery(_))));
    assert!(matches!(index.query(Query::new(), 0, 1), Err(Error::InvalidQuery(_))));
    assert!(matches!(index.matching(Query::new(), 0), Err(Error::InvalidQuery(_))));
    assert!(matches!(index.subscribe(Query::new(), 0), Err(Error::InvalidQuery(_))));
}

#[test]
fn several_reads_of_a_snapshot_fit_together() {
    let (mut store, model) = filled();
    let index = ReadIndex::new(store.log());
    let snapshot = index.snapshot();
    let iterator = index.events(190);
    append(&mut store, "a-1", "Later");
    assert_eq!(snapshot.head(), model.len() as u64);
    assert_eq!(iterator.count(), 10, "an iterator is over the log as it was");
    let counts = block_on(index.offload(|log| {
        Ok((log.head(), log.query(QueryItem::new().types(["Later"]), 0, 9, eventfold_store::Direction::Forward)?.len()))
    }));
    assert_eq!(counts.unwrap(), (201, 1));
}

#[test]
fn a_read_that_panics_panics_where_it_is_awaited_and_harms_no_other() {
    let (store, _) = filled();
    let index = ReadIndex::with_reader_threads(store.log(), 1);
    let panicking = index.offload(|_| -> Result<(), Error> { panic!("of the reader's own") });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| block_on(panicking)));
    assert!(caught.is_err());
    assert_eq!(block_on(index.in_background().read_all(0, 1)).unwrap().len(), 1);
}

#[test]
fn an_index_is_shared_by_threads() {
    fn is_shared<T: Clone + Send + Sync + 'static>() {}
    fn is_sent<T: Send + Unpin + 'static>() {}
    is_shared::<ReadIndex>();
    is_sent::<eventfold_read::Subscription>();
    is_sent::<eventfold_read::BlockingSubscription>();
    is_sent::<eventfold_read::WaitUntil>();
    is_sent::<eventfold_read::Offload<()>>();
    is_sent::<eventfold_read::Events>();
}
