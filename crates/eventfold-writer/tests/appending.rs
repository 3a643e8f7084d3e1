//! Appending through the writer: alone and together, in groups, refused and bounded.
#![expect(clippy::disallowed_methods, reason = "a test starts callers of its own, and says when their deadlines are")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use std::collections::VecDeque;
use std::sync::Arc;

use eventfold_io::sim::SimDisk;
use eventfold_store::{
    Append, Error, ErrorKind, ExpectedVersion, MAX_EVENT_SIZE, ProposedEvent, QueryItem, RecordedEvent,
};
use eventfold_writer::{AppendRequest, PendingAppend, Sequence, Writer, WriterHandle, WriterOptions, WriterThread};

use support::{Gate, disk, event, events, options, store, syncs};

fn start(disk: &SimDisk) -> (WriterHandle, WriterThread) {
    Writer::start(store(disk), &WriterOptions::default()).unwrap()
}

fn positions(events: &[RecordedEvent]) -> Vec<(u64, u64)> {
    events.iter().map(|event| (event.global_position, event.stream_version)).collect()
}

/// An append to a stream of its own, whatever is there.
fn any(writer: &WriterHandle, number: u64) -> Result<PendingAppend, Error> {
    writer.try_append(format!("s-{number}"), ExpectedVersion::Any, events())
}

#[test]
fn a_lone_caller_gets_its_events_and_readers_see_them_at_once() {
    let (writer, _thread) = start(&disk());
    for number in 0..3 {
        let answer = writer.append_blocking("s", ExpectedVersion::Any, events()).unwrap();
        assert_eq!(positions(&answer), [(number, number)]);
        assert_eq!(writer.log().global_position(), number + 1);
    }
    assert_eq!(writer.log().read_stream("s", 0, 100).unwrap().len(), 3);
    assert_eq!(writer.log().read_all(0, 100).unwrap().len(), 3);
}

#[tokio::test]
async fn ten_concurrent_appends_get_ten_positions() {
    let (writer, task) = eventfold_writer::spawn_writer(store(&disk()), 4);
    let appends: Vec<_> = (0..10)
        .map(|_| {
            let writer = writer.clone();
            tokio::task::spawn(async move { writer.append("s", ExpectedVersion::Any, events()).await })
        })
        .collect();
    let mut seen = Vec::new();
    for append in appends {
        seen.extend(positions(&append.await.unwrap().unwrap()));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..10).map(|number| (number, number)).collect::<Vec<_>>());
    drop(writer);
    task.await.unwrap();
}

#[test]
fn what_waits_while_the_disk_is_busy_shares_one_sync() {
    let disk = disk();
    disk.record_trace();
    let (writer, _thread) = start(&disk);
    let before = syncs(&disk);
    let gate = Gate::close(&disk, 1);
    let first = any(&writer, 0).unwrap();
    gate.wait_for_arrival();
    let others: Vec<_> = (1..=200).map(|number| any(&writer, number).unwrap()).collect();
    gate.open();
    assert_eq!(first.wait().unwrap()[0].global_position, 0);
    for (other, number) in others.into_iter().zip(1..) {
        assert_eq!(other.wait().unwrap()[0].global_position, number);
    }
    assert_eq!(syncs(&disk) - before, 2);
    let stats = writer.stats();
    assert_eq!((stats.groups, stats.appends, stats.events), (2, 201, 201));
    assert_eq!((stats.group_size.max(), stats.group_size.count()), (200, 2));
    assert_eq!((stats.queued_requests, stats.queued_requests_peak), (0, 201));
    assert_eq!((stats.queued_bytes > 0, stats.queued_bytes_peak > 0), (false, true));
    assert_eq!((stats.sync_latency.count(), stats.commit_latency.count()), (2, 2));
    assert!(stats.commit_latency.quantile(0.5) > 0);
}

#[test]
fn what_comes_while_a_large_append_is_synced_shares_the_next_syncs() {
    let disk = disk();
    let store = options().segment_size(1 << 20).open_on(disk.attach()).unwrap();
    let (writer, _thread) = Writer::start(store, &WriterOptions::default()).unwrap();
    let large = vec![ProposedEvent::new("Large", vec![0; 100 << 10])];
    let gate = Gate::close(&disk, 1);
    let first = writer.try_append("large", ExpectedVersion::NoStream, large).unwrap();
    gate.wait_for_arrival();
    let others: Vec<_> = (0..100).map(|number| any(&writer, number).unwrap()).collect();
    gate.open();
    first.wait().unwrap();
    for other in others {
        other.wait().unwrap();
    }
    let stats = writer.stats();
    // Where staging them takes longer than the sync, what was staged by its end is not held up for the rest.
    assert!(stats.groups <= 3, "{stats:?}");
    assert_eq!(stats.appends, 101);
}

#[test]
fn a_refused_append_harms_nobody() {
    let disk = disk();
    let (writer, _thread) = start(&disk);
    let gate = Gate::close(&disk, 1);
    let first = any(&writer, 0).unwrap();
    gate.wait_for_arrival();
    let good = writer.try_append("s", ExpectedVersion::NoStream, events()).unwrap();
    let wrong = writer.try_append("s", ExpectedVersion::NoStream, events()).unwrap();
    let far = writer.try_append("s", ExpectedVersion::Exact(5), events()).unwrap();
    let next = writer.try_append("s", ExpectedVersion::Exact(0), events()).unwrap();
    let tagged = |stream: &str| {
        Append::new()
            .no_match(QueryItem::new().tags(["seat:7"]), None)
            .events(stream, vec![event("Taken").with_tags(["seat:7"])])
    };
    let taken = writer.try_append_request(tagged("ann")).unwrap();
    let too_late = writer.try_append_request(tagged("bob")).unwrap();
    gate.open();
    first.wait().unwrap();
    assert_eq!(positions(&good.wait().unwrap()), [(1, 0)]);
    for refused in [wrong, far] {
        let error = refused.wait().unwrap_err();
        assert!(matches!(error, Error::WrongExpectedVersion { actual: Some(0), .. }), "{error:?}");
    }
    assert_eq!(positions(&next.wait().unwrap()), [(2, 1)]);
    assert_eq!(positions(&taken.wait().unwrap()), [(3, 0)]);
    assert!(matches!(too_late.wait(), Err(Error::QueryMatched { position: 3, .. })));

    let large = vec![ProposedEvent::new("Large", vec![0; MAX_EVENT_SIZE + 1])];
    let error = writer.append_blocking("s", ExpectedVersion::Any, large).unwrap_err();
    assert!(matches!(error, Error::EventTooLarge { .. }), "{error:?}");
    assert_eq!(writer.append_blocking("s", ExpectedVersion::Any, events()).unwrap()[0].global_position, 4);
    let rejections = writer.stats().rejections;
    assert_eq!((rejections.conflict, rejections.invalid, rejections.outcome_unknown), (3, 1, 0));
}

#[test]
fn repeating_an_append_gives_what_it_gave() {
    let (writer, _thread) = start(&disk());
    let id = uuid::Uuid::from_u128(7);
    let append = || vec![event("Once").with_id(id)];
    let first = writer.append_blocking("s", ExpectedVersion::NoStream, append()).unwrap();
    assert_eq!(writer.append_blocking("s", ExpectedVersion::NoStream, append()).unwrap(), first);
    assert_eq!(writer.log().global_position(), 1);
}

#[tokio::test]
async fn a_full_queue_refuses_and_makes_others_wait() {
    let disk = disk();
    let (writer, _thread) = Writer::start(store(&disk), &WriterOptions::default().max_requests(3)).unwrap();
    let gate = Gate::close(&disk, 1);
    let held: Vec<_> = (0..3).map(|number| any(&writer, number).unwrap()).collect();
    let error = any(&writer, 3).unwrap_err();
    assert!(matches!(error, Error::Backpressure { waiting: 3, .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Retry);

    let mut waits = Box::pin(writer.append("patient", ExpectedVersion::NoStream, events()));
    let mut dropped = Box::pin(writer.append("fickle", ExpectedVersion::NoStream, events()));
    assert!(futures_poll(&mut waits).is_none());
    assert!(futures_poll(&mut dropped).is_none());
    drop(dropped);
    assert!(matches!(any(&writer, 4), Err(Error::Backpressure { .. })));
    gate.open();
    for pending in held {
        pending.await.unwrap();
    }
    assert_eq!(waits.await.unwrap()[0].global_position, 3);
    assert_eq!(writer.stats().rejections.backpressure, 2);
    assert_eq!(writer.log().stream_version("fickle").unwrap(), None);
    writer.clone().close().await.unwrap();
    assert_eq!(writer.log().global_position(), 4);
}

/// Polls once.
fn futures_poll<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn bytes_are_bounded_and_a_request_beyond_the_bound_is_let_in_alone() {
    let disk = disk();
    let (writer, _thread) = Writer::start(store(&disk), &WriterOptions::default().max_bytes(11_000)).unwrap();
    let sized = |len: usize| vec![ProposedEvent::new("Sized", vec![0; len])];
    let gate = Gate::close(&disk, 1);
    let first = writer.try_append("a", ExpectedVersion::Any, sized(6_000)).unwrap();
    let second = writer.try_append("b", ExpectedVersion::Any, sized(3_000)).unwrap();
    assert!(matches!(writer.try_append("c", ExpectedVersion::Any, sized(3_000)), Err(Error::Backpressure { .. })));
    assert!(matches!(writer.try_append("d", ExpectedVersion::Any, sized(50_000)), Err(Error::Backpressure { .. })));
    gate.open();
    first.wait().unwrap();
    second.wait().unwrap();
    assert_eq!(writer.append_blocking("d", ExpectedVersion::Any, sized(50_000)).unwrap().len(), 1);
    assert!(writer.stats().queued_bytes_peak >= 50_000);
}

#[tokio::test]
async fn dropping_a_future_that_is_queued_changes_nothing() {
    let disk = disk();
    let (writer, _thread) = start(&disk);
    let unpolled = writer.append("never", ExpectedVersion::Any, events());
    drop(unpolled);
    let gate = Gate::close(&disk, 1);
    let first = any(&writer, 0).unwrap();
    let mut queued = Box::pin(writer.append("queued", ExpectedVersion::NoStream, events()));
    assert!(futures_poll(&mut queued).is_none());
    drop(queued);
    drop(any(&writer, 1).unwrap());
    gate.open();
    first.await.unwrap();
    writer.clone().close().await.unwrap();
    assert_eq!(writer.log().stream_version("queued").unwrap(), Some(0));
    assert_eq!(writer.log().stream_version("s-1").unwrap(), Some(0));
    assert_eq!(writer.log().stream_version("never").unwrap(), None);
}

#[test]
fn threads_that_append_across_many_segments_are_all_answered() {
    let disk = disk();
    let (writer, thread) = start(&disk);
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let writer = writer.clone();
            std::thread::spawn(move || {
                for round in 0..100_u64 {
                    let stream = format!("s-{}", (caller + round) % 7);
                    let event = ProposedEvent::new("Happened", vec![7; 1500]);
                    writer.append_blocking(stream, ExpectedVersion::Any, vec![event]).unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().unwrap();
    }
    writer.close_blocking().unwrap();
    thread.join();
    let store = store(&disk);
    let events = store.read_all(0, 1000).unwrap();
    assert_eq!(events.len(), 400);
    assert!(events.iter().zip(0..).all(|(event, position)| event.global_position == position));
}

#[test]
fn cold_streams_are_read_beside_the_writer_and_hot_appends_pass_them() {
    use eventfold_io::Operation;
    use eventfold_io::sim::{Fault, When};
    let disk = disk();
    let (writer, thread) = start(&disk);
    for number in 0..200 {
        let event = ProposedEvent::new("Happened", vec![7; 1500]).with_tags(["all"]);
        writer.append_blocking(format!("s-{number}"), ExpectedVersion::NoStream, vec![event]).unwrap();
    }
    writer.close_blocking().unwrap();
    thread.join();
    let (writer, _thread) = start(&disk);
    writer.append_blocking("hot", ExpectedVersion::Any, events()).unwrap();

    let gate = Gate::close(&disk, 0);
    disk.inject(When::on(Operation::Read), Fault::Slow(std::time::Duration::from_secs(1)));
    let query = QueryItem::new().tags(["nobody has this one"]).types(["Happened"]);
    let cold = Append::new().no_match(query, None).expect("s-3", ExpectedVersion::Exact(0)).events("s-3", events());
    let cold = writer.try_append_request(cold).unwrap();
    gate.wait_for_arrival();
    for version in 1..20 {
        let hot = writer.append_blocking("hot", ExpectedVersion::Exact(version - 1), events()).unwrap();
        assert_eq!(hot[0].stream_version, version);
    }
    gate.open();
    assert_eq!(cold.wait().unwrap()[0].stream_version, 1);
}

#[test]
fn appends_that_something_is_read_for_take_no_space_from_others() {
    use eventfold_io::Operation;
    use eventfold_io::sim::{Fault, When};
    let disk = disk();
    let (writer, thread) = start(&disk);
    for number in 0..100 {
        let event = ProposedEvent::new("Happened", vec![7; 1500]);
        writer.append_blocking(format!("s-{number}"), ExpectedVersion::NoStream, vec![event]).unwrap();
    }
    writer.close_blocking().unwrap();
    thread.join();
    let (writer, _thread) = Writer::start(store(&disk), &WriterOptions::default().max_requests(2)).unwrap();
    writer.append_blocking("hot", ExpectedVersion::Any, events()).unwrap();

    let gate = Gate::close(&disk, 0);
    disk.inject(When::on(Operation::Read).always(), Fault::Slow(std::time::Duration::from_secs(1)));
    let cold = |number: u32| writer.try_append(format!("s-{number}"), ExpectedVersion::Exact(0), events());
    let pending = [cold(1).unwrap(), cold(2).unwrap()];
    gate.wait_for_arrival();
    assert_eq!(writer.stats().preparing_requests, 2);
    let error = cold(3).unwrap_err();
    assert!(matches!(error, Error::Backpressure { waiting: 2, .. }), "{error:?}");
    // One in line, and taken back.
    let mut in_line = Box::pin(writer.append("s-4", ExpectedVersion::Exact(0), events()));
    assert!(futures_poll(&mut in_line).is_none());
    drop(in_line);
    // One in line whose turn comes.
    let mut in_line = Box::pin(writer.append("s-5", ExpectedVersion::Exact(0), events()));
    assert!(futures_poll(&mut in_line).is_none());
    for version in 1..5 {
        let hot = writer.try_append("hot", ExpectedVersion::Exact(version - 1), events()).unwrap().wait().unwrap();
        assert_eq!(hot[0].stream_version, version);
    }
    gate.open();
    for pending in pending {
        assert_eq!(pending.wait().unwrap()[0].stream_version, 1);
    }
    let turn = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(in_line).unwrap();
    assert_eq!(turn[0].stream_version, 1);
    let log = writer.log();
    // Its thread makes the space free again after it has handed the last one on.
    while writer.stats().preparing_requests > 0 {
        std::thread::yield_now();
    }
    writer.close_blocking().unwrap();
    assert_eq!(log.stream_version("s-4").unwrap(), Some(0));
}

#[test]
fn handles_are_shared_between_threads() {
    fn assert_shared<T: Clone + Send + Sync + 'static>() {}
    fn assert_send<T: Send + 'static>(_: &T) {}
    assert_shared::<WriterHandle>();
    let (writer, _thread) = start(&disk());
    let writer = Arc::new(writer);
    let shared = writer.clone();
    assert_send(&async move { shared.append("s", ExpectedVersion::Any, events()).await });
    assert_send(&any(&writer, 0).unwrap());
}

/// Appends to a few streams, each handed over before the one before it is answered, and where they stand.
fn handed_over(sequence: Option<&Sequence>) -> Vec<RecordedEvent> {
    // Segments are sealed beside it: what was prepared before has to look at the log again.
    let store = options().background(true).open_on(disk().attach()).unwrap();
    let (writer, _thread) = Writer::start(store, &WriterOptions::default()).unwrap();
    let mut waiting = VecDeque::new();
    let mut answers = Vec::new();
    for number in 0..3000 {
        let event = ProposedEvent::new("Counted", number.to_string()).with_metadata(vec![0; 700]);
        let mut request = AppendRequest::new(Append::new().events(format!("s-{}", number % 7), vec![event]));
        if let Some(sequence) = sequence {
            request = request.in_sequence(sequence.clone());
        }
        while waiting.len() >= 400 || waiting.back().is_some_and(PendingAppend::reads_first) {
            let pending: PendingAppend = waiting.pop_front().unwrap();
            answers.extend(pending.wait().unwrap());
        }
        waiting.push_back(writer.hand_over(request).unwrap());
    }
    for pending in waiting {
        answers.extend(pending.wait().unwrap());
    }
    answers
}

#[test]
fn what_is_in_sequence_stands_in_the_order_in_which_it_was_handed_over() {
    for _ in 0..5 {
        let answers = handed_over(Some(&Sequence::new()));
        for (number, event) in (0..).zip(&answers) {
            assert_eq!((event.global_position, event.stream_version), (number, number / 7));
            assert_eq!(event.payload, number.to_string());
        }
    }
    // So it was not for lack of occasion: without a sequence some are overtaken.
    let overtaken = (0..100).any(|_| !handed_over(None).is_sorted_by_key(|event| event.global_position));
    assert!(overtaken);
}

/// An append that takes about so much of a queue's space.
fn large(stream: &str, len: usize) -> Append {
    Append::new().events(stream, vec![ProposedEvent::new("Happened", vec![1; len])])
}

#[test]
fn what_is_behind_one_that_is_taken_back_is_not_appended_without_it() {
    let disk = disk();
    let options = WriterOptions::default().max_bytes(1 << 20);
    let (writer, _thread) = Writer::start(store(&disk), &options).unwrap();
    let gate = Gate::close(&disk, 1);
    let full = writer.hand_over(large("full", 900_000)).unwrap();
    gate.wait_for_arrival();
    let sequence = Sequence::new();
    let hand_over = |len| writer.hand_over(AppendRequest::new(large("s", len)).in_sequence(sequence.clone())).unwrap();
    // The first does not fit and waits in line, and so does the second, behind it, which would.
    let (first, second) = (hand_over(600_000), hand_over(10));
    drop(first);
    gate.open();
    full.wait().unwrap();
    assert!(matches!(second.wait(), Err(Error::NotReached)));
    assert_eq!(writer.log().global_position(), 1);
}

#[test]
fn dropping_one_that_was_let_in_leaves_its_sequence_as_it_is() {
    let disk = disk();
    let options = WriterOptions::default().max_bytes(1 << 20);
    let (writer, _thread) = Writer::start(store(&disk), &options).unwrap();
    let gate = Gate::close(&disk, 1);
    let full = writer.hand_over(large("full", 600_000)).unwrap();
    gate.wait_for_arrival();
    let sequence = Sequence::new();
    let hand_over = |len| writer.hand_over(AppendRequest::new(large("s", len)).in_sequence(sequence.clone())).unwrap();
    // The first is queued, the second waits in line, and is let in when there is room.
    let (first, second) = (hand_over(10), hand_over(600_000));
    gate.open();
    full.wait().unwrap();
    first.wait().unwrap();
    let gate = Gate::close(&disk, 1);
    let full = writer.hand_over(large("full", 10)).unwrap();
    gate.wait_for_arrival();
    drop(second);
    let third = hand_over(10);
    gate.open();
    full.wait().unwrap();
    third.wait().unwrap();

    // Nor does one that is taken back from the line end what was let in before it.
    let gate = Gate::close(&disk, 1);
    let full = writer.hand_over(large("full", 600_000)).unwrap();
    gate.wait_for_arrival();
    let (before, back) = (hand_over(10), hand_over(600_000));
    drop(back);
    let behind = hand_over(10);
    gate.open();
    full.wait().unwrap();
    before.wait().unwrap();
    assert!(matches!(behind.wait(), Err(Error::NotReached)));
}
