//! Lists of operations, run on a store and on the reference of [`super::model`]: where the lists come from is not its
//! business.

use eventfold_io::Operation;
use eventfold_io::sim::{Fault, FaultKind, Keep, When};
use eventfold_store::{
    Commit, Direction, Error, ExpectedVersion, Healed, NO_STREAM, NotStaged, PreparedAppend, ProposedEvent,
    RecordedEvent, Snapshot, Staged, Store, StreamName, StreamRef,
};
use uuid::Uuid;

use super::model::{Asked, Condition, Criteria, Model, Outcome, assert_same, query, told};
use super::scenario::{World, id};

/// How many snapshots are kept at once.
const SNAPSHOTS_MAX: usize = 3;

pub(crate) const TYPES: [&str; 4] = ["Opened", "Changed", "Closed", "Opened2"];
pub(crate) const TAGS: [&str; 4] = ["red", "green", "blue", "a-tag-that-is-much-longer-than-the-others"];
pub(crate) const PREFIXES: [&str; 5] = ["a", "al", "alpha", "b", "none"];

/// A stream, in one of the ways in which it can be given.
pub(crate) fn stream(number: usize) -> StreamRef {
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

pub(crate) const STREAMS: usize = 10;

/// An event, without its id.
#[derive(Clone, Debug)]
pub(crate) struct EventSpec {
    pub(crate) event_type: usize,
    pub(crate) tags: Vec<usize>,
    pub(crate) len: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum ConditionSpec {
    Any(usize),
    NoStream(usize),
    Exists(usize),
    /// So much above what the last version is.
    Exact(usize, i64),
    /// `after` is so much below the head.
    NoMatch(Vec<Criteria>, Option<u64>),
}

#[derive(Clone, Debug)]
pub(crate) enum AppendSpec {
    New {
        runs: Vec<(usize, Vec<EventSpec>)>,
        conditions: Vec<ConditionSpec>,
    },
    /// An append that was asked for before.
    Again {
        which: usize,
        change: Change,
        /// Other conditions than it had.
        conditions: Option<Vec<ConditionSpec>>,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Nothing,
    Payload,
    /// The last event is another.
    LastId,
    OneMore,
    OtherStream(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct ReadSpec {
    pub(crate) from: usize,
    pub(crate) max_count: u64,
    pub(crate) backward: bool,
    pub(crate) items: Vec<Criteria>,
    pub(crate) stream: usize,
    pub(crate) prefix: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
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
    /// There is room for so many bytes more while these are appended.
    Full {
        room: u64,
        specs: Vec<AppendSpec>,
    },
    /// Something goes wrong while these are appended, in one group or one by one, and perhaps when the store is closed.
    Failing {
        when: When,
        fault: Fault,
        specs: Vec<AppendSpec>,
        grouped: bool,
        ending: Ending,
        /// Something goes wrong when the store is opened again.
        reopening: Option<(When, Fault)>,
    },
}

/// What comes after something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The store is used as before, if it takes appends.
    GoOn,
    Close,
    Kill,
    /// The power fails, and what is unsynced is kept by the seed.
    Crash,
}

/// How the store is made and opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) segment_size: u64,
    pub(crate) window: u32,
    pub(crate) hot_tail_bytes: u64,
    pub(crate) cache_bytes: u64,
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
        self.try_open(read_only).unwrap()
    }

    fn try_open(&self, read_only: bool) -> Result<Store, Error> {
        let Setup { segment_size, window, hot_tail_bytes, cache_bytes, .. } = self.setup;
        let mut options = (self.world.options())
            .segment_size(segment_size)
            .hot_tail_bytes(hot_tail_bytes)
            .cache_bytes(cache_bytes)
            .read_only(read_only);
        if self.world.sim.names().is_empty() {
            options = options.idempotency_window(window);
        }
        options.open_on(self.world.sim.attach())
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
                let mut asked = self.asked[which % self.asked.len()].clone();
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
        let answer = self.store().append_all(asked.append());
        self.check_answer(asked, answer);
    }

    fn check_answer(&mut self, asked: &Asked, answer: Result<Vec<RecordedEvent>, Error>) {
        let expected = self.model.append(asked);
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
        // A segment whose preparation failed is left as it is, and is prepared anew before it is used.
        let cut = |kind| matches!(kind, FaultKind::FailedSync(_) | FaultKind::ShortWrite);
        let prepared_badly = self.world.sim.counts().iter().any(|(kind, _)| cut(kind));
        let healed = |healed: &Healed| prepared_badly && matches!(healed, Healed::HeaderCopy { .. });
        assert!(store.recovery_report().healed.iter().all(healed), "{:?}", store.recovery_report());
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
        check_events(&store.log().snapshot(), &self.model);
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
        check_events(&store.log().snapshot(), &model);
        drop(store);
        assert!(self.world.files() == before, "reading changes nothing");
        self.reopen();
    }

    fn full(&mut self, room: u64, specs: &[AppendSpec]) {
        self.world.sim.set_capacity(self.world.sim.used() + room);
        let pending = self.appends_in_trouble(specs);
        assert!(pending.is_empty(), "a full disk refuses whole appends and no more");
        self.world.sim.set_capacity(u64::MAX);
    }

    /// Appends one by one while the disk fails. Returns those of which nobody knows whether they stand.
    fn appends_in_trouble(&mut self, specs: &[AppendSpec]) -> Vec<Asked> {
        let mut pending = Vec::new();
        for spec in specs {
            let asked = self.asked(spec);
            match self.store().append_all(asked.append()) {
                Err(Error::OutcomeUnknown { .. }) => pending.push(asked),
                Err(error) if is_refusal(&error) => {}
                answer => {
                    assert!(pending.is_empty(), "{asked:?} was answered behind one of unknown outcome");
                    self.check_answer(&asked, answer);
                }
            }
        }
        assert!(pending.len() <= 1, "after the first of unknown outcome no more is written");
        pending
    }

    /// Stages them all, and commits, while the disk fails. Returns those of which nobody knows whether they stand.
    fn group_in_trouble(&mut self, specs: &[AppendSpec]) -> Vec<Asked> {
        let (mut ahead, mut pending) = (self.model.clone(), Vec::new());
        for spec in specs {
            let asked = self.asked(spec);
            let mut prepared = match self.store().log().prepare(asked.append()) {
                Ok(prepared) => prepared,
                Err(error) if is_refusal(&error) => continue,
                Err(error) => panic!("{error:?}"),
            };
            let outcome = loop {
                match self.store().stage(prepared) {
                    Ok(staged) => break Some(Outcome::of(Ok(staged))),
                    Err(NotStaged::Refused(error)) if is_refusal(&error) => break None,
                    // Rolling failed, before which all others were committed.
                    Err(NotStaged::Refused(Error::OutcomeUnknown { .. })) => {
                        assert!(pending.is_empty());
                        return vec![asked];
                    }
                    Err(NotStaged::Refused(error)) => break Some(Outcome::of(Err(error))),
                    Err(NotStaged::Outdated(again)) => match self.store().log().prepare_again(again) {
                        Ok(again) => prepared = again,
                        Err(error) if is_refusal(&error) => break None,
                        Err(error) => panic!("{error:?}"),
                    },
                    Err(NotStaged::CommitFirst(again)) => {
                        if !self.commit_in_trouble(&ahead, &mut pending) {
                            return pending;
                        }
                        prepared = again;
                    }
                    Err(other) => panic!("{other:?}"),
                }
            };
            if let Some(outcome) = outcome {
                assert_eq!(outcome, ahead.append(&asked), "{asked:?}");
                if matches!(outcome, Outcome::Accepted(_)) {
                    pending.push(asked);
                }
            }
        }
        self.commit_in_trouble(&ahead, &mut pending);
        pending
    }

    /// Commits what is pending, which leads to the model `ahead`. Returns whether that worked; what is pending afterwards may
    /// stand.
    fn commit_in_trouble(&mut self, ahead: &Model, pending: &mut Vec<Asked>) -> bool {
        let committed = self.store().commit();
        match &committed {
            Ok(_) => {
                self.model = ahead.clone();
                pending.clear();
            }
            Err(Error::OutcomeUnknown { .. }) => {}
            Err(error) if is_refusal(error) => pending.clear(),
            Err(error) => panic!("{error:?}"),
        }
        committed.is_ok()
    }

    fn deaths(&self) -> u64 {
        self.world.sim.counts().of(FaultKind::Death)
    }

    /// What is read while the disk fails is right, or an error.
    fn read_in_trouble(&mut self) {
        match self.store().read_all(0, u64::MAX) {
            Ok(events) => assert_same(&events, &self.model.events, &"reading while the disk fails"),
            Err(error) => assert!(is_refusal(&error), "{error:?}"),
        }
    }

    /// Goes on with a sound disk. `pending` were asked for, in this order, and each may stand if those before it do.
    fn end(&mut self, ending: Ending, reopening: Option<&(When, Fault)>, pending: &[Asked]) {
        if ending == Ending::GoOn {
            self.world.sim.clear_faults();
            if self.store().log().poison().is_none() && pending.is_empty() {
                return;
            }
        }
        self.snapshots.clear();
        let store = self.store.take().unwrap();
        match ending {
            // What went wrong, opening again decides.
            Ending::Close => drop(store.close()),
            Ending::GoOn => drop(store),
            Ending::Kill | Ending::Crash => {
                self.world.sim.kill();
                drop(store);
            }
        }
        self.world.sim.clear_faults();
        if ending == Ending::Crash {
            self.world.sim.crash(&Keep::Seeded);
        }
        if let Some((when, fault)) = reopening {
            let deaths = self.deaths();
            self.world.sim.inject(when.clone(), fault.clone());
            let opened = self.try_open(false);
            self.world.sim.clear_faults();
            match opened {
                Ok(store) if self.deaths() == deaths => {
                    self.recovered(&store, pending);
                    self.world.sim.crash(&Keep::Nothing);
                    drop(store);
                    let store = self.open(false);
                    assert_eq!(store.global_position(), self.model.head(), "what was served once stays");
                    self.store = Some(store);
                    return;
                }
                // It died when all of the log was known.
                Ok(store) => drop(store),
                Err(error) => assert!(is_refusal(&error), "{error:?}"),
            }
            self.world.sim.kill();
            if ending == Ending::Crash {
                self.world.sim.crash(&Keep::Seeded);
            }
        }
        let store = self.open(false);
        self.recovered(&store, pending);
        self.store = Some(store);
    }

    /// Takes from the store which of the pending appends stand: the first ones, whole.
    fn recovered(&mut self, store: &Store, pending: &[Asked]) {
        let head = store.global_position();
        for asked in pending {
            if self.model.head() == head {
                break;
            }
            let outcome = self.model.append(asked);
            assert!(matches!(outcome, Outcome::Accepted(_)), "{asked:?} was staged, and is {outcome:?}");
        }
        assert_eq!(head, self.model.head(), "acknowledged appends, then whole ones that were asked for");
        let events = store.read_all(0, u64::MAX).unwrap();
        assert_same(&events, &self.model.events, &"reading after a recovery");
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
            Op::Full { room, specs } => self.full(*room, specs),
            Op::Failing { when, fault, specs, grouped, ending, reopening } => {
                let deaths = self.deaths();
                self.world.sim.inject(when.clone(), fault.clone());
                let pending = if *grouped { self.group_in_trouble(specs) } else { self.appends_in_trouble(specs) };
                self.read_in_trouble();
                // Nobody goes on with a process that is dead.
                let ending = if self.deaths() > deaths && *ending == Ending::GoOn { Ending::Kill } else { *ending };
                self.end(ending, reopening.as_ref(), &pending);
            }
        }
        assert_eq!(self.store().global_position(), self.model.head());
    }
}

fn read(snapshot: &Snapshot, model: &Model, spec: &ReadSpec) {
    let direction = if spec.backward { Direction::Backward } else { Direction::Forward };
    let from = |end: u64| spec.from as u64 % (end + 3);
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

/// Whether nothing of what was asked for was done, since the disk fails or has failed.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Poisoned { .. } | Error::StorageFull { .. } | Error::Read(_) | Error::Io(_))
}

/// All events, and how far each stream is.
fn check_events(snapshot: &Snapshot, model: &Model) {
    assert_eq!(snapshot.head(), model.head());
    assert_same(&snapshot.read_all(0, u64::MAX, Direction::Forward).unwrap(), &model.events, &"all events");
    for number in 0..STREAMS - 1 {
        let (stream, id) = (stream(number), stream(number).resolve().unwrap().id);
        assert_eq!(snapshot.stream_info(&stream).unwrap().map(told), model.info(id), "{stream}");
    }
}

/// Everything that can be asked of a log.
fn check(snapshot: &Snapshot, model: &Model, direction: Direction) {
    check_events(snapshot, model);
    let start = if direction == Direction::Forward { 0 } else { u64::MAX };
    assert_same(
        &snapshot.read_all(start, u64::MAX, direction).unwrap(),
        &model.all(start, u64::MAX, direction),
        &direction,
    );
    for number in 0..STREAMS - 1 {
        let (stream, id) = (stream(number), stream(number).resolve().unwrap().id);
        if let Some(expected) = model.stream(id, start, u64::MAX, direction) {
            let events = snapshot.read_stream(&stream, start, u64::MAX, direction).unwrap();
            assert_same(&events, &expected, &stream);
        }
    }
    let queries = (TYPES.iter().map(|text| Criteria { types: vec![(*text).to_owned()], ..Criteria::default() }))
        .chain(TAGS.iter().map(|text| Criteria { tags: vec![(*text).to_owned()], ..Criteria::default() }))
        .chain(PREFIXES.iter().map(|text| Criteria { prefix: Some((*text).to_owned()), ..Criteria::default() }));
    for item in queries {
        let items = [item];
        let events = snapshot.query(query(&items), start, u64::MAX, direction).unwrap();
        assert_same(&events, &model.query(&items, start, u64::MAX, direction), &items);
    }
    for prefix in PREFIXES {
        let names: Vec<_> = (snapshot.streams(prefix, None, usize::MAX).unwrap().into_iter())
            .map(|info| (info.name.unwrap(), info.id, info.version))
            .collect();
        assert_eq!(names, model.names(prefix, None, usize::MAX));
    }
}

pub(crate) fn run(setup: Setup, ops: &[Op]) {
    let mut run = Run::new(setup);
    for op in ops {
        run.run(op);
    }
    check(&run.store().log().snapshot(), &run.model, Direction::Forward);
    for (snapshot, model) in std::mem::take(&mut run.snapshots) {
        check(&snapshot, &model, Direction::Backward);
    }
    run.shut(false);
    run.reopen();
    check(&run.store().log().snapshot(), &run.model, Direction::Backward);
}
