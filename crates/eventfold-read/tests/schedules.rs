//! Random schedules of appends, polls, failing reads, reopening and leaving, beside a plain list of the same events.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use std::task::Poll;

use eventfold_io::sim::{Fault, Keep, SimDisk, When};
use eventfold_io::{IoErrorKind, Operation};
use eventfold_read::{ReadIndex, SubscriptionEvent, SubscriptionOptions};
use eventfold_store::{BatchLimits, Error, ExpectedVersion, Query, QueryItem, RecordedEvent, Store};
use proptest::prelude::*;

use support::{Item, Polled, event, open, sim};

#[derive(Clone, Copy, Debug)]
enum Step {
    Append { stream: u8, event_type: u8, events: usize },
    Subscribe { query: u8, from: u64, batch: usize, checkpoint_interval: u64 },
    Poll { which: usize, times: usize },
    CatchUp { which: usize },
    Leave { which: usize },
    FailReads { times: u64 },
    Reopen { crash: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u8, 0..3_u8, 1..12_usize)
            .prop_map(|(stream, event_type, events)| Step::Append { stream, event_type, events }),
        3 => (0..6_u8, 0..80_u64, 1..9_usize, 1..20_u64).prop_map(|(query, from, batch, checkpoint_interval)| {
            Step::Subscribe { query, from, batch, checkpoint_interval }
        }),
        8 => (any::<usize>(), 1..10_usize).prop_map(|(which, times)| Step::Poll { which, times }),
        3 => any::<usize>().prop_map(|which| Step::CatchUp { which }),
        1 => any::<usize>().prop_map(|which| Step::Leave { which }),
        1 => (1..4_u64).prop_map(|times| Step::FailReads { times }),
        1 => any::<bool>().prop_map(|crash| Step::Reopen { crash }),
    ]
}

fn stream(number: u8) -> String {
    ["a-1", "a-2", "b"][usize::from(number)].to_owned()
}

fn event_type(number: u8) -> String {
    ["X", "Y", "Z"][usize::from(number)].to_owned()
}

fn query(number: u8) -> Query {
    match number {
        0 => Query::all(),
        1 => QueryItem::new().stream("a-1").into(),
        2 => QueryItem::new().stream_prefix("a-").into(),
        3 => QueryItem::new().types(["X", "Z"]).into(),
        4 => QueryItem::new().tags(["even", "a-2"]).into(),
        _ => Query::item(QueryItem::new().stream("b").types(["Y"])).or(QueryItem::new().tags(["even"]).types(["X"])),
    }
}

struct Subscriber {
    polled: Polled,
    query: u8,
    from: u64,
    options: SubscriptionOptions,
    seen: Vec<RecordedEvent>,
}

impl Subscriber {
    fn new(index: &ReadIndex, query_number: u8, from: u64, options: SubscriptionOptions) -> Self {
        let polled = Polled::new(index.subscribe(query(query_number), from).unwrap().with_options(options));
        Self { polled, query: query_number, from, options, seen: Vec::new() }
    }

    fn take(&mut self, item: Item) {
        match item {
            Some(Ok(SubscriptionEvent::Event(event))) => self.seen.push(event),
            Some(Ok(SubscriptionEvent::CaughtUp { position } | SubscriptionEvent::Checkpoint { position })) => {
                assert_eq!(position, self.polled.subscription.position());
            }
            Some(Err(Error::Read(_) | Error::Io(_))) => {}
            other => panic!("{other:?}"),
        }
    }

    /// The events that it is to see.
    fn wanted<'a>(&self, model: &'a [(String, RecordedEvent)]) -> impl Iterator<Item = &'a RecordedEvent> {
        let (query, from) = (query(self.query).check().unwrap(), self.from);
        let matches = move |(stream, event): &&(String, RecordedEvent)| {
            event.global_position >= from && query.matches_recorded(event, Some(stream))
        };
        model.iter().filter(matches).map(|(_, event)| event)
    }

    /// Reads on until it has seen everything, or fails to.
    fn catch_up(&mut self, model: &[(String, RecordedEvent)]) {
        let wanted = self.wanted(model).count();
        // Asleep with everything seen, it would wait for more.
        while self.seen.len() < wanted {
            let item = self.polled.next();
            self.take(item);
        }
    }
}

struct World {
    sim: SimDisk,
    store: Option<Store>,
    index: ReadIndex,
    model: Vec<(String, RecordedEvent)>,
    subscribers: Vec<Subscriber>,
}

impl World {
    fn new() -> Self {
        let sim = sim();
        let store = open(sim.attach());
        let index = ReadIndex::with_reader_threads(store.log(), 2);
        Self { sim, store: Some(store), index, model: Vec::new(), subscribers: Vec::new() }
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("it is open")
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append { stream: number, event_type: of, events } => {
                let name = stream(number);
                let events = (0..events)
                    .map(|at| event(&event_type(of)).with_tags([["even", "odd"][at % 2], name.as_str()]))
                    .collect();
                // Only those who read meet a fault: a writer that can't seal a segment takes no more appends.
                self.sim.clear_faults();
                let events = self.store().append(name.as_str(), ExpectedVersion::Any, events).unwrap();
                self.model.extend(events.into_iter().map(|event| (name.clone(), event)));
            }
            Step::Subscribe { query, from, batch, checkpoint_interval } => {
                let batch = BatchLimits { events: batch, bytes: 1 << 14, positions: 20 };
                let options = SubscriptionOptions::default().batch(batch).checkpoint_interval(checkpoint_interval);
                self.subscribers.push(Subscriber::new(&self.index, query, from, options));
            }
            Step::Poll { which, times } => {
                let Some(subscriber) = self.pick(which) else { return };
                for _ in 0..times {
                    if let Poll::Ready(item) = subscriber.polled.poll() {
                        subscriber.take(item);
                    }
                }
            }
            Step::CatchUp { which } => {
                let model = std::mem::take(&mut self.model);
                if let Some(subscriber) = self.pick(which) {
                    subscriber.catch_up(&model);
                }
                self.model = model;
            }
            Step::Leave { which } => {
                if !self.subscribers.is_empty() {
                    let which = which % self.subscribers.len();
                    self.subscribers.swap_remove(which);
                }
            }
            Step::FailReads { times } => {
                self.sim.inject(When::on(Operation::Read).times(times), Fault::Fail(IoErrorKind::Other));
            }
            Step::Reopen { crash } => self.reopen(crash),
        }
    }

    fn pick(&mut self, which: usize) -> Option<&mut Subscriber> {
        let count = self.subscribers.len();
        (count > 0).then(|| &mut self.subscribers[which % count])
    }

    fn reopen(&mut self, crash: bool) {
        self.sim.clear_faults();
        let store = self.store.take().expect("it is open");
        if crash {
            self.sim.crash(&Keep::Nothing);
            drop(store);
        } else {
            store.close().unwrap();
        }
        let store = open(self.sim.attach());
        self.index = ReadIndex::with_reader_threads(store.log(), 2);
        self.store = Some(store);
        // Each goes on where it was.
        for subscriber in &mut self.subscribers {
            let position = subscriber.polled.subscription.position();
            let again = self.index.subscribe(query(subscriber.query), position).unwrap();
            subscriber.polled = Polled::new(again.with_options(subscriber.options));
        }
    }

    fn check(mut self) {
        self.sim.clear_faults();
        self.store.take().expect("it is open").close().unwrap();
        for subscriber in &mut self.subscribers {
            while let Some(item) = subscriber.polled.next() {
                subscriber.take(Some(item));
            }
            let wanted: Vec<_> = subscriber.wanted(&self.model).cloned().collect();
            assert_eq!(subscriber.seen, wanted);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_each_event_is_seen_once(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
        }
        world.check();
    }
}
