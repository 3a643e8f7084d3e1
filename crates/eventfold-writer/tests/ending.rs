//! How a writer ends: closed, dropped, failed, and what those are told who still wait.
#![expect(clippy::disallowed_methods, reason = "a test starts callers of its own, and says when their deadlines are")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eventfold_io::sim::{Fault, SimDisk, When};
use eventfold_io::{IoErrorKind, Operation};
use eventfold_store::{Append, Error, ErrorKind, ExpectedVersion, ProposedEvent, QueryItem, Store, TailEnd};
use eventfold_writer::{AppendRequest, Writer, WriterHandle, WriterOptions, spawn_writer};

use support::{Gate, World, disk, events, options, store};

#[tokio::test]
async fn dropping_all_handles_commits_what_is_queued_and_closes_the_store() {
    let disk = disk();
    let (writer, task) = spawn_writer(store(&disk), 100);
    let gate = Gate::close(&disk, 1);
    let pending: Vec<_> = (0..5)
        .map(|number| writer.try_append(format!("s-{number}"), ExpectedVersion::Any, events()).unwrap())
        .collect();
    drop(pending);
    drop(writer.clone());
    drop(writer);
    gate.open();
    task.await.unwrap();
    let store = store(&disk);
    assert_eq!(store.global_position(), 5);
    assert_eq!(store.recovery_report().end, Some(TailEnd::Closed));
}

#[tokio::test]
async fn closing_answers_all_who_were_there_before_also_those_in_line() {
    let disk = disk();
    let (writer, thread) = Writer::start(store(&disk), &WriterOptions::default().max_requests(1)).unwrap();
    let gate = Gate::close(&disk, 1);
    let first = writer.try_append("first", ExpectedVersion::Any, events()).unwrap();
    gate.wait_for_arrival();
    let blocked = {
        let writer = writer.clone();
        let in_line = tokio::task::spawn(async move { writer.append("second", ExpectedVersion::Any, events()).await });
        tokio::task::yield_now().await;
        in_line
    };
    let closing = {
        let writer = writer.clone();
        std::thread::spawn(move || writer.close_blocking())
    };
    while !writer.is_closed() {
        std::thread::yield_now();
    }
    let error = writer.append("late", ExpectedVersion::Any, events()).await.unwrap_err();
    assert!(matches!(error, Error::Closed), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Reopen);
    assert!(matches!(writer.try_append("late", ExpectedVersion::Any, events()), Err(Error::Closed)));
    gate.open();
    assert_eq!(first.await.unwrap()[0].global_position, 0);
    assert_eq!(blocked.await.unwrap().unwrap()[0].global_position, 1);
    closing.join().unwrap().unwrap();
    writer.close().await.unwrap();
    thread.join();
    assert_eq!(store(&disk).recovery_report().end, Some(TailEnd::Closed));
}

#[tokio::test]
async fn a_failed_sync_is_told_to_the_group_and_stops_all_that_comes_later() {
    let disk = disk();
    let (writer, _thread) = Writer::start(store(&disk), &WriterOptions::default()).unwrap();
    writer.append("s", ExpectedVersion::Any, events()).await.unwrap();
    let gate = Gate::close(&disk, 1);
    let good = writer.try_append("good", ExpectedVersion::Any, events()).unwrap();
    gate.wait_for_arrival();
    disk.inject(When::on(Operation::SyncData).of("*.segment"), Fault::Fail(IoErrorKind::Other));
    let lost: Vec<_> = (0..40).map(|_| writer.try_append("lost", ExpectedVersion::Any, events()).unwrap()).collect();
    let refused = writer.try_append("lost", ExpectedVersion::NoStream, events()).unwrap();
    gate.open();
    good.await.unwrap();
    for pending in lost {
        let error = pending.await.unwrap_err();
        assert!(matches!(error, Error::OutcomeUnknown { cause: Some(_) }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Unknown);
    }
    // What it was refused for may not be there after all.
    assert!(matches!(refused.await, Err(Error::Poisoned { .. })));
    let error = writer.append("s", ExpectedVersion::Any, events()).await.unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error:?}");
    assert_eq!(writer.log().global_position(), 2);
    assert_eq!(writer.log().read_stream("good", 0, 10).unwrap().len(), 1);
    assert!(matches!(writer.clone().close().await, Err(Error::Poisoned { .. })));
    assert!(matches!(writer.clone().close().await, Err(Error::Closed)), "it is told once");
    let rejections = writer.stats().rejections;
    assert_eq!((rejections.outcome_unknown, rejections.stopped), (40, 2));
    disk.clear_faults();
    assert!(store(&disk).global_position() >= 2);
}

#[tokio::test]
async fn a_full_disk_refuses_an_append_and_takes_others_when_there_is_space() {
    let disk = disk();
    let (writer, _thread) = Writer::start(store(&disk), &WriterOptions::default()).unwrap();
    writer.append("s", ExpectedVersion::Any, events()).await.unwrap();
    disk.inject(When::on(Operation::Allocate).always(), Fault::Fail(IoErrorKind::StorageFull));
    let large = || vec![ProposedEvent::new("Large", vec![0; 300 << 10])];
    let error = writer.append("s", ExpectedVersion::Any, large()).await.unwrap_err();
    assert!(matches!(error, Error::StorageFull { .. }), "{error:?}");
    disk.clear_faults();
    assert_eq!(writer.append("s", ExpectedVersion::Any, large()).await.unwrap()[0].stream_version, 1);
    assert_eq!(writer.stats().rejections.storage_full, 1);
    writer.close().await.unwrap();
}

#[tokio::test]
async fn a_panic_is_caught_told_and_stops_the_writer() {
    let disk = disk();
    let world = Arc::new(World::default());
    let store = options().environment(world.clone()).open_on(disk.attach()).unwrap();
    let (writer, task) = spawn_writer(store, 100);
    writer.append("s", ExpectedVersion::Any, events()).await.unwrap();
    let gate = Gate::close(&disk, 1);
    let first = writer.try_append("s", ExpectedVersion::Any, events()).unwrap();
    gate.wait_for_arrival();
    world.panics.store(true, Ordering::SeqCst);
    let second = writer.try_append("s", ExpectedVersion::Any, events()).unwrap();
    let third = writer.try_append("s", ExpectedVersion::Any, events()).unwrap();
    gate.open();
    first.await.unwrap();
    assert!(matches!(second.await, Err(Error::OutcomeUnknown { cause: Some(_) })));
    assert!(matches!(third.await, Err(Error::Poisoned { .. })));
    task.await.unwrap();
    let report = writer.last_panic().unwrap();
    assert_eq!((report.message.as_str(), report.count), ("the clock has stopped", 1));
    assert!(report.location.unwrap().contains("support/mod.rs"));
    assert!(report.backtrace.contains("unix_ms"), "{}", report.backtrace);
    assert_eq!(writer.stats().panics, 1);
    let error = writer.append("s", ExpectedVersion::Any, events()).await.unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error:?}");
    assert!(matches!(writer.clone().close().await, Err(Error::Poisoned { .. })));
    assert_eq!(writer.log().read_stream("s", 0, 10).unwrap().len(), 2);
    // The lock is let go of, and what was acknowledged is there.
    assert_eq!(support::store(&disk).global_position(), 2);
}

#[tokio::test]
async fn past_its_deadline_a_caller_is_told_that_it_is_not_known_and_the_append_may_stand() {
    let disk = disk();
    let (writer, _thread) = Writer::start(store(&disk), &WriterOptions::default()).unwrap();
    let gate = Gate::close(&disk, 1);
    let request = |stream: &str| {
        let append = Append::new().events(stream, events());
        AppendRequest::new(append).deadline(Instant::now() + Duration::from_millis(5))
    };
    let error = writer.append_request(request("async")).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { cause: None }), "{error:?}");
    assert_eq!(error.to_string(), "it is not known whether the append stands: no answer came in time");
    let error = writer.append_request_blocking(request("blocking")).unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { cause: None }), "{error:?}");
    gate.open();
    writer.append("after", ExpectedVersion::Any, events()).await.unwrap();
    assert_eq!(writer.log().global_position(), 3, "both stand, once");
    assert_eq!(writer.stats().rejections.outcome_unknown, 2);
}

/// A waker that does nothing.
struct Deaf;

impl std::task::Wake for Deaf {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_task_that_no_runtime_of_tokio_runs_waits_for_its_answer_without_a_deadline() {
    let disk = disk();
    let (writer, _thread) = Writer::start(store(&disk), &WriterOptions::default()).unwrap();
    let request = AppendRequest::new(Append::new().events("s", events())).deadline(Instant::now());
    let mut answer = Box::pin(writer.append_request(request));
    let waker = Arc::new(Deaf).into();
    let mut context = std::task::Context::from_waker(&waker);
    let events = loop {
        if let std::task::Poll::Ready(answer) = answer.as_mut().poll(&mut context) {
            break answer.unwrap();
        }
        std::thread::yield_now();
    };
    assert_eq!(events[0].stream_version, 0);
}

#[test]
fn a_request_in_line_whose_deadline_passes_is_taken_back() {
    let disk = disk();
    let (writer, _thread) = Writer::start(store(&disk), &WriterOptions::default().max_requests(1)).unwrap();
    let gate = Gate::close(&disk, 1);
    let first = writer.try_append("first", ExpectedVersion::Any, events()).unwrap();
    let append = Append::new().events("late", events());
    let request = AppendRequest::new(append).deadline(Instant::now() + Duration::from_millis(5));
    assert!(matches!(writer.append_request_blocking(request), Err(Error::OutcomeUnknown { cause: None })));
    gate.open();
    first.wait().unwrap();
    writer.clone().close_blocking().unwrap();
    assert_eq!(writer.log().global_position(), 1);
}

#[test]
fn when_nothing_comes_for_a_moment_the_last_group_is_vouched_for() {
    let disk = disk();
    let (writer, _thread) = Writer::start(store(&disk), &WriterOptions::default()).unwrap();
    writer.append_blocking("s", ExpectedVersion::Any, events()).unwrap();
    let before = disk.operations();
    while disk.operations() == before {
        std::thread::yield_now();
    }
    disk.crash(&eventfold_io::sim::Keep::Everything);
    let store = options().open_on(disk.attach()).unwrap();
    assert_eq!((store.global_position(), store.recovery_report().unproven_events()), (1, 0));
}

/// A store of which most is cold, so that preparing an append to it has to read.
fn cold(disk: &SimDisk) -> WriterHandle {
    let (writer, thread) = Writer::start(store(disk), &WriterOptions::default()).unwrap();
    for number in 0..100 {
        let event = ProposedEvent::new("Happened", vec![7; 1500]);
        writer.append_blocking(format!("s-{number}"), ExpectedVersion::NoStream, vec![event]).unwrap();
    }
    writer.close_blocking().unwrap();
    thread.join();
    Writer::start(store(disk), &WriterOptions::default()).unwrap().0
}

/// Calls `hook` on this thread of the writer whenever it does this.
fn on(disk: &SimDisk, operation: Operation, thread: &'static str, hook: impl Fn() + Send + Sync + 'static) {
    let within = AtomicBool::new(false);
    disk.on_delay(move |_| {
        if std::thread::current().name() == Some(thread) && !within.swap(true, Ordering::SeqCst) {
            hook();
            within.store(false, Ordering::SeqCst);
        }
    });
    disk.inject(When::on(operation).always(), Fault::Slow(Duration::from_secs(1)));
}

#[test]
fn an_append_whose_conditions_are_outrun_each_time_is_refused_as_busy() {
    let disk = disk();
    let writer = cold(&disk);
    let (faster, for_hook) = (writer.clone(), disk.clone());
    let outrun = Mutex::new(0);
    disk.on_delay(move |_| {
        assert_eq!(std::thread::current().name(), Some("eventfold-prepare"));
        *outrun.lock().unwrap() += 1;
        for _ in 0..4 {
            // Each fills a segment, so that what was looked up lies behind what is in memory.
            let events = vec![ProposedEvent::new("Happened", vec![7; 50_000])];
            faster.append_blocking("fast", ExpectedVersion::Any, events).unwrap();
        }
        // One that the next round reads, and this one does not know.
        let segments: Vec<_> = for_hook.names().into_iter().filter(|name| name.ends_with(".segment")).collect();
        let sealed = &segments[segments.len() - 4];
        for_hook.inject(When::on(Operation::Read).of(sealed), Fault::Slow(Duration::from_secs(1)));
    });
    disk.inject(When::on(Operation::Read), Fault::Slow(Duration::from_secs(1)));
    let append = Append::new().no_match(QueryItem::new().types(["Missing"]), None).events("slow", events());
    let error = writer.try_append_request(append).unwrap().wait().unwrap_err();
    assert!(matches!(error, Error::Busy { rounds: 8 }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert_eq!(writer.stats().rejections.busy, 1);
    disk.clear_faults();
    assert_eq!(writer.log().stream_version("slow").unwrap(), None);
    writer.close_blocking().unwrap();
}

#[test]
fn a_panic_while_an_append_is_prepared_is_told_and_stops_the_writer() {
    let disk = disk();
    let writer = cold(&disk);
    on(&disk, Operation::Read, "eventfold-prepare", || panic!("out of paper"));
    let pending = writer.try_append("s-3", ExpectedVersion::Exact(0), events()).unwrap();
    assert!(matches!(pending.wait(), Err(Error::OutcomeUnknown { cause: Some(_) })));
    let report = writer.last_panic().unwrap();
    assert_eq!((report.message.as_str(), report.count), ("out of paper", 1));
    disk.clear_faults();
    let error = writer.append_blocking("s-4", ExpectedVersion::Exact(0), events()).unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error:?}");
    assert!(matches!(writer.close_blocking(), Err(Error::Poisoned { .. })));
}

#[test]
fn a_panic_while_a_group_is_synced_elsewhere_stops_the_writer() {
    let disk = disk();
    let (writer, thread) = Writer::start(store(&disk), &WriterOptions::default()).unwrap();
    on(&disk, Operation::SyncData, "eventfold-sync", || panic!("out of ink"));
    // Until one group is large enough, beside a sync that costs nothing, to be committed on a thread of its own.
    let error = loop {
        let pending: Vec<_> =
            (0..100).map_while(|_| writer.try_append("s", ExpectedVersion::Any, events()).ok()).collect();
        if let Some(error) = pending.into_iter().find_map(|pending| pending.wait().err()) {
            break error;
        }
    };
    assert!(matches!(error, Error::OutcomeUnknown { cause: Some(_) }), "{error:?}");
    thread.join();
    let report = writer.last_panic().unwrap();
    assert_eq!((report.message.as_str(), report.count), ("out of ink", 1));
    assert!(matches!(writer.append_blocking("s", ExpectedVersion::Any, events()), Err(Error::Poisoned { .. })));
}

/// A waker that panics.
struct Broken;

impl std::task::Wake for Broken {
    fn wake(self: Arc<Self>) {
        panic!("not now");
    }
}

#[test]
fn a_caller_whose_waker_panics_harms_no_other() {
    let disk = disk();
    let (writer, _thread) = Writer::start(store(&disk), &WriterOptions::default()).unwrap();
    let gate = Gate::close(&disk, 1);
    let mut broken = writer.try_append("s", ExpectedVersion::Any, events()).unwrap();
    let waker = Arc::new(Broken).into();
    let mut context = std::task::Context::from_waker(&waker);
    assert!(std::pin::Pin::new(&mut broken).poll(&mut context).is_pending());
    let others: Vec<_> = (0..3).map(|_| writer.try_append("s", ExpectedVersion::Any, events()).unwrap()).collect();
    gate.open();
    for other in others {
        other.wait().unwrap();
    }
    assert_eq!(broken.wait().unwrap()[0].stream_version, 0);
    writer.close_blocking().unwrap();
}

#[test]
fn a_store_that_is_only_read_says_so() {
    let disk = disk();
    drop(store(&disk));
    let store = options().read_only(true).open_on(disk.attach()).unwrap();
    let (writer, _thread) = Writer::start(store, &WriterOptions::default()).unwrap();
    let error = writer.append_blocking("s", ExpectedVersion::Any, events()).unwrap_err();
    assert!(matches!(error, Error::ReadOnly), "{error:?}");
}

/// Remembers what was said at warn and above.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<String>>>);

struct Text<'a>(&'a mut String);

impl tracing::field::Visit for Text<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write as _;
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl tracing::Subscriber for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = String::new();
        event.record(&mut Text(&mut text));
        self.0.lock().unwrap().push(text);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn an_answer_that_nobody_waits_for_is_logged_without_its_payload() {
    let listener = Listener::default();
    // For all threads of this process: the writer's are among them.
    tracing::subscriber::set_global_default(listener.clone()).unwrap();
    let disk = disk();
    let store: Store = store(&disk);
    let (writer, thread) = Writer::start(store, &WriterOptions::default()).unwrap();
    let gate = Gate::close(&disk, 1);
    let secret = vec![ProposedEvent::new("Happened", "a secret")];
    let stream = eventfold_store::StreamName::new("unheard").unwrap().id();
    drop(writer.try_append("unheard", ExpectedVersion::Any, secret).unwrap());
    gate.open();
    drop(writer);
    thread.join();
    let said = listener.0.lock().unwrap().clone();
    let of_this = |line: &&String| line.contains(&format!("stream={stream}"));
    let said_of_this: Vec<_> = said.iter().filter(of_this).collect();
    assert!(matches!(said_of_this[..], [line] if line.contains("an append that stands")), "{said:?}");
    assert!(said.iter().all(|line| !line.contains("secret")), "{said:?}");
}
