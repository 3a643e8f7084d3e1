//! A server in a process of its own, killed and started again on the same store while clients append, read and follow.
//!
//! `SERVER_KILLS` says how often it is killed, `SERVER_SEED` with which choices. When exactly a kill strikes is up to the machine.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]
#![expect(clippy::disallowed_methods, reason = "processes are watched, and their files looked at")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventfold_client::{
    Append, BoxStream, Client, Error, ErrorKind, EventStore, EventStoreExt, EventfoldDb, ExpectedVersion,
    PendingAnswer, ProposedEvent, RecordedEvent, StoreError, Subscribe, SubscriptionEvent, Uuid,
};
use eventfold_tests::{
    Answer, Asked, Call, Condition, Criteria, Found, History, Question, Random, Reading, Span, query,
};
use futures_util::StreamExt;
use support::Served;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Nothing between two kills takes as long as this.
const HANGS: Duration = Duration::from_mins(1);

/// How often the server is killed where nothing else is asked for.
const KILLS: u64 = 12;

/// So many appends of a session wait for their answers.
const WAITING: usize = 20;

fn asked_for(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |number| number.parse().expect("it is a number"))
}

/// A store, and the process that serves it.
struct Server {
    directory: TempDir,
    served: Option<Served>,
    url: String,
}

impl Server {
    fn start() -> Self {
        let directory = eventfold_tests::quick_directory();
        // Segments are sealed every few lives.
        let served = Served::start(&directory.path().join("data"), &["--set", "store.segment_size=262144"]);
        Self { url: served.url(), served: Some(served), directory }
    }

    fn start_again(&mut self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        self.served = Some(Served::start_at(&address, &self.directory.path().join("data"), &[]));
    }

    /// SIGKILL, and a new process.
    fn kill(&mut self) {
        drop(self.served.take());
        self.start_again();
    }

    /// SIGTERM, and a new process.
    fn restart(&mut self) {
        assert!(self.served.take().unwrap().stop(), "it ends well");
        self.start_again();
    }

    /// Ends it, and gives what is in the store.
    fn log(mut self) -> Vec<RecordedEvent> {
        assert!(self.served.take().unwrap().stop(), "it ends well");
        let db = EventfoldDb::open(self.directory.path().join("data")).unwrap();
        let log = db.reads().read_all(0, u64::MAX).unwrap();
        db.close_blocking().unwrap();
        log
    }

    fn client(&self, deadline: Duration) -> Client {
        Client::builder().endpoint(&self.url).deadline(deadline).connect_lazily().unwrap()
    }
}

/// What the clients know.
#[derive(Debug)]
struct Ledger {
    /// By the id of the first event of each append that was asked for, all of its ids.
    asked: BTreeMap<Uuid, Vec<Uuid>>,
    answered: Vec<Vec<RecordedEvent>>,
    /// What may stand or not.
    unknown: BTreeSet<Uuid>,
    count: watch::Sender<u64>,
}

#[derive(Clone, Debug)]
struct Known(Arc<Mutex<Ledger>>);

impl Known {
    fn new() -> Self {
        let (asked, answered, unknown) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self(Arc::new(Mutex::new(Ledger { asked, answered, unknown, count: watch::Sender::new(0) })))
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asks(&self, events: &[ProposedEvent]) {
        let ids: Vec<_> = events.iter().map(|event| event.event_id.unwrap()).collect();
        self.ledger().asked.insert(ids[0], ids);
    }

    fn is_answered(&self, first: Uuid, answer: Result<Vec<RecordedEvent>, Error>) {
        let mut ledger = self.ledger();
        match answer {
            Ok(events) => {
                ledger.answered.push(events);
                ledger.count.send_modify(|count| *count += 1);
            }
            Err(error) if error.kind() == ErrorKind::Unknown => {
                ledger.unknown.insert(first);
            }
            // Nothing of it was done.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Retry, "not an answer to a valid append: {error:?}"),
        }
    }

    /// Waits until so many more appends were answered.
    async fn until_more(&self, more: u64) {
        let mut count = self.ledger().count.subscribe();
        let enough = *count.borrow() + more;
        tokio::time::timeout(HANGS, count.wait_for(|count| *count >= enough)).await.expect("appends go on").unwrap();
    }

    /// Holds it against the log.
    fn check(&self, log: &[RecordedEvent]) {
        let ledger = self.ledger();
        let mut versions: BTreeMap<Uuid, u64> = BTreeMap::new();
        for (event, position) in log.iter().zip(0..) {
            let version = versions.entry(event.stream_id).or_default();
            assert_eq!((event.global_position, event.stream_version), (position, *version));
            *version += 1;
        }
        for events in &ledger.answered {
            let place = usize::try_from(events[0].global_position).unwrap();
            let stored = log.get(place..place + events.len());
            assert!(stored == Some(events), "answered, and not there: {:?}", events[0]);
        }
        let answered: BTreeSet<_> = ledger.answered.iter().map(|events| events[0].event_id).collect();
        let (mut place, mut seen) = (0, BTreeSet::new());
        while let Some(first) = log.get(place) {
            let ids = ledger.asked.get(&first.event_id).unwrap_or_else(|| panic!("nobody asked for {first:?}"));
            assert!(seen.insert(first.event_id), "it stands twice: {first:?}");
            let may_stand = answered.contains(&first.event_id) || ledger.unknown.contains(&first.event_id);
            assert!(may_stand, "it was refused, and stands: {first:?}");
            let stored = log[place..].iter().take(ids.len()).map(|event| &event.event_id);
            assert!(stored.eq(ids), "it is not whole: {first:?}");
            place += ids.len();
        }
        println!("{} appends answered, {} unknown, {} events", answered.len(), ledger.unknown.len(), log.len());
    }
}

/// Somebody who appends until it is told to stop.
struct Writer {
    client: Client,
    known: Known,
    random: Random,
    number: u64,
    next: u64,
    stop: Arc<AtomicBool>,
}

impl Writer {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// The next append: its stream, and events with ids of its own.
    fn events(&mut self) -> (String, Vec<ProposedEvent>) {
        let count = 1 + self.random.below(4);
        let events = (0..count).map(|_| {
            self.next += 1;
            let size = usize::try_from(self.random.below(2000)).unwrap();
            ProposedEvent::new("Happened", vec![7; size]).with_id(Uuid::from_u64_pair(self.number, self.next))
        });
        let events: Vec<_> = events.collect();
        let stream = if self.random.percent(30) { "shared".to_owned() } else { format!("own-{}", self.number) };
        self.known.asks(&events);
        (stream, events)
    }

    async fn append_one_by_one(mut self) {
        while self.goes_on() {
            let (stream, events) = self.events();
            let first = events[0].event_id.unwrap();
            let answer = self.client.append(stream, ExpectedVersion::Any, events).await;
            self.known.is_answered(first, answer);
        }
    }

    async fn append_in_a_session(mut self) {
        let session = self.client.session();
        let mut waiting: Vec<(Uuid, PendingAnswer)> = Vec::new();
        while self.goes_on() || !waiting.is_empty() {
            while self.goes_on() && waiting.len() < WAITING {
                let (stream, events) = self.events();
                let first = events[0].event_id.unwrap();
                // Where the server takes too long there is no room for it, and nothing was sent.
                let Ok(answer) = session.append(Append::new().events(stream, events)).await else { break };
                waiting.push((first, answer));
            }
            if !waiting.is_empty() {
                let (first, answer) = waiting.remove(0);
                self.known.is_answered(first, answer.await);
            }
        }
        session.close().await;
    }
}

/// What a subscription yields until it has told of everything below a position that is said at the end.
async fn follow(
    mut following: BoxStream<'static, Result<SubscriptionEvent, Error>>,
    mut end: watch::Receiver<Option<u64>>,
) -> Vec<RecordedEvent> {
    let (mut came, mut told) = (Vec::<RecordedEvent>::new(), 0);
    loop {
        let is_over = |end: &watch::Receiver<Option<u64>>, told| end.borrow().is_some_and(|end| end <= told);
        if is_over(&end, told) {
            return came;
        }
        let next = tokio::select! {
            next = following.next() => next.unwrap().unwrap(),
            _ = end.changed() => continue,
        };
        match next {
            SubscriptionEvent::Event(event) => {
                assert!(
                    event.global_position >= told,
                    "{} comes after all below {told} was told",
                    event.global_position
                );
                told = event.global_position + 1;
                came.push(event);
            }
            SubscriptionEvent::CaughtUp { position } | SubscriptionEvent::Checkpoint { position } => {
                assert!(position >= told, "a position goes back");
                told = position;
            }
            other => panic!("not known: {other:?}"),
        }
    }
}

/// Has clients append and follow while something is done with their server.
async fn under_load(patient: bool, disturb: impl AsyncFnOnce(&mut Server, &Known, &mut Random)) {
    let seed = asked_for("SERVER_SEED", 1);
    let mut server = Server::start();
    let (known, stop) = (Known::new(), Arc::new(AtomicBool::new(false)));
    let (mut writers, mut followers) = (JoinSet::new(), JoinSet::new());
    for number in 1..=6 {
        // Some give up so soon that they often don't know.
        let is_patient = patient || number % 3 != 0;
        let client = server.client(if is_patient { HANGS } else { Duration::from_millis(40) });
        let random = Random::new(seed ^ (number << 32));
        let writer = Writer { client, known: known.clone(), random, number, next: 0, stop: stop.clone() };
        if number % 2 == 0 {
            writers.spawn(writer.append_one_by_one());
        } else {
            writers.spawn(writer.append_in_a_session());
        }
    }
    let end = watch::Sender::new(None);
    let sources: [fn() -> Subscribe; 2] =
        [Subscribe::all, || Subscribe::query(eventfold_client::QueryItem::new().stream("shared"))];
    for (index, source) in sources.into_iter().enumerate() {
        let following = server.client(HANGS).subscribe(source());
        let end = end.subscribe();
        followers.spawn(async move { (index, follow(following, end).await) });
    }
    disturb(&mut server, &known, &mut Random::new(seed)).await;
    stop.store(true, Ordering::Relaxed);
    let ended = async { while writers.join_next().await.map(Result::unwrap).is_some() {} };
    tokio::time::timeout(HANGS, ended).await.expect("those who append end");
    // One more that all who follow see, so that they come to the end.
    let last = vec![ProposedEvent::new("Ended", "").with_id(Uuid::from_u64_pair(7, 1))];
    known.asks(&last);
    let last = server.client(HANGS).append("shared", ExpectedVersion::Any, last).await.unwrap();
    let head = last[0].global_position + 1;
    known.is_answered(last[0].event_id, Ok(last));
    end.send_replace(Some(head));
    let mut followed = [Vec::new(), Vec::new()];
    let ended = async {
        while let Some(ended) = followers.join_next().await {
            let (index, came) = ended.unwrap();
            followed[index] = came;
        }
    };
    tokio::time::timeout(HANGS, ended).await.expect("those who follow come to the end");
    let log = tokio::task::block_in_place(|| server.log());
    known.check(&log);
    assert!(followed[0] == log, "a subscriber has not seen the log as it is");
    let shared = log.iter().find(|event| Some(event) == followed[1].first().as_ref()).map(|event| event.stream_id);
    let shared: Vec<_> = log.into_iter().filter(|event| Some(event.stream_id) == shared).collect();
    assert!(followed[1] == shared, "a subscriber has not seen a stream as it is");
    assert!(!shared.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_that_it_has_answered() {
    let kills = asked_for("SERVER_KILLS", KILLS);
    under_load(false, async |server, known, random| {
        for number in 1..=kills {
            // Sometimes before anybody is answered.
            if random.percent(80) {
                known.until_more(1 + random.below(200)).await;
            }
            tokio::task::block_in_place(|| server.kill());
            if number % 100 == 0 {
                println!("{number} kills: {} answered", known.ledger().answered.len());
            }
        }
        known.until_more(50).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_in_good_order_is_not_missed() {
    under_load(true, async |server, known, random| {
        for _ in 0..4 {
            known.until_more(50 + random.below(200)).await;
            tokio::task::block_in_place(|| server.restart());
        }
        known.until_more(50).await;
        let ledger = known.ledger();
        assert!(ledger.unknown.is_empty(), "everybody is answered: {:?}", ledger.unknown);
    })
    .await;
}

const STREAMS: [&str; 4] = ["account-1", "account-2", "course-1", "course-2"];

/// Somebody whose questions and answers are kept.
struct Asking {
    client: Client,
    moments: Arc<AtomicU64>,
    history: Arc<Mutex<History>>,
    random: Random,
    number: u64,
    next: u64,
}

impl Asking {
    async fn begin(&self) -> (u64, u64) {
        let began = self.moments.fetch_add(1, Ordering::SeqCst);
        (began, self.client.global_position().await.unwrap())
    }

    async fn end(&self, (began, before): (u64, u64)) -> Span {
        let after = self.client.global_position().await.unwrap();
        Span { began, before, after, ended: self.moments.fetch_add(1, Ordering::SeqCst) }
    }

    fn stream(&mut self) -> String {
        self.random.pick(&STREAMS).to_owned()
    }

    fn criteria(&mut self) -> Vec<Criteria> {
        let stream = Some(self.stream());
        let tags = vec![format!("tag-{}", self.random.below(6))];
        match self.random.below(3) {
            0 => vec![Criteria { stream, ..Criteria::default() }],
            1 => vec![Criteria { tags, ..Criteria::default() }],
            _ => vec![Criteria { prefix: Some("course-".to_owned()), ..Criteria::default() }],
        }
    }

    async fn new_append(&mut self) -> Asked {
        let stream = self.stream();
        let count = 1 + self.random.below(3);
        let events = (0..count).map(|_| {
            self.next += 1;
            let tag = format!("tag-{}", self.random.below(6));
            ProposedEvent::new("Changed", "{}").with_tags([tag]).with_id(Uuid::from_u64_pair(self.number, self.next))
        });
        let runs = vec![(stream.clone(), events.collect())];
        let version = match self.client.stream_version(stream.as_str()).await.unwrap() {
            Some(version) => ExpectedVersion::Exact(version),
            None => ExpectedVersion::NoStream,
        };
        let conditions = match self.random.below(3) {
            0 => Vec::new(),
            1 => vec![Condition::Version(stream, version)],
            _ => {
                let items = self.criteria();
                let head = self.client.global_position().await.unwrap();
                vec![Condition::NoMatch(items, head.checked_sub(1))]
            }
        };
        Asked { runs, conditions }
    }

    async fn append(&mut self) {
        let asked = self.new_append().await;
        for _ in 0..=self.random.below(2) {
            let begun = self.begin().await;
            let answer = match self.client.append_request(asked.append()).await {
                Ok(events) => Answer::of(Ok(events)),
                Err(Error::Store(error)) => Answer::of(Err(error)),
                Err(error) => panic!("not an answer to a valid append: {error:?}"),
            };
            let span = self.end(begun).await;
            self.history.lock().unwrap().calls.push(Call { asked: asked.clone(), span, answer });
        }
    }

    async fn read(&mut self) {
        let (items, from, max_count) = (self.criteria(), self.random.below(200), 1 + self.random.below(40));
        let stream = self.stream();
        let question = match self.random.below(3) {
            0 => Question::Version { stream },
            1 => Question::Stream { stream, from: from / 4, max_count, backward: false },
            _ => Question::Query { items, from, max_count, backward: false },
        };
        let begun = self.begin().await;
        let found = match &question {
            Question::Version { stream } => {
                Ok(Found::Version(self.client.stream_version(stream.as_str()).await.unwrap()))
            }
            Question::Stream { stream, from, max_count, .. } => {
                self.client.read_stream(stream.as_str(), *from, *max_count).await.map(Found::Events)
            }
            Question::Query { items, from, max_count, .. } => {
                self.client.query(query(items), *from, *max_count).await.map(Found::Events)
            }
        };
        let found = match found {
            Err(Error::Store(StoreError::StreamNotFound { .. })) => Found::NoStream,
            found => found.unwrap(),
        };
        let span = self.end(begun).await;
        self.history.lock().unwrap().readings.push(Reading { question, span, found });
    }

    async fn run(mut self, steps: u64) {
        for _ in 0..steps {
            if self.random.percent(60) { self.append().await } else { self.read().await }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_answers_are_true_of_one_order_also_over_kills() {
    const STEPS: u64 = 60;
    let seed = asked_for("SERVER_SEED", 1);
    let mut server = Server::start();
    let (moments, history) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(History::default())));
    let mut clients = JoinSet::new();
    for number in 1..=5 {
        let (moments, history) = (moments.clone(), history.clone());
        let random = Random::new(seed ^ (number << 32));
        clients.spawn(Asking { client: server.client(HANGS), moments, history, random, number, next: 0 }.run(STEPS));
    }
    let looking = server.client(HANGS);
    for length in [40, 120] {
        tokio::time::timeout(HANGS, looking.wait_until(length)).await.expect("appends go on").unwrap();
        tokio::task::block_in_place(|| server.kill());
    }
    let ended = async { while clients.join_next().await.map(Result::unwrap).is_some() {} };
    tokio::time::timeout(HANGS, ended).await.expect("those who ask end");
    let log = tokio::task::block_in_place(|| server.log());
    let history = std::mem::take(&mut *history.lock().unwrap());
    println!(
        "{} appends, {} of them repeated, {} reads",
        history.calls.len(),
        history.repeated(),
        history.readings.len()
    );
    assert!(history.repeated() > 0 && !history.readings.is_empty());
    history.check(log).unwrap();
}
