//! Clients whose choices follow from a seed: what they ask for, and how.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use eventfold_db::{AppendRequest, Error, ExpectedVersion, ProposedEvent, ReadIndex, RecordedEvent, WriterHandle};
use eventfold_sync::clock;
use uuid::Uuid;

use crate::asked::{Asked, Condition, Criteria, query};
use crate::history::{Answer, Call, Found, History, Question, Reading, Span, tells_of_damage};
use crate::random::Random;

/// The last is an id, and has no name.
const STREAMS: [&str; 6] =
    ["account-1", "account-2", "account-3", "course-1", "course-2", "a2f7c5e0-0000-4000-8000-000000000001"];
const PREFIXES: [&str; 4] = ["account-", "course-", "a", "course-2"];
const TYPES: [&str; 3] = ["Opened", "Changed", "Closed"];
const TAGS: u64 = 12;

/// What all clients share.
#[derive(Debug, Default)]
pub struct World {
    moments: AtomicU64,
    history: Mutex<History>,
    /// Whether their store may fail.
    faults: bool,
    /// Whether its disk may have lost something that it had.
    decays: AtomicBool,
    failed_reads: AtomicU64,
}

/// One of many who ask a store for all kinds of things.
#[derive(Debug)]
pub struct Client {
    world: Arc<World>,
    writer: WriterHandle,
    reads: ReadIndex,
    random: Random,
    number: u64,
    next_id: u64,
    payload_max: u64,
}

/// Something that is being asked for.
struct Begun {
    began: u64,
    before: u64,
}

impl World {
    /// One whose store may fail: then some answers say so, and some appends may stand or not.
    pub fn with_faults() -> Self {
        Self { faults: true, ..Self::default() }
    }

    /// From here on its disk may have lost something that it had, and answers may say so.
    pub fn decay(&self) {
        self.decays.store(true, Ordering::Relaxed);
    }

    /// Whether this is an answer to a valid question.
    pub fn may_fail_so(&self, error: &Error) -> bool {
        self.faults && (self.decays.load(Ordering::Relaxed) || !tells_of_damage(error))
    }

    /// What they have asked for and been told.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of their reads have failed.
    pub fn failed_reads(&self) -> u64 {
        self.failed_reads.load(Ordering::Relaxed)
    }

    fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::SeqCst)
    }

    fn answer(&self, result: Result<Vec<RecordedEvent>, Error>) -> Answer {
        if self.faults { Answer::under_faults(result, self.decays.load(Ordering::Relaxed)) } else { Answer::of(result) }
    }
}

impl Client {
    /// One that no other has the number of, in all lives of the store.
    pub fn new(world: &Arc<World>, writer: &WriterHandle, reads: &ReadIndex, seed: u64, number: u64) -> Self {
        let random = Random::new(seed ^ (number << 32));
        Self {
            world: world.clone(),
            writer: writer.clone(),
            reads: reads.clone(),
            random,
            number,
            next_id: 0,
            payload_max: 1000,
        }
    }

    /// Most payloads are smaller than this, some five times as large.
    #[must_use]
    pub fn payloads_below(mut self, bytes: u64) -> Self {
        self.payload_max = bytes;
        self
    }

    /// Asks for so many things, one after the other.
    pub async fn run(mut self, steps: u64) {
        for _ in 0..steps {
            match self.random.below(100) {
                0..50 => {
                    let asked = self.new_append();
                    self.ask(asked).await;
                }
                50..65 => self.ask_again().await,
                _ => self.read().await,
            }
        }
    }

    fn begin(&self) -> Begun {
        Begun { began: self.world.moment(), before: self.reads.global_position() }
    }

    fn end(&self, Begun { began, before }: Begun) -> Span {
        let after = self.reads.global_position();
        Span { began, ended: self.world.moment(), before, after }
    }

    // What is asked for.

    fn stream(&mut self) -> String {
        self.random.pick(&STREAMS).to_owned()
    }

    fn tag(&mut self) -> String {
        format!("tag-{}", self.random.below(TAGS))
    }

    fn event(&mut self) -> ProposedEvent {
        let id = Uuid::from_u64_pair(self.number + 1, self.next_id);
        self.next_id += 1;
        let most = self.payload_max;
        let size = if self.random.percent(5) { 5 * most } else { self.random.below(most) };
        let event = ProposedEvent::new(self.random.pick(&TYPES), vec![7; usize::try_from(size).expect("it is small")])
            .with_id(id);
        match self.random.below(3) {
            0 => event.with_tags([self.tag()]),
            1 => event.with_metadata("about it"),
            _ => event,
        }
    }

    fn criteria(&mut self) -> Criteria {
        let mut criteria = Criteria::default();
        match self.random.below(5) {
            0 => criteria.tags.push(self.tag()),
            1 => criteria.types.push(self.random.pick(&TYPES).to_owned()),
            2 => criteria.stream = Some(self.stream()),
            3 => criteria.prefix = Some(self.random.pick(&PREFIXES).to_owned()),
            _ => {
                criteria.tags.push(self.tag());
                criteria.types.extend(["Opened".to_owned(), "Closed".to_owned()]);
            }
        }
        criteria
    }

    fn query(&mut self) -> Vec<Criteria> {
        (0..self.random.below(3)).map(|_| self.criteria()).collect()
    }

    fn new_append(&mut self) -> Asked {
        let run_count = if self.random.percent(70) { 1 } else { 2 + self.random.below(2) };
        let mut runs = Vec::new();
        for _ in 0..run_count {
            let count = 1 + self.random.below(3);
            runs.push((self.stream(), (0..count).map(|_| self.event()).collect()));
        }
        let conditions = self.conditions(&runs[0].0);
        Asked { runs, conditions }
    }

    /// Of which most hold, if nobody else is faster.
    fn conditions(&mut self, written: &str) -> Vec<Condition> {
        let mut conditions = Vec::new();
        if self.random.percent(60) {
            conditions.push(self.version(written.to_owned()));
        }
        if self.random.percent(15) {
            let other = self.stream();
            conditions.push(self.version(other));
        }
        if self.random.percent(25) {
            let after = match self.random.below(4) {
                0 => None,
                1 => Some(self.random.below(200)),
                _ => self.reads.global_position().checked_sub(1),
            };
            let items = self.query();
            conditions.push(Condition::NoMatch(items, after));
        }
        conditions
    }

    fn version(&mut self, stream: String) -> Condition {
        let expected = match self.random.below(10) {
            0 => ExpectedVersion::Any,
            1 => ExpectedVersion::NoStream,
            2 => ExpectedVersion::Exists,
            3 => ExpectedVersion::Exact(self.random.below(50)),
            // What somebody expects who has looked.
            _ => match self.reads.stream_version(&stream) {
                Ok(Some(version)) => ExpectedVersion::Exact(version),
                Ok(None) => ExpectedVersion::NoStream,
                Err(error) if self.world.may_fail_so(&error) => ExpectedVersion::Any,
                Err(error) => panic!("not an answer to a valid question: {error:?}"),
            },
        };
        Condition::Version(stream, expected)
    }

    // Asking.

    async fn ask(&mut self, asked: Asked) {
        let begun = self.begin();
        let answer = match self.random.below(10) {
            0..5 => self.world.answer(self.writer.append_request(asked.append()).await),
            5 | 6 => match self.writer.try_append_request(asked.append()) {
                Ok(pending) if self.random.percent(30) => {
                    drop(pending);
                    Answer::Dropped
                }
                Ok(pending) => self.world.answer(pending.await),
                Err(error) => self.world.answer(Err(error)),
            },
            7 => {
                let mut request = AppendRequest::new(asked.append());
                if self.random.percent(50) {
                    // It passes while the append is under way, or has passed.
                    request = request.deadline(clock::now() + Duration::from_micros(self.random.below(100)));
                }
                if self.random.percent(50) {
                    self.world.answer(self.writer.append_request(request).await)
                } else {
                    self.world.answer(self.writer.append_request_blocking(request))
                }
            }
            8 => {
                drop(self.writer.append_request(asked.append()));
                Answer::NeverPolled
            }
            _ => {
                let polls = 1 + self.random.below(3);
                poll_so_often(self.writer.append_request(asked.append()), polls)
                    .await
                    .map_or(Answer::Dropped, |result| self.world.answer(result))
            }
        };
        let span = self.end(begun);
        self.world.history().calls.push(Call { asked, span, answer });
    }

    /// What somebody has asked for before, mostly lately: just so, with other conditions, or with other contents.
    async fn ask_again(&mut self) {
        let asked = {
            let history = self.world.history();
            let among = (history.calls.len() as u64).min(if self.random.percent(70) { 6 } else { u64::MAX });
            if among == 0 {
                return;
            }
            let back = usize::try_from(self.random.below(among)).expect("it is an index");
            history.calls[history.calls.len() - 1 - back].asked.clone()
        };
        let changed = match self.random.below(10) {
            0 => {
                let mut other = asked;
                other.runs[0].1[0].payload = "other".into();
                other
            }
            1 => {
                let mut longer = asked;
                let event = self.event();
                longer.runs[0].1.push(event);
                longer
            }
            2..5 => {
                let conditions = self.conditions(&asked.runs[0].0);
                Asked { conditions, ..asked }
            }
            _ => asked,
        };
        self.ask(changed).await;
    }

    async fn read(&mut self) {
        let (from, max_count) = (self.random.below(300), 1 + self.random.below(40));
        let backward = self.random.percent(50);
        let question = match self.random.below(4) {
            0 => Question::Version { stream: self.stream() },
            1 => Question::Stream { stream: self.stream(), from: from / 6, max_count, backward },
            _ => {
                let from = if backward { from.max(self.reads.global_position()) } else { from };
                Question::Query { items: self.query(), from, max_count, backward }
            }
        };
        let in_background = self.random.percent(50);
        let begun = self.begin();
        let found = if in_background { self.found_in_background(&question).await } else { self.found(&question) };
        let span = self.end(begun);
        match found {
            Ok(found) => self.world.history().readings.push(Reading { question, span, found }),
            // It says nothing of the log.
            Err(error) => {
                assert!(self.world.may_fail_so(&error), "not an answer to a valid read: {error:?}");
                self.world.failed_reads.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn found(&self, question: &Question) -> Result<Found, Error> {
        let reads = &self.reads;
        match question {
            Question::Version { stream } => reads.stream_version(stream).map(Found::Version),
            Question::Stream { stream, from, max_count, backward } => Found::events(match backward {
                false => reads.read_stream(stream, *from, *max_count),
                true => reads.read_stream_backward(stream, *from, *max_count),
            }),
            Question::Query { items, from, max_count, backward } => Found::events(match (items.is_empty(), backward) {
                (true, false) => reads.read_all(*from, *max_count),
                (true, true) => reads.read_all_backward(*from, *max_count),
                (false, false) => reads.query(query(items), *from, *max_count),
                (false, true) => reads.query_backward(query(items), *from, *max_count),
            }),
        }
    }

    async fn found_in_background(&self, question: &Question) -> Result<Found, Error> {
        let reads = self.reads.in_background();
        match question {
            Question::Version { stream } => reads.stream_version(stream).await.map(Found::Version),
            Question::Stream { stream, from, max_count, backward } => Found::events(match backward {
                false => reads.read_stream(stream, *from, *max_count).await,
                true => reads.read_stream_backward(stream, *from, *max_count).await,
            }),
            Question::Query { items, from, max_count, backward } => Found::events(match backward {
                false => reads.query(query(items), *from, *max_count).await,
                true => reads.query_backward(query(items), *from, *max_count).await,
            }),
        }
    }
}

/// Polls a future at most so often, letting others go on in between, and drops it.
async fn poll_so_often<F: Future>(future: F, polls: u64) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
            return Some(output);
        }
        let_others_go_on().await;
    }
    None
}

/// Once pending, then ready.
async fn let_others_go_on() {
    let mut was_pending = false;
    poll_fn(|context| {
        if std::mem::replace(&mut was_pending, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
