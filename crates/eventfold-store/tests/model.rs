//! The store against a reference that keeps everything in lists, over any sequence of appends, reads, reopenings and
//! crashes. `PROPTEST_CASES` asks for more of them.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support {
    pub(crate) mod model;
    pub(crate) mod scenario;
}

use eventfold_io::Operation;
use eventfold_io::sim::{Fault, Keep, When};
use eventfold_store::{
    Commit, Direction, Error, ExpectedVersion, NO_STREAM, NotStaged, PreparedAppend, ProposedEvent, Snapshot, Staged,
    Store, StreamName, StreamRef,
};
use proptest::prelude::*;
use proptest::sample::Index;
use support::model::{Asked, Condition, Criteria, Model, Outcome, assert_same, query, told};
use support::scenario::{World, id};
use uuid::Uuid;

/// How many cases are tried where nothing else is asked for.
const CASES: u32 = 256;

/// How many snapshots are kept at once.
const SNAPSHOTS_MAX: usize = 3;

const TYPES: [&str; 4] = ["Opened", "Changed", "Closed", "Opened2"];
const TAGS: [&str; 4] = ["red", "green", "blue", "a-tag-that-is-much-longer-than-the-others"];
const PREFIXES: [&str; 5] = ["a", "al", "alpha", "b", "none"];

/// A stream, in one of the ways in which it can be given.
fn stream(number: usize) -> StreamRef {
    let bare = Uuid::from_u128(0xBA2E);
    match number {
        0 => "alpha".into(),
        1 => "alpine".into(),
        2 => "beta".into(),
        3 => "b-é".into(),
        4 => bare.into(),
        5 => bare.to_string().into(),
        6 => StreamName::new("alpha").unwrap().id().into(),
        // Written to by its id or by its name first: no prefix asks for this one.
        7 => "late".into(),
        8 => StreamName::new("late").unwrap().id().into(),
        _ => NO_STREAM.into(),
    }
}

const STREAMS: usize = 10;

/// An event, without its id.
#[derive(Clone, Debug)]
struct EventSpec {
    event_type: usize,
    tags: Vec<usize>,
    len: usize,
}

#[derive(Clone, Debug)]
enum ConditionSpec {
    Any(usize),
    NoStream(usize),
    Exists(usize),
    /// So much above what the last version is.
    Exact(usize, i64),
    /// `after` is so much below the head.
    NoMatch(Vec<Criteria>, Option<u64>),
}

#[derive(Clone, Debug)]
enum AppendSpec {
    New {
        runs: Vec<(usize, Vec<EventSpec>)>,
        conditions: Vec<ConditionSpec>,
    },
    /// An append that was asked for before.
    Again {
        which: Index,
        change: Change,
        /// Other conditions than it had.
        conditions: Option<Vec<ConditionSpec>>,
    },
}

#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Payload,
    /// The last event is another.
    LastId,
    OneMore,
    OtherStream(usize),
}

#[derive(Clone, Debug)]
struct ReadSpec {
    from: Index,
    max_count: u64,
    backward: bool,
    items: Vec<Criteria>,
    stream: usize,
    prefix: usize,
}

#[derive(Clone, Debug)]
enum Op {
    Append(AppendSpec),
    /// All looked up before the first is staged.
    Group(Vec<AppendSpec>),
    /// The second group is staged while the first is under way.
    Overlapping(Vec<AppendSpec>, Vec<AppendSpec>),
    Read(ReadSpec),
    Snapshot,
    Idle,
    SetWindow(u32),
    Reopen,
    Kill,
    /// The power fails when the group is written, or when it is synced.
    Crash {
        group: Vec<AppendSpec>,
        written: bool,
    },
    ReadOnly {
        killed: bool,
    },
}

fn event_spec() -> impl Strategy<Value = EventSpec> {
    let len = prop_oneof![6 => 0..100usize, 3 => 1_000..6_000usize, 1 => Just(20_000usize)];
    (0..TYPES.len(), proptest::sample::subsequence((0..TAGS.len()).collect::<Vec<_>>(), 0..3), len)
        .prop_map(|(event_type, tags, len)| EventSpec { event_type, tags, len })
}

fn criteria() -> impl Strategy<Value = Criteria> {
    let texts = |texts: &'static [&'static str]| proptest::sample::subsequence(texts.to_vec(), 0..3);
    let streams = prop_oneof![
        2 => Just((None, None)),
        1 => (0..STREAMS - 1).prop_map(|number| (Some(stream(number)), None)),
        1 => proptest::sample::select(&PREFIXES[..]).prop_map(|prefix| (None, Some(prefix.to_owned()))),
    ];
    (texts(&TYPES), texts(&TAGS), streams)
        .prop_map(|(types, tags, (stream, prefix))| Criteria {
            types: types.into_iter().map(str::to_owned).collect(),
            tags: tags.into_iter().map(str::to_owned).collect(),
            stream,
            prefix,
        })
        .prop_filter("a query's item has criteria", |item| {
            !(item.types.is_empty() && item.tags.is_empty() && item.stream.is_none() && item.prefix.is_none())
        })
}

fn items() -> impl Strategy<Value = Vec<Criteria>> {
    prop::collection::vec(criteria(), 0..3)
}

fn conditions() -> impl Strategy<Value = Vec<ConditionSpec>> {
    let condition = prop_oneof![
        1 => (0..STREAMS).prop_map(ConditionSpec::Any),
        2 => (0..STREAMS - 1).prop_map(ConditionSpec::NoStream),
        2 => (0..STREAMS - 1).prop_map(ConditionSpec::Exists),
        4 => (0..STREAMS - 1, -2..2i64).prop_map(|(stream, delta)| ConditionSpec::Exact(stream, delta)),
        4 => (0..STREAMS - 1).prop_map(|stream| ConditionSpec::Exact(stream, 0)),
        3 => (items(), prop::option::of(0..6u64)).prop_map(|(items, back)| ConditionSpec::NoMatch(items, back)),
    ];
    prop_oneof![3 => Just(Vec::new()), 4 => prop::collection::vec(condition, 0..3)]
}

fn append_spec() -> impl Strategy<Value = AppendSpec> {
    let run = (0..STREAMS, prop::collection::vec(event_spec(), 1..4));
    let new = (prop::collection::vec(run, 1..4), conditions())
        .prop_map(|(runs, conditions)| AppendSpec::New { runs, conditions });
    let change = prop_oneof![
        3 => Just(Change::Nothing),
        1 => Just(Change::Payload),
        1 => Just(Change::LastId),
        1 => Just(Change::OneMore),
        1 => (0..STREAMS).prop_map(Change::OtherStream),
    ];
    let again = (any::<Index>(), change, prop::option::of(conditions()))
        .prop_map(|(which, change, conditions)| AppendSpec::Again { which, change, conditions });
    prop_oneof![4 => new, 1 => again]
}

fn group() -> impl Strategy<Value = Vec<AppendSpec>> {
    prop::collection::vec(append_spec(), 1..5)
}

fn read_spec() -> impl Strategy<Value = ReadSpec> {
    let max_count = prop_oneof![Just(0), 1..10u64, Just(u64::MAX)];
    (any::<Index>(), max_count, any::<bool>(), items(), 0..STREAMS - 1, 0..PREFIXES.len()).prop_map(
        |(from, max_count, backward, items, stream, prefix)| ReadSpec {
            from,
            max_count,
            backward,
            items,
            stream,
            prefix,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => append_spec().prop_map(Op::Append),
        4 => group().prop_map(Op::Group),
        3 => (group(), group()).prop_map(|(first, second)| Op::Overlapping(first, second)),
        4 => read_spec().prop_map(Op::Read),
        1 => Just(Op::Snapshot),
        1 => Just(Op::Idle),
        1 => prop_oneof![0..6u32, Just(1000u32)].prop_map(Op::SetWindow),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
        1 => (group(), any::<bool>()).prop_map(|(group, written)| Op::Crash { group, written }),
        1 => any::<bool>().prop_map(|killed| Op::ReadOnly { killed }),
    ]
}

/// How the store is made and opened.
#[derive(Clone, Copy, Debug)]
struct Setup {
    seed: u64,
    segment_size: u64,
    window: u32,
    hot_tail_bytes: u64,
    cache_bytes: u64,
}

fn setup() -> impl Strategy<Value = Setup> {
    (
        any::<u64>(),
        // In larger segments, what a checkpoint indexes and what came later are parts of one.
        proptest::sample::select(vec![64u64 << 10, 64 << 10, 256 << 10]),
        proptest::sample::select(vec![0u32, 3, 1 << 20]),
        proptest::sample::select(vec![0u64, 20_000, 1 << 20]),
        proptest::sample::select(vec![0u64, 1 << 20]),
    )
        .prop_map(|(seed, segment_size, window, hot_tail_bytes, cache_bytes)| Setup {
            seed,
            segment_size,
            window,
            hot_tail_bytes,
            cache_bytes,
        })
}

/// The store, the model, and what the test remembers.
struct Run {
    world: World,
    setup: Setup,
    store: Option<Store>,
    model: Model,
    /// All that was asked for, to be asked for again.
    asked: Vec<Asked>,
    snapshots: Vec<(Snapshot, Model)>,
    next_id: u64,
}

impl Run {
    fn new(setup: Setup) -> Self {
        let world = World::new(setup.seed);
        let model = Model::new(setup.window);
        let mut run = Self { world, setup, store: None, model, asked: Vec::new(), snapshots: Vec::new(), next_id: 0 };
        run.store = Some(run.open(false));
        // So that this stream has its name before it is written to by its id.
        let first = Asked {
            runs: vec![(stream(0), vec![ProposedEvent::new("First", "").with_id(run.id())])],
            conditions: Vec::new(),
        };
        run.check_append(&first);
        run.asked.push(first);
        run
    }

    fn open(&self, read_only: bool) -> Store {
        let Setup { segment_size, window, hot_tail_bytes, cache_bytes, .. } = self.setup;
        let mut options = (self.world.options())
            .segment_size(segment_size)
            .hot_tail_bytes(hot_tail_bytes)
            .cache_bytes(cache_bytes)
            .read_only(read_only);
        if self.world.sim.names().is_empty() {
            options = options.idempotency_window(window);
        }
        options.open_on(self.world.sim.attach()).unwrap()
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    fn id(&mut self) -> Uuid {
        self.next_id += 1;
        id(self.next_id)
    }

    fn event(&mut self, spec: &EventSpec) -> ProposedEvent {
        let number = self.next_id;
        let fill = u8::try_from(number % 251).unwrap();
        ProposedEvent::new(TYPES[spec.event_type], vec![fill; spec.len])
            .with_metadata(vec![fill; spec.len % 5])
            .with_tags(spec.tags.iter().map(|tag| TAGS[*tag]))
            .with_id(self.id())
    }

    fn conditions(&self, specs: &[ConditionSpec]) -> Vec<Condition> {
        let condition = |spec: &ConditionSpec| match spec {
            ConditionSpec::Any(number) => Condition::Version(stream(*number), ExpectedVersion::Any),
            ConditionSpec::NoStream(number) => Condition::Version(stream(*number), ExpectedVersion::NoStream),
            ConditionSpec::Exists(number) => Condition::Version(stream(*number), ExpectedVersion::Exists),
            ConditionSpec::Exact(number, delta) => {
                let stream = stream(*number);
                let next = self.model.next_version(stream.resolve().unwrap().id);
                let expected = match next.checked_add_signed(delta - 1) {
                    // The version behind the last one of an empty stream is written `NoStream`.
                    None => ExpectedVersion::NoStream,
                    Some(version) => ExpectedVersion::Exact(version),
                };
                Condition::Version(stream, expected)
            }
            ConditionSpec::NoMatch(items, back) => {
                let after = back.and_then(|back| self.model.head().checked_sub(back));
                Condition::NoMatch(items.clone(), after)
            }
        };
        specs.iter().map(condition).collect()
    }

    fn asked(&mut self, spec: &AppendSpec) -> Asked {
        let asked = match spec {
            AppendSpec::Again { which, change, conditions } => {
                let mut asked = which.get(&self.asked).clone();
                if let Some(conditions) = conditions {
                    asked.conditions = self.conditions(conditions);
                }
                let (last_stream, last) = asked.runs.last_mut().unwrap();
                match change {
                    Change::Nothing => {}
                    Change::Payload => last.last_mut().unwrap().payload = vec![0xEE; 11].into(),
                    Change::LastId => {
                        self.next_id += 1;
                        last.last_mut().unwrap().event_id = Some(id(self.next_id));
                    }
                    Change::OneMore => {
                        self.next_id += 1;
                        last.push(ProposedEvent::new("More", "").with_id(id(self.next_id)));
                    }
                    Change::OtherStream(number) => *last_stream = stream(*number),
                }
                asked
            }
            AppendSpec::New { runs, conditions } => {
                let runs: Vec<_> = (runs.iter())
                    .map(|(number, events)| (stream(*number), events.iter().map(|event| self.event(event)).collect()))
                    .collect();
                Asked { runs, conditions: self.conditions(conditions) }
            }
        };
        self.asked.push(asked.clone());
        asked
    }

    fn append(&mut self, spec: &AppendSpec) {
        let asked = self.asked(spec);
        self.check_append(&asked);
    }

    fn check_append(&mut self, asked: &Asked) {
        let expected = self.model.append(asked);
        let answer = self.store().append_all(asked.append());
        // Which of the two it is, this way of appending does not tell.
        let outcome = match (&expected, answer) {
            (Outcome::Duplicate(_), Ok(events)) => Outcome::Duplicate(events),
            (_, answer) => Outcome::of(answer.map(Staged::Accepted)),
        };
        assert_eq!(outcome, expected, "{asked:?}");
    }

    fn prepare(&mut self, specs: &[AppendSpec]) -> Vec<(Asked, PreparedAppend)> {
        let asked: Vec<Asked> = specs.iter().map(|spec| self.asked(spec)).collect();
        let log = self.store().log();
        asked.into_iter().map(|asked| (asked.clone(), log.prepare(asked.append()).unwrap())).collect()
    }

    /// Stages the appends, and commits where that has to be done first.
    fn stage(&mut self, prepared: Vec<(Asked, PreparedAppend)>, commit: &mut Option<Commit>) {
        for (asked, mut prepared) in prepared {
            let expected = self.model.append(&asked);
            let head = self.store().global_position();
            let outcome = loop {
                let answer = match self.store().stage(prepared) {
                    Ok(staged) => Ok(staged),
                    Err(NotStaged::Refused(error)) => Err(error),
                    Err(NotStaged::Outdated(again)) => {
                        prepared = self.store().log().prepare_again(again).unwrap();
                        continue;
                    }
                    Err(NotStaged::CommitFirst(again)) => {
                        self.finish(commit.take());
                        self.store().commit().unwrap();
                        prepared = again;
                        continue;
                    }
                    Err(other) => panic!("{other:?}"),
                };
                break Outcome::of(answer);
            };
            assert_eq!(outcome, expected, "{asked:?}");
            assert!(self.store().global_position() >= head);
        }
    }

    fn finish(&mut self, commit: Option<Commit>) {
        if let Some(commit) = commit {
            self.store().finish_commit(commit.run()).unwrap();
        }
    }

    fn group(&mut self, specs: &[AppendSpec]) {
        let prepared = self.prepare(specs);
        self.stage(prepared, &mut None);
        self.store().commit().unwrap();
    }

    fn overlapping(&mut self, first: &[AppendSpec], second: &[AppendSpec]) {
        let first = self.prepare(first);
        self.stage(first, &mut None);
        let seen = self.store().global_position();
        let mut commit = self.store().begin_commit().unwrap();
        let second = self.prepare(second);
        self.stage(second, &mut commit);
        if commit.is_some() {
            assert!(self.store().is_committing());
            assert_eq!(self.store().global_position(), seen, "what is under way is not visible");
        }
        self.finish(commit);
        self.store().commit().unwrap();
    }

    /// Closes the store, or ends its process.
    fn shut(&mut self, killed: bool) {
        let store = self.store.take().unwrap();
        if killed {
            self.world.sim.kill();
            self.snapshots.clear();
            drop(store);
        } else {
            store.close().unwrap();
        }
    }

    fn reopen(&mut self) {
        let store = self.open(false);
        assert!(store.recovery_report().dropped.is_empty(), "{:?}", store.recovery_report());
        assert!(store.recovery_report().healed.is_empty(), "{:?}", store.recovery_report());
        self.store = Some(store);
    }

    fn crash(&mut self, group: &[AppendSpec], written: bool) {
        // What has to be committed first is acknowledged; what is left in the group is not.
        let prepared = self.prepare(group);
        self.stage(prepared, &mut None);
        let acknowledged = self.store().global_position();
        if let Some(commit) = self.store().begin_commit().unwrap() {
            let operation = if written { Operation::SyncData } else { Operation::Write };
            self.world.sim.inject(When::on(operation).of("*.segment"), Fault::Die);
            let error = self.store().finish_commit(commit.run()).unwrap_err();
            assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
        }
        self.snapshots.clear();
        self.store = None;
        self.world.sim.clear_faults();
        self.world.sim.crash(&Keep::Seeded);
        let store = self.open(false);
        let head = store.global_position();
        assert!(head >= acknowledged, "{head} of {acknowledged} acknowledged events are left");
        assert!(self.model.ends_an_append(head), "{head} splits an append");
        self.model = self.model.at(head);
        check(&store.log().snapshot(), &self.model);
        self.store = Some(store);
    }

    fn read_only(&mut self, killed: bool) {
        self.shut(killed);
        let before = self.world.files();
        let store = self.open(true);
        let head = store.global_position();
        if killed {
            let report = store.recovery_report();
            assert_eq!(report.position, self.model.head());
            assert!(head + report.unproven_events() == self.model.head(), "{report:?}");
        } else {
            assert_eq!(head, self.model.head());
        }
        let model = self.model.at(head);
        check(&store.log().snapshot(), &model);
        drop(store);
        assert!(self.world.files() == before, "reading changes nothing");
        self.reopen();
    }

    fn read(&mut self, spec: &ReadSpec) {
        read(&self.store.as_ref().unwrap().log().snapshot(), &self.model, spec);
        for (snapshot, model) in &self.snapshots {
            read(snapshot, model, spec);
        }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Append(spec) => self.append(spec),
            Op::Group(specs) => self.group(specs),
            Op::Overlapping(first, second) => self.overlapping(first, second),
            Op::Read(spec) => self.read(spec),
            Op::Snapshot => {
                if self.snapshots.len() == SNAPSHOTS_MAX {
                    self.snapshots.remove(0);
                }
                let snapshot = self.store().log().snapshot();
                self.snapshots.push((snapshot, self.model.clone()));
            }
            Op::Idle => self.store().note_idle().unwrap(),
            Op::SetWindow(window) => {
                self.store().set_idempotency_window(*window).unwrap();
                self.model.set_window(*window);
            }
            Op::Reopen | Op::Kill => {
                self.shut(matches!(op, Op::Kill));
                self.reopen();
            }
            Op::Crash { group, written } => self.crash(group, *written),
            Op::ReadOnly { killed } => self.read_only(*killed),
        }
        assert_eq!(self.store().global_position(), self.model.head());
    }
}

fn read(snapshot: &Snapshot, model: &Model, spec: &ReadSpec) {
    let direction = if spec.backward { Direction::Backward } else { Direction::Forward };
    let from = |end: u64| spec.from.index(usize::try_from(end).unwrap() + 3) as u64;
    let (max_count, position) = (spec.max_count, from(model.head()));
    let events = snapshot.read_all(position, max_count, direction).unwrap();
    assert_same(&events, &model.all(position, max_count, direction), spec);
    let events = snapshot.query(query(&spec.items), position, max_count, direction).unwrap();
    assert_same(&events, &model.query(&spec.items, position, max_count, direction), spec);
    assert_eq!(
        snapshot.event(position).unwrap(),
        model.all(position, 1, Direction::Forward).into_iter().next(),
        "{spec:?}"
    );
    let id = stream(spec.stream).resolve().unwrap().id;
    let version = from(model.next_version(id));
    let events = match snapshot.read_stream(stream(spec.stream), version, max_count, direction) {
        Err(Error::StreamNotFound { .. }) => None,
        events => Some(events.unwrap()),
    };
    let expected = model.stream(id, version, max_count, direction);
    assert_eq!(events.is_some(), expected.is_some(), "{spec:?}");
    assert_same(&events.unwrap_or_default(), &expected.unwrap_or_default(), spec);
    let (prefix, count) = (PREFIXES[spec.prefix], usize::try_from(max_count).unwrap_or(usize::MAX));
    for after in [None, Some("alpha"), Some("alq")] {
        let names: Vec<_> = (snapshot.streams(prefix, after, count).unwrap().into_iter())
            .map(|info| (info.name.unwrap(), info.id, info.version))
            .collect();
        assert_eq!(names, model.names(prefix, after, count), "{spec:?}");
    }
}

/// Everything that can be asked of a log.
fn check(snapshot: &Snapshot, model: &Model) {
    assert_eq!(snapshot.head(), model.head());
    for direction in [Direction::Forward, Direction::Backward] {
        let start = if direction == Direction::Forward { 0 } else { u64::MAX };
        assert_eq!(snapshot.read_all(start, u64::MAX, direction).unwrap(), model.all(start, u64::MAX, direction));
        for number in 0..STREAMS - 1 {
            let (stream, id) = (stream(number), stream(number).resolve().unwrap().id);
            if let Some(expected) = model.stream(id, start, u64::MAX, direction) {
                let events = snapshot.read_stream(&stream, start, u64::MAX, direction).unwrap();
                assert_same(&events, &expected, &stream);
            }
            assert_eq!(snapshot.stream_info(&stream).unwrap().map(told), model.info(id), "{stream}");
        }
        let queries = (TYPES.iter().map(|text| Criteria { types: vec![(*text).to_owned()], ..Criteria::default() }))
            .chain(TAGS.iter().map(|text| Criteria { tags: vec![(*text).to_owned()], ..Criteria::default() }))
            .chain(PREFIXES.iter().map(|text| Criteria { prefix: Some((*text).to_owned()), ..Criteria::default() }));
        for item in queries {
            let items = [item];
            let events = snapshot.query(query(&items), start, u64::MAX, direction).unwrap();
            assert_same(&events, &model.query(&items, start, u64::MAX, direction), &items);
        }
    }
    for prefix in PREFIXES {
        let names: Vec<_> = (snapshot.streams(prefix, None, usize::MAX).unwrap().into_iter())
            .map(|info| (info.name.unwrap(), info.id, info.version))
            .collect();
        assert_eq!(names, model.names(prefix, None, usize::MAX));
    }
}

fn run(setup: Setup, ops: &[Op]) {
    let mut run = Run::new(setup);
    for op in ops {
        run.run(op);
    }
    check(&run.store().log().snapshot(), &run.model);
    for (snapshot, model) in std::mem::take(&mut run.snapshots) {
        check(&snapshot, &model);
    }
    run.shut(false);
    run.reopen();
    check(&run.store().log().snapshot(), &run.model);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_store_does_what_its_model_does(setup in setup(), ops in prop::collection::vec(op(), 1..60)) {
        run(setup, &ops);
    }
}
