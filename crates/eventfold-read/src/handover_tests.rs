//! The hand-over from history to what comes, over all interleavings: a [`Cursor`] and a [`Registry`] with a log between them,
//! of a few events, that grows, is followed and ends whenever it can.
//!
//! Each state that can be reached is looked at once. The facts checked are those that users rely on: each event once and in
//! order, nothing left out, `CaughtUp` when the head was reached and not otherwise, and nobody asleep beside an event.

use std::collections::HashSet;

use eventfold_store::WatchedTerm;
use uuid::Uuid;

use crate::cursor::{Cursor, Found, Placed, Step};
use crate::registry::{Passing, Registry};

impl Placed for u64 {
    fn position(&self) -> u64 {
        *self
    }
}

/// What is tried.
#[derive(Clone, Copy, Debug)]
struct Scope {
    /// How many subscriptions there are, all to the same.
    readers: usize,
    events_max: u64,
    from: u64,
    /// Whether the subscriptions are to one stream of two, or to everything.
    filtered: bool,
    batch_events: usize,
    batch_positions: u64,
    checkpoint_interval: u64,
}

#[derive(Clone, Debug)]
struct World {
    /// Whether each event is of the stream subscribed to.
    log: Vec<bool>,
    ended: bool,
    registry: Registry<usize>,
    /// The head that whoever follows the log has waited for, while it passes what has come since: more may have come than that.
    following: Option<u64>,
    failures_left: u32,
    readers: Vec<Reader>,
}

#[derive(Clone, Debug)]
struct Reader {
    cursor: Cursor<u64>,
    id: Option<u64>,
    /// A read that is under way, and whether the log had ended when it looked.
    reading: Option<(u64, Option<bool>)>,
    /// It sleeps, having seen everything below this.
    asleep: Option<u64>,

    /// The next position of which nothing was handed out.
    handed: u64,
    told: u64,
    /// Whether `CaughtUp` is due when the head is reached.
    caught_up_due: bool,
    /// The head that the last read saw.
    head_seen: u64,
    stopped: bool,
}

const STREAM: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

impl World {
    fn new(scope: Scope) -> Self {
        let reader = Reader {
            cursor: Cursor::new(scope.from, scope.checkpoint_interval),
            id: None,
            reading: None,
            asleep: None,
            handed: scope.from,
            told: scope.from,
            caught_up_due: true,
            head_seen: 0,
            stopped: false,
        };
        Self {
            log: Vec::new(),
            ended: false,
            registry: Registry::new(0),
            following: None,
            failures_left: 1,
            readers: vec![reader; scope.readers],
        }
    }

    fn head(&self) -> u64 {
        self.log.len() as u64
    }

    /// The first event wanted at or behind `from` and below `to`.
    fn wanted(&self, from: u64, to: u64) -> Option<u64> {
        (from..to.min(self.head())).find(|position| self.log[usize::try_from(*position).unwrap()])
    }

    /// What the registry does of which somebody may be woken.
    fn following(&mut self, change: impl FnOnce(&mut Registry<usize>, &mut Vec<usize>)) {
        let mut woken = Vec::new();
        change(&mut self.registry, &mut woken);
        for number in woken {
            let seen = self.readers[number].asleep.take().expect("nobody is woken who is awake");
            assert!(self.registry.passed() > seen || self.registry.has_ended(), "it has seen everything: {self:?}");
        }
    }

    /// Everything that can happen next.
    fn successors(&self, scope: Scope) -> Vec<World> {
        let mut next = Vec::new();
        let mut and = |change: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            next.push(world);
        };
        // The writer.
        if !self.ended {
            if self.head() < scope.events_max {
                and(&|world| world.log.push(true));
                if scope.filtered {
                    and(&|world| world.log.push(false));
                }
            }
            and(&|world| world.ended = true);
        }
        // Whoever follows the log: it waits for a head, then passes what has come, up to there or further, or fails on the way.
        let passed = self.registry.passed();
        match self.following {
            None if passed < self.head() => and(&|world| world.following = Some(world.head())),
            None if self.ended && !self.registry.has_ended() => {
                and(&|world| world.following(Registry::end));
            }
            None => {}
            Some(head) => {
                if !self.registry.needs_events() {
                    and(&|world| {
                        world.following = None;
                        world.following(|registry, woken| registry.move_to(head, woken));
                    });
                }
                if passed < self.head() && self.registry.needs_events() {
                    let stream = if self.log[usize::try_from(passed).unwrap()] { STREAM } else { OTHER };
                    and(&|world| {
                        let tags = &mut std::iter::empty();
                        let event = Passing { position: passed, stream, event_type: "T", tags };
                        world.following(|registry, woken| registry.pass(event, woken));
                    });
                }
                if passed >= head {
                    and(&|world| world.following = None);
                }
                if self.failures_left > 0 && self.registry.needs_events() {
                    and(&|world| {
                        world.failures_left -= 1;
                        world.following = None;
                        world.following(|registry, woken| registry.pass_unseen(head, woken));
                    });
                }
            }
        }
        for (number, reader) in self.readers.iter().enumerate() {
            // The read: it looks whether the log has ended, then at the log.
            match reader.reading {
                Some((from, None)) => {
                    and(&|world| world.readers[number].reading = Some((from, Some(world.ended))));
                    if self.failures_left > 0 {
                        and(&|world| {
                            world.failures_left -= 1;
                            world.readers[number].reading = None;
                        });
                    }
                }
                Some((from, Some(ended))) => and(&|world| world.read(scope, number, from, ended)),
                // The subscriber; asleep, it may be polled all the same.
                None => and(&|world| world.step(scope, number)),
            }
        }
        next
    }

    fn read(&mut self, scope: Scope, number: usize, from: u64, ended: bool) {
        let head = self.head();
        let until = from.saturating_add(scope.batch_positions).min(head);
        let (mut events, mut next) = (Vec::new(), until.max(from).max(if from >= head { head } else { 0 }));
        let mut at = from;
        while let Some(position) = self.wanted(at, until) {
            events.push(position);
            at = position + 1;
            if events.len() == scope.batch_events {
                next = at;
                break;
            }
        }
        let reader = &mut self.readers[number];
        if next < head {
            reader.caught_up_due = true;
        }
        reader.head_seen = head;
        reader.reading = None;
        reader.cursor.found(Found { events, next, head, ended });
    }

    fn step(&mut self, scope: Scope, number: usize) {
        let step = self.readers[number].cursor.step();
        let Reader { handed, told, caught_up_due, head_seen, stopped, .. } = self.readers[number];
        match step {
            Step::Event(position) => {
                assert_eq!(Some(position), self.wanted(handed, u64::MAX), "each event once and in order");
                let reader = &mut self.readers[number];
                reader.handed = position + 1;
                reader.told = reader.handed;
                reader.caught_up_due = true;
            }
            Step::CaughtUp(position) => {
                assert!(caught_up_due, "nothing has come since it was said");
                assert!(position >= head_seen, "the head was not reached");
                self.says_all_below(scope, number, position);
                self.readers[number].caught_up_due = false;
            }
            Step::Checkpoint(position) => {
                assert!(position - told >= scope.checkpoint_interval, "it is too soon");
                self.says_all_below(scope, number, position);
            }
            Step::Read(from) => self.readers[number].reading = Some((from, None)),
            Step::Wait { seen, at } => {
                assert!(!caught_up_due, "it waits and has not said that it has caught up");
                assert!(self.wanted(handed, seen).is_none(), "it waits behind what it has not handed out");
                let head = self.head();
                let id = *self.readers[number].id.get_or_insert_with(|| {
                    let term = if scope.filtered { WatchedTerm::Stream(STREAM) } else { WatchedTerm::Any };
                    if self.registry.is_empty() {
                        self.registry.start_at(head);
                    }
                    self.registry.register(vec![term])
                });
                let mut unneeded = Vec::new();
                let sleeps = self.registry.sleep(id, seen, at, number, &mut unneeded);
                self.readers[number].asleep = sleeps.then_some(seen);
                if !sleeps {
                    self.readers[number].cursor.wake();
                }
            }
            Step::Stop => {
                assert!(!stopped && self.ended);
                assert!(!caught_up_due && self.wanted(handed, u64::MAX).is_none(), "it stops too early");
                self.readers[number].stopped = true;
            }
            Step::Stopped => assert!(stopped),
        }
    }

    fn says_all_below(&mut self, scope: Scope, number: usize, position: u64) {
        let Reader { handed, told, head_seen, .. } = self.readers[number];
        assert!(self.wanted(handed, position).is_none(), "an event below {position} was left out");
        assert!(position >= told, "positions go forward");
        assert!(position <= head_seen.max(scope.from), "it has not looked behind the head");
        let reader = &mut self.readers[number];
        reader.told = position;
        reader.handed = handed.max(position);
    }

    /// Where nobody has anything to do before the writer goes on, there must be nothing left to hand out.
    fn check_at_rest(&self, scope: Scope) {
        let followed = self.following.is_none()
            && self.registry.passed() >= self.head()
            && (!self.ended || self.registry.has_ended());
        for reader in self.readers.iter().filter(|reader| reader.asleep.is_some() && followed) {
            assert_eq!(self.wanted(reader.handed, u64::MAX), None, "asleep beside an event: {self:?}");
            assert!(!self.ended, "asleep, and nothing comes: {self:?}");
            let behind = self.head().saturating_sub(reader.told);
            assert!(behind < scope.checkpoint_interval, "a checkpoint is due: {self:?}");
        }
    }
}

/// Goes to every state that can be reached. Returns how many there are.
fn explore(scope: Scope) -> usize {
    let mut known = HashSet::new();
    let mut to_do = vec![World::new(scope)];
    while let Some(world) = to_do.pop() {
        if known.insert(format!("{world:?}")) {
            world.check_at_rest(scope);
            to_do.extend(world.successors(scope));
        }
    }
    known.len()
}

#[test]
fn every_interleaving_hands_out_each_event_once() {
    let mut states = 0;
    for filtered in [false, true] {
        for from in [0, 2] {
            for batch_events in [1, 2] {
                for batch_positions in [1, u64::MAX] {
                    for checkpoint_interval in [1, 2, 100] {
                        states += explore(Scope {
                            readers: 1,
                            events_max: 3,
                            from,
                            filtered,
                            batch_events,
                            batch_positions,
                            checkpoint_interval,
                        });
                    }
                }
            }
        }
    }
    assert!(states > 10_000, "only {states} states were reached");
}

#[test]
fn those_who_wait_for_the_same_take_nothing_from_each_other() {
    let (events_max, batch_events, batch_positions) = (2, 2, u64::MAX);
    let scope = Scope {
        readers: 2,
        events_max,
        from: 0,
        filtered: true,
        batch_events,
        batch_positions,
        checkpoint_interval: 2,
    };
    let states = explore(scope);
    assert!(states > 10_000, "only {states} states were reached");
}
