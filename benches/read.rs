//! Benches of reads and subscriptions, each beside what it is compared with, by turns in one run: the limits of
//! `docs/PERFORMANCE.md`. Files lie in the directory that `EVENTFOLD_BENCH_DIR` names, else in the target directory.
//!
//! ```text
//! cargo bench -p eventfold-read --bench read                    # all
//! cargo bench -p eventfold-read --bench read -- subscribers     # some: latency, subscribers, catch-up, live
//! ```
#![expect(clippy::disallowed_methods, reason = "a bench is where the clock and its threads come from")]
#![expect(clippy::cast_precision_loss, reason = "counts and times of a bench are far below 2^52")]

#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "store/support.rs"]
mod support;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use eventfold_read::{ReadIndex, Subscription, SubscriptionEvent};
use eventfold_store::{Append, EventLog, ExpectedVersion, NotStaged, Query, QueryItem, Store};
use futures_core::Stream;

use support::{Random, Source, at_least, at_most, directory, median, quantile, stream};

const STREAMS: usize = 10_000;
const EVENTS_PER_STREAM: usize = 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Without `--bench`, as under `cargo test`, there is nothing to see.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let sections: [(&str, fn()); 4] =
        [("latency", latency), ("subscribers", subscribers), ("catch-up", catch_up), ("live", live)];
    let named = |name: &str| arguments.iter().any(|argument| argument == name);
    let any = sections.iter().any(|(name, _)| named(name));
    for (name, section) in sections {
        if !any || named(name) {
            section();
        }
    }
}

/// A store with ten events in each of ten thousand streams.
fn filled(directory: &std::path::Path) -> (Store, Source) {
    let mut store = Store::builder().segment_size(16 << 20).open(directory).expect("opened");
    let mut source = Source::new(1);
    for _ in 0..EVENTS_PER_STREAM {
        for chunk in 0..STREAMS / 250 {
            let mut append = Append::new();
            for number in chunk * 250..(chunk + 1) * 250 {
                append = append.events(stream(number as u64), vec![source.event()]);
            }
            store.append_all(append).expect("appended");
        }
    }
    (store, source)
}

/// Commits a group of one-event appends to streams that nobody else uses.
fn commit_group(store: &mut Store, source: &mut Source, appends: usize) {
    let log = store.log();
    for _ in 0..appends {
        let id = stream((1 << 32) + source.random.below(1000) as u64);
        let append = Append::new().expect(id, ExpectedVersion::Any).events(id, vec![source.event()]);
        let mut prepared = log.prepare(append).expect("a sound append");
        loop {
            match store.stage(prepared) {
                Ok(_) => break,
                Err(NotStaged::CommitFirst(again)) => {
                    store.commit().expect("committed");
                    prepared = again;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    store.commit().expect("committed");
}

/// How many appends make a group: what 256 callers who wait for each other's commits send.
const GROUP: usize = 256;

/// A writer on a thread of its own that is told how fast to write.
struct Load {
    /// The shortest time between two groups, in nanoseconds; 0 for none, `u64::MAX` to rest.
    pace: Arc<AtomicU64>,
    groups: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    writer: thread::JoinHandle<Store>,
}

const REST: u64 = u64::MAX;

impl Load {
    fn new(mut store: Store, mut source: Source) -> Self {
        let (pace, groups, stop) =
            (Arc::new(AtomicU64::new(REST)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let shared = (pace.clone(), groups.clone(), stop.clone());
        let writer = thread::spawn(move || {
            let (pace, groups, stop) = shared;
            let mut next = Instant::now();
            while !stop.load(Ordering::SeqCst) {
                let now = Instant::now();
                match pace.load(Ordering::SeqCst) {
                    REST => {
                        thread::sleep(Duration::from_millis(1));
                        continue;
                    }
                    nanos => {
                        if now < next {
                            thread::sleep(next - now);
                        }
                        next = now.max(next) + Duration::from_nanos(nanos);
                    }
                }
                commit_group(&mut store, &mut source, GROUP);
                groups.fetch_add(1, Ordering::SeqCst);
            }
            store
        });
        Self { pace, groups, stop, writer }
    }

    fn set(&self, pace: u64) {
        self.pace.store(pace, Ordering::SeqCst);
        // What is under way when it changes is over by then.
        thread::sleep(Duration::from_millis(20));
    }

    /// The time that a group takes at full speed.
    fn full_pace(&self) -> Duration {
        self.set(0);
        let (begun, before) = (Instant::now(), self.groups.load(Ordering::SeqCst));
        thread::sleep(Duration::from_secs(2));
        let groups = self.groups.load(Ordering::SeqCst) - before;
        let pace = begun.elapsed() / u32::try_from(groups.max(1)).expect("a small number");
        self.set(REST);
        pace
    }

    fn stop(self) -> Store {
        self.stop.store(true, Ordering::SeqCst);
        self.writer.join().expect("the writer writes")
    }
}

/// Reads of a stream and of a piece of the log at random, idle and beside a writer at half its full speed.
fn latency() {
    const TURNS: usize = 16;
    println!("Reads beside a writer at half of its full load of groups of {GROUP} appends.");
    let directory = directory();
    let (store, source) = filled(directory.path());
    let index = ReadIndex::new(store.log());
    let load = Load::new(store, source);
    let full = load.full_pace();
    println!("  at full load {:.0} appends/s", GROUP as f64 / full.as_secs_f64());
    let half = u64::try_from(full.as_nanos() * 2).expect("a short time");
    let mut random = Random(7);
    let mut read_stream = || {
        let id = stream(random.below(STREAMS) as u64);
        assert_eq!(index.read_stream(id, 0, 10).expect("read").len(), EVENTS_PER_STREAM);
    };
    idle_and_loaded("10 events of a stream", &load, half, TURNS, &mut read_stream);
    let mut random = Random(8);
    let mut read_log = || {
        let from = random.below(STREAMS * EVENTS_PER_STREAM - 10) as u64;
        assert_eq!(index.read_all(from, 10).expect("read").len(), 10);
    };
    idle_and_loaded("10 events of the log", &load, half, TURNS, &mut read_log);
    let mut head = || {
        let from = index.global_position() - 10;
        assert_eq!(index.read_all(from, 10).expect("read").len(), 10);
    };
    idle_and_loaded("the last 10 events", &load, half, TURNS, &mut head);
    load.stop().close().expect("closed");
}

fn idle_and_loaded(what: &str, load: &Load, half: u64, turns: usize, read: &mut dyn FnMut()) {
    let mut figures = [Vec::new(), Vec::new()];
    let mut turn = |pace: u64| {
        load.set(pace);
        let mut times = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(250) {
            let begun = Instant::now();
            read();
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        load.set(REST);
        times
    };
    drop(turn(REST));
    for _ in 0..turns {
        figures[0].extend(turn(REST));
        figures[1].extend(turn(half));
    }
    let [idle, loaded] = figures;
    let more = format!(
        "idle p50 {:.1} p99 {:.1} us, loaded p50 {:.1} p99 {:.1} us",
        median(&idle),
        quantile(&idle, 0.99),
        median(&loaded),
        quantile(&loaded, 0.99)
    );
    at_most(&format!("p99 loaded / idle, {what}"), quantile(&loaded, 0.99) / quantile(&idle, 0.99), "x", 3.0, &more);
}

/// The writer's rate with a thousand subscriptions asleep, and without.
fn subscribers() {
    println!("The writer beside 1,000 live subscriptions to other streams / beside none.");
    for (appends, groups) in [(1, 1000), (GROUP, 100), (2000, 20)] {
        let directory = directory();
        let mut store = Store::builder().segment_size(64 << 20).open(directory.path()).expect("opened");
        let mut source = Source::new(1);
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for turn in 0..24 {
            let subscribed = turn % 2 == 0;
            let index = ReadIndex::new(store.log());
            let sleeping = if subscribed { asleep(&index, 1000) } else { Vec::new() };
            let begun = Instant::now();
            for _ in 0..groups {
                commit_group(&mut store, &mut source, appends);
            }
            let took = begun.elapsed().as_secs_f64();
            drop(sleeping);
            // The first two warm up.
            if turn >= 2 {
                if subscribed { with.push(took) } else { without.push(took) }
            }
        }
        let rate = |times: &[f64]| (appends * groups) as f64 / median(times);
        let more = format!("{:.0} and {:.0} appends/s", rate(&with), rate(&without));
        at_least(&format!("groups of {appends}"), median(&without) / median(&with), "x", 0.9, &more);
        store.close().expect("closed");
    }
}

/// So many subscriptions to streams that nothing comes for, all waiting.
fn asleep(index: &ReadIndex, count: usize) -> Vec<Subscription> {
    let mut waiting: Vec<_> = (0..count)
        .map(|number| index.subscribe_stream(format!("nothing-{number}"), 0).expect("a stream's name"))
        .collect();
    for subscription in &mut waiting {
        let first = block_on(std::future::poll_fn(|context| Pin::new(&mut *subscription).poll_next(context)));
        assert!(matches!(first, Some(Ok(SubscriptionEvent::CaughtUp { .. }))));
        assert!(Pin::new(subscription).poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    waiting
}

/// How fast history is read, in a row of batches.
fn catch_up() {
    println!("Catching up with {} events of {} bytes.", STREAMS * EVENTS_PER_STREAM, support::PAYLOAD_LEN);
    let directory = directory();
    let (store, _) = filled(directory.path());
    let index = ReadIndex::new(store.log());
    let all = (STREAMS * EVENTS_PER_STREAM) as u64;
    let types = || Query::from(QueryItem::new().types([support::EVENT_TYPE]));
    let mut figures: [Vec<f64>; 5] = Default::default();
    for _ in 0..7 {
        let runs: [&dyn Fn() -> u64; 5] = [
            &|| scanned(index.log()),
            &|| index.events(0).flatten().count() as u64,
            &|| blocking(&index, Query::all(), all),
            &|| streamed(&index, Query::all(), all),
            &|| streamed(&index, types(), all),
        ];
        for (times, run) in figures.iter_mut().zip(runs) {
            let begun = Instant::now();
            assert_eq!(run(), all);
            times.push(begun.elapsed().as_secs_f64());
        }
    }
    let names = ["borrowed scan", "iterator", "blocking subscription", "stream", "stream of a type"];
    for (name, times) in names.iter().zip(&figures) {
        println!("  {name:<24} {:>6.2} million events/s", all as f64 / median(times) / 1e6);
    }
    store.close().expect("closed");
}

fn scanned(log: &EventLog) -> u64 {
    let snapshot = log.snapshot();
    let mut count = 0;
    let scanned = snapshot.scan(0).for_each(|_| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    });
    scanned.expect("read");
    count
}

fn blocking(index: &ReadIndex, query: Query, until: u64) -> u64 {
    let items = index.subscribe_blocking(query, 0).expect("a valid query");
    let mut events = 0;
    for item in items {
        match item.expect("read") {
            SubscriptionEvent::Event(_) => events += 1,
            SubscriptionEvent::CaughtUp { position } if position >= until => break,
            _ => {}
        }
    }
    events
}

fn streamed(index: &ReadIndex, query: Query, until: u64) -> u64 {
    let mut subscription = index.subscribe(query, 0).expect("a valid query");
    let mut events = 0;
    block_on(std::future::poll_fn(|context| {
        while let Poll::Ready(item) = Pin::new(&mut subscription).poll_next(context) {
            match item.expect("the log goes on").expect("read") {
                SubscriptionEvent::Event(_) => events += 1,
                SubscriptionEvent::CaughtUp { position } if position >= until => return Poll::Ready(()),
                _ => {}
            }
        }
        Poll::Pending
    }));
    events
}

/// From just before an event is published until a subscriber has it.
fn live() {
    println!("From publishing one event to a subscriber that has it.");
    for blocking in [true, false] {
        let directory = directory();
        let mut store = Store::open(directory.path()).expect("opened");
        let mut source = Source::new(1);
        let index = ReadIndex::new(store.log());
        let (has_it, arrivals) = mpsc::channel();
        let subscription = index.subscribe(Query::all(), 0).expect("a valid query");
        let reader = thread::spawn(move || {
            let tell = |item: Result<SubscriptionEvent, _>| {
                if let SubscriptionEvent::Event(_) = item.expect("read") {
                    has_it.send(Instant::now()).expect("somebody listens");
                }
            };
            if blocking {
                subscription.into_blocking().for_each(tell);
            } else {
                let mut subscription = subscription;
                block_on(std::future::poll_fn(|context| {
                    loop {
                        match Pin::new(&mut subscription).poll_next(context) {
                            Poll::Ready(Some(item)) => tell(item),
                            Poll::Ready(None) => return Poll::Ready(()),
                            Poll::Pending => return Poll::Pending,
                        }
                    }
                }));
            }
        });
        let log = store.log();
        let (mut times, mut commits) = (Vec::new(), Vec::new());
        for _ in 0..5000 {
            let begun = Instant::now();
            let append = Append::new().events(stream(1), vec![source.event()]);
            assert!(store.stage(log.prepare(append).expect("a sound append")).is_ok());
            let committed = store.begin_commit().expect("a sound store").expect("something is staged").run();
            let published = Instant::now();
            store.finish_commit(committed).expect("committed");
            commits.push(begun.elapsed().as_secs_f64() * 1e6);
            let arrived = arrivals.recv().expect("it comes");
            times.push(arrived.duration_since(published).as_secs_f64() * 1e6);
        }
        println!(
            "  {:<12} p50 {:>6.1} us, p99 {:>6.1} us; the commit itself p50 {:.1} us",
            if blocking { "on a thread" } else { "as a stream" },
            median(&times),
            quantile(&times, 0.99),
            median(&commits),
        );
        store.close().expect("closed");
        reader.join().expect("the subscriber ends");
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
