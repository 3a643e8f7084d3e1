//! Subscriptions beside those who append: whenever one starts and however slow it is, it yields each event that it is for once,
//! in order and without a gap.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]
#![expect(clippy::disallowed_methods, reason = "who appends and who subscribes are tasks")]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use eventfold_db::{
    Append, BatchLimits, BlockingSubscription, Error, EventfoldDb, ExpectedVersion, MIN_SEGMENT_SIZE, MemoryDirectory,
    ProposedEvent, Query, QueryItem, ReadIndex, RecordedEvent, Store, Subscription, SubscriptionEvent,
    SubscriptionOptions, WriterHandle,
};
use eventfold_tests::Random;
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

/// Nothing here takes a fraction of this. It is there so that what hangs is told.
const HANGS: Duration = Duration::from_mins(1);

const WRITERS: u64 = 4;
const APPENDS: u64 = 120;
const STREAMS: u64 = 5;
const TYPES: [&str; 2] = ["Even", "Odd"];

fn open(directory: &MemoryDirectory) -> EventfoldDb {
    // Little is in memory, so that subscriptions read from all over the place.
    let store = Store::builder().segment_size(MIN_SEGMENT_SIZE).hot_tail_bytes(1 << 14).cache_bytes(1 << 17);
    EventfoldDb::builder().store(store).open_on(directory.disk()).unwrap()
}

/// Some forty of these fill a segment.
fn event(event_type: &str, tag: u64) -> ProposedEvent {
    ProposedEvent::new(event_type, vec![7; 1500]).with_tags([format!("tag-{tag}")])
}

/// Appends of one to three events to one or two streams.
async fn write(writer: WriterHandle, mut random: Random) {
    for _ in 0..APPENDS {
        let mut append = Append::new();
        for _ in 0..=random.below(2) {
            let stream = format!("{}-{}", random.pick(&["account", "course"]), random.below(STREAMS));
            let events = (0..=random.below(2)).map(|_| event(random.pick(&TYPES), random.below(9)));
            append = append.events(stream, events.collect());
        }
        writer.append_request(append).await.unwrap();
    }
}

/// Everything that can be subscribed to.
#[derive(Clone, Debug)]
enum Topic {
    Query(Query),
    Stream { name: String, from_version: u64 },
}

fn topics() -> Vec<Topic> {
    vec![
        Topic::Query(Query::all()),
        Topic::Stream { name: "account-1".to_owned(), from_version: 0 },
        Topic::Stream { name: "course-2".to_owned(), from_version: 17 },
        Topic::Query(QueryItem::new().stream("account-3").into()),
        Topic::Query(QueryItem::new().stream_prefix("course-").into()),
        Topic::Query(QueryItem::new().types(["Odd"]).tags(["tag-3"]).into()),
        Topic::Query(Query::item(QueryItem::new().tags(["tag-1"])).or(QueryItem::new().stream_prefix("account-4"))),
        Topic::Query(QueryItem::new().types(["Never"]).into()),
    ]
}

impl Topic {
    fn subscribe(&self, reads: &ReadIndex, from: u64) -> Subscription {
        match self {
            Self::Query(query) => reads.subscribe(query.clone(), from),
            Self::Stream { name, from_version } => reads.subscribe_stream(name, *from_version),
        }
        .unwrap()
    }

    /// What it should have yielded of a log that has ended, found another way.
    fn expected(&self, reads: &ReadIndex, from: u64) -> Vec<RecordedEvent> {
        match self {
            Self::Query(query) => reads.query(query.clone(), from, u64::MAX),
            Self::Stream { name, from_version } => reads.read_stream(name, *from_version, u64::MAX),
        }
        .unwrap()
    }
}

type Item = Option<Result<SubscriptionEvent, Error>>;

/// A subscription in one of its two forms.
enum Subscriber {
    Task(Subscription),
    Thread(BlockingSubscription),
}

impl Subscriber {
    async fn next(&mut self) -> Item {
        match self {
            Self::Task(subscription) => timeout(HANGS, subscription.next()).await.expect("something comes"),
            Self::Thread(subscription) => tokio::task::block_in_place(|| match subscription.next_timeout(HANGS) {
                Poll::Ready(item) => item,
                Poll::Pending => panic!("something comes"),
            }),
        }
    }

    /// Everything until the log ends. One that is slow goes on only when the log is so much longer, or has ended.
    async fn collect(mut self, reads: &ReadIndex, lag: u64) -> Vec<SubscriptionEvent> {
        let mut items = Vec::new();
        while let Some(item) = self.next().await {
            items.push(item.unwrap());
            if lag > 0 && items.len() % 5 == 0 {
                drop(timeout(HANGS, reads.wait_until(reads.global_position() + lag)).await.expect("the log ends"));
            }
        }
        items
    }
}

/// What is yielded is what was expected, and each position that is told is right.
fn check(items: &[SubscriptionEvent], expected: &[RecordedEvent], what: &dyn std::fmt::Debug) {
    let (mut yielded, mut told) = (0, 0);
    for item in items {
        match item {
            SubscriptionEvent::Event(event) => {
                let place = (event.global_position, event.stream_version);
                assert!(expected.get(yielded) == Some(event), "{what:?}: {place:?} as number {yielded}");
                yielded += 1;
                told = event.global_position + 1;
            }
            SubscriptionEvent::CaughtUp { position } | SubscriptionEvent::Checkpoint { position } => {
                assert!(*position >= told, "{what:?}: {position} after {told}");
                let below = expected.partition_point(|event| event.global_position < *position);
                assert_eq!(below, yielded, "{what:?}: all below {position} was yielded");
                told = *position;
            }
            other => panic!("{what:?}: {other:?}"),
        }
    }
    assert_eq!(yielded, expected.len(), "{what:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whenever_one_starts_under_load_it_sees_each_event_once() {
    let directory = MemoryDirectory::new();
    let db = open(&directory);
    let writers: Vec<_> =
        (0..WRITERS).map(|number| tokio::spawn(write(db.writer().clone(), Random::new(number)))).collect();
    let mut subscribers = Vec::new();
    for round in 0..6_u64 {
        // Spread over the time that the writers take: they append at least one event each time.
        let started = db.reads().wait_until(round * WRITERS * APPENDS / 6).await.unwrap();
        for (number, topic) in (0..).zip(topics()) {
            let from = [0, started, started / 2, started + 50][usize::try_from((round + number) % 4).unwrap()];
            let events = 1 + usize::try_from(number * 7).unwrap();
            let options = SubscriptionOptions::default()
                .batch(BatchLimits { events, bytes: 1 << 16, positions: 100 })
                .checkpoint_interval(1 + 40 * (round % 3));
            let subscription = topic.subscribe(db.reads(), from).with_options(options);
            let as_thread = (round + number) % 3 == 0;
            let subscriber = if as_thread {
                Subscriber::Thread(subscription.into_blocking())
            } else {
                Subscriber::Task(subscription)
            };
            let (reads, lag) = (db.reads().clone(), [0, 1, 90][usize::try_from((round + number / 2) % 3).unwrap()]);
            let collecting = tokio::spawn(async move { subscriber.collect(&reads, lag).await });
            subscribers.push((topic, from, collecting));
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let reads = db.reads().clone();
    db.close().await.unwrap();
    let segments = directory.disk().list().unwrap().iter().filter(|name| name.ends_with(".segment")).count();
    assert!(segments > 8, "subscriptions go over many borders, not {segments}");
    let mut caught_up = 0;
    for (topic, from, collecting) in subscribers {
        let items = collecting.await.unwrap();
        check(&items, &topic.expected(&reads, from), &(topic, from));
        caught_up += items.iter().filter(|item| matches!(item, SubscriptionEvent::CaughtUp { .. })).count();
    }
    assert!(caught_up > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_is_a_whole_log_behind_catches_up() {
    let directory = MemoryDirectory::new();
    let db = open(&directory);
    let mut early = db.reads().subscribe(Query::all(), 0).unwrap();
    assert!(matches!(early.next().await, Some(Ok(SubscriptionEvent::CaughtUp { position: 0 }))));
    for number in 0..300 {
        db.append("account-1", ExpectedVersion::Any, vec![event("Even", number)]).await.unwrap();
    }
    for position in 0..300 {
        let item = timeout(HANGS, early.next()).await.unwrap();
        assert!(matches!(&item, Some(Ok(SubscriptionEvent::Event(event))) if event.global_position == position));
        assert_eq!(early.position(), position + 1);
    }
    assert!(matches!(early.next().await, Some(Ok(SubscriptionEvent::CaughtUp { position: 300 }))));
    db.close().await.unwrap();
    assert!(early.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_goes_on_after_reopening_has_no_gap() {
    let directory = MemoryDirectory::new();
    let mut random = Random::new(3);
    let queries: Vec<_> = topics()
        .into_iter()
        .filter_map(|topic| match topic {
            Topic::Query(query) => Some(query),
            Topic::Stream { .. } => None,
        })
        .collect();
    let mut seen: Vec<Vec<SubscriptionEvent>> = vec![Vec::new(); queries.len()];
    let mut positions = vec![0; queries.len()];
    for life in 0..4 {
        let db = open(&directory);
        let writers: Vec<_> =
            (0..2).map(|number| tokio::spawn(write(db.writer().clone(), Random::new(10 * life + number)))).collect();
        let following = queries.iter().zip(&positions).map(|(query, from)| {
            let subscription = db.reads().subscribe(query.clone(), *from).unwrap();
            let subscriber = match random.below(2) {
                0 => Subscriber::Task(subscription),
                _ => Subscriber::Thread(subscription.into_blocking()),
            };
            // The last life is followed to its end.
            let most = if life == 3 { usize::MAX } else { usize::try_from(random.below(150)).unwrap() };
            tokio::spawn(some_items(subscriber, most))
        });
        let following: Vec<_> = following.collect();
        for writer in writers {
            writer.await.unwrap();
        }
        db.close().await.unwrap();
        for ((seen, position), following) in seen.iter_mut().zip(&mut positions).zip(following) {
            let items = following.await.unwrap();
            // What somebody would have kept beside what the events were for.
            *position = match items.last() {
                Some(SubscriptionEvent::Event(event)) => event.global_position + 1,
                Some(
                    SubscriptionEvent::CaughtUp { position: told } | SubscriptionEvent::Checkpoint { position: told },
                ) => *told,
                Some(other) => panic!("{other:?}"),
                None => *position,
            };
            seen.extend(items);
        }
    }
    let db = open(&directory);
    for (query, items) in queries.into_iter().zip(seen) {
        check(&items, &db.reads().query(query.clone(), 0, u64::MAX).unwrap(), &query);
    }
}

/// The first items, and no more: it is dropped in the middle.
async fn some_items(mut subscriber: Subscriber, most: usize) -> Vec<SubscriptionEvent> {
    let mut items = Vec::new();
    while items.len() < most
        && let Some(item) = subscriber.next().await
    {
        items.push(item.unwrap());
    }
    items
}

/// Counts how often it is woken. Who holds it, has it in mind.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn poll(self: &Arc<Self>, subscription: &mut Subscription) -> Poll<Item> {
        let waker = Waker::from(self.clone());
        Pin::new(subscription).poll_next(&mut Context::from_waker(&waker))
    }
}

/// Waits until nobody has this in mind.
async fn forgotten(wakes: &Arc<Wakes>) {
    let forgotten = async {
        while Arc::strong_count(wakes) > 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(HANGS, forgotten).await.expect("what is dropped is forgotten");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_that_are_dropped_leave_no_trace() {
    let directory = MemoryDirectory::new();
    let disk = directory.disk();
    let db = EventfoldDb::builder().open_on(disk.clone()).unwrap();
    for number in 0..100 {
        db.append("account-1", ExpectedVersion::Any, vec![event("Even", number)]).await.unwrap();
    }
    let all = || db.reads().subscribe(Query::all(), 0).unwrap();
    // Not polled, with a read under way, in the middle of a batch, and asleep.
    drop(all());
    let wakes = Arc::<Wakes>::default();
    let mut reading = all();
    assert!(wakes.poll(&mut reading).is_pending());
    drop(reading);
    forgotten(&wakes).await;
    let mut handing = all();
    assert!(matches!(handing.next().await, Some(Ok(SubscriptionEvent::Event(_)))));
    drop(handing);
    let mut asleep: Vec<_> = (0..2000).map(|number| (all(), Arc::<Wakes>::default(), number)).collect();
    for (subscription, wakes, number) in &mut asleep {
        *subscription = db.reads().subscribe_stream(format!("account-{number}"), 100).unwrap();
        assert!(matches!(subscription.next().await, Some(Ok(SubscriptionEvent::CaughtUp { position: 100 }))));
        assert!(wakes.poll(subscription).is_pending());
    }
    let wakes: Vec<_> = asleep.drain(..).map(|(_, wakes, _)| wakes).collect();
    for wakes in &wakes {
        forgotten(wakes).await;
    }
    let woken = |wakes: &[Arc<Wakes>]| wakes.iter().map(|wakes| wakes.0.load(Ordering::SeqCst)).sum::<usize>();
    let before = woken(&wakes);
    for number in 0..100 {
        db.append(format!("account-{number}"), ExpectedVersion::Any, vec![event("Odd", 0)]).await.unwrap();
    }
    assert_eq!(woken(&wakes), before);
    // With the store, all that it and its readers had of the disk is let go of.
    let reads = db.reads().clone();
    db.close().await.unwrap();
    drop(reads);
    let let_go = async {
        while Arc::strong_count(&disk) > 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(HANGS, let_go).await.expect("nobody has the disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thousands_follow_at_once() {
    const FOLLOWED: u64 = 3000;
    const OF_ALL: u64 = 60;
    let db = open(&MemoryDirectory::new());
    let (caught_up, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let mut followers = Vec::new();
    for number in 0..FOLLOWED + OF_ALL {
        // Most for a stream each, some for a prefix that thirty of them have, and some for everything.
        let subscription = if number >= FOLLOWED {
            db.reads().subscribe(Query::all(), 0)
        } else if number % 30 == 0 {
            db.reads().subscribe(QueryItem::new().stream_prefix(format!("group-{}-", number / 30)), 0)
        } else {
            db.reads().subscribe_stream(format!("group-{}-{}", number / 30, number % 30), 0)
        };
        let (mut subscription, caught_up) = (subscription.unwrap(), caught_up.clone());
        followers.push(tokio::spawn(async move {
            assert!(matches!(subscription.next().await, Some(Ok(SubscriptionEvent::CaughtUp { position: 0 }))));
            caught_up.send(()).unwrap();
            let mut positions = Vec::new();
            while let Some(item) = subscription.next().await {
                if let SubscriptionEvent::Event(event) = item.unwrap() {
                    positions.push(event.global_position);
                }
            }
            positions
        }));
    }
    for _ in 0..FOLLOWED + OF_ALL {
        timeout(HANGS, waiting.recv()).await.unwrap().unwrap();
    }
    let append = |number: u64| {
        let name = format!("group-{}-{}", number / 30, number % 30);
        db.append(name, ExpectedVersion::Any, vec![ProposedEvent::new("Happened", "{}")])
    };
    // Every stream once, then some of them again: the n-th append is to stream n, and then to stream n * 7.
    let written: Vec<u64> = (0..FOLLOWED).chain((0..500).map(|number| number * 7 % FOLLOWED)).collect();
    for streams in written.chunks(100) {
        for (events, stream) in join_all(streams.iter().map(|stream| append(*stream))).await.into_iter().zip(streams) {
            assert_eq!(events.unwrap().len(), 1, "stream {stream}");
        }
    }
    let reads = db.reads().clone();
    db.close().await.unwrap();
    let log = reads.read_all(0, u64::MAX).unwrap();
    assert_eq!(log.len(), written.len());
    for (number, follower) in (0..).zip(timeout(HANGS, join_all(followers)).await.expect("all see the end")) {
        let positions = follower.unwrap();
        let expected = if number >= FOLLOWED {
            (0..log.len() as u64).collect()
        } else {
            let item = QueryItem::new();
            let item = if number % 30 == 0 {
                item.stream_prefix(format!("group-{}-", number / 30))
            } else {
                item.stream(format!("group-{}-{}", number / 30, number % 30))
            };
            let events = reads.query(item, 0, u64::MAX).unwrap();
            assert!(!events.is_empty());
            events.iter().map(|event| event.global_position).collect::<Vec<_>>()
        };
        assert_eq!(positions, expected, "follower {number}");
    }
}
