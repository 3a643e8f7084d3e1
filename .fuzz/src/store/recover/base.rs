//! Stores as a process leaves them: closed, killed, or cut off by a power failure, in recovery too.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use eventfold_io::Operation;
use eventfold_io::sim::{FailedPages, Fault, Keep, Sector, SimDisk, SimOptions, When};
use eventfold_store::{Append, Error, NotStaged, ProposedEvent, RecordedEvent, Staged, Store, StreamName};

use super::super::scenario::{World, id};
use super::reading::{self, Found};

/// How many are kept for the next input that asks for them.
const BASES_MAX: usize = 96;

const STREAMS: [&str; 4] = ["order-1", "order-2", "audit", "é"];
const TYPES: [&str; 3] = ["Opened", "Changed", "Closed"];

/// A store, and what was asked of it.
pub(super) struct Base {
    pub(super) sim: SimDisk,
    /// All that was ever asked for, where it stands or would stand.
    pub(super) events: Vec<RecordedEvent>,
    /// Below this position everything was acknowledged, or served.
    pub(super) certain: u64,
    /// Where appends end: the log can end nowhere else.
    pub(super) ends: Vec<u64>,
    /// A clean close was acknowledged, and nothing was done behind it.
    pub(super) closed: bool,
    /// What stands in its segments.
    pub(super) frames: Vec<Found>,
}

/// The store of this recipe: what was done, and which subset of what was unsynced is kept.
pub(super) fn base(recipe: u16) -> Arc<Base> {
    static BASES: LazyLock<Mutex<BTreeMap<u16, Arc<Base>>>> = LazyLock::new(Mutex::default);
    let mut bases = BASES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(base) = bases.get(&recipe) {
        return base.clone();
    }
    if bases.len() == BASES_MAX {
        bases.clear();
    }
    let base = Arc::new(build(recipe));
    bases.insert(recipe, base.clone());
    base
}

/// A process at work.
struct Life {
    world: World,
    store: Option<Store>,
    events: Vec<RecordedEvent>,
    ends: Vec<u64>,
    payload: usize,
    next: u64,
}

impl Life {
    fn open(&mut self) {
        self.store = Some(self.world.open());
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("it was opened")
    }

    fn append(&self) -> Append {
        let number = self.next;
        let stream = |number: u64| STREAMS[usize::try_from(number % 4).expect("it is small")];
        let event = |event: u64| {
            let number = number * 4 + event;
            let payload = vec![u8::try_from(number % 250).expect("it is small") + 1; self.payload];
            let event_type = TYPES[usize::try_from(number % 3).expect("it is small")];
            ProposedEvent::new(event_type, payload).with_id(id(number)).with_tags([format!("tag-{}", number % 3)])
        };
        let append = Append::new().events(stream(number), vec![event(0)]);
        if number % 3 == 1 { append.events(stream(number + 1), vec![event(1), event(2)]) } else { append }
    }

    /// Stages the next append. What is staged before is committed first where it has to be.
    fn stage(&mut self) -> Result<(), Error> {
        let append = self.append();
        self.next += 1;
        let mut prepared = self.store().log().prepare(append)?;
        loop {
            match self.store().stage(prepared) {
                Ok(Staged::Accepted(events)) => {
                    self.events.extend(events);
                    self.ends.push(self.events.len() as u64);
                    return Ok(());
                }
                Err(NotStaged::CommitFirst(again)) => {
                    self.store().commit()?;
                    prepared = again;
                }
                Err(NotStaged::Refused(error)) => return Err(error),
                other => panic!("{other:?}"),
            }
        }
    }

    fn committed(&mut self, appends: u64) {
        for _ in 0..appends {
            self.stage().expect("nothing goes wrong");
            self.store().commit().expect("nothing goes wrong");
        }
    }

    fn close(&mut self) {
        self.store.take().expect("it was opened").close().expect("nothing goes wrong");
    }

    fn kill(&mut self) {
        self.world.sim.kill();
        self.store = None;
        self.world.sim.clear_faults();
    }

    /// A few appends in one group, which the disk does not live to sync.
    fn cut_commit(&mut self, appends: u64, fault: Fault) -> u64 {
        let on = When::on_any(&[Operation::SyncData, Operation::SyncAll]);
        for _ in 1..appends {
            self.stage().expect("nothing goes wrong");
        }
        let certain = self.store().global_position();
        self.world.sim.inject(on, fault);
        if self.stage().is_ok() {
            drop(self.store().commit().expect_err("the sync fails"));
        }
        let certain = certain.max(self.store().global_position());
        self.kill();
        certain
    }
}

fn build(recipe: u16) -> Base {
    let [life, keep] = recipe.to_le_bytes();
    // Small appends in one segment; some that cross a border; groups that fill one nearly.
    let (payload, appends) = [(20, 5), (9_000, 12), (2_500, 12), (200, 30)][usize::from(life & 3)];
    let mut options = SimOptions::new(u64::from(recipe));
    options.sector = if life >> 5 & 1 == 0 { Sector::B4096 } else { Sector::B512 };
    let world = World::on(SimDisk::new(options), 1 + u64::from(recipe));
    let mut it = Life { world, store: None, events: Vec::new(), ends: vec![0], payload, next: 0 };
    it.open();
    it.committed(appends / 2);
    match life >> 6 {
        0 => {}
        1 => it.store().note_idle().expect("nothing goes wrong"),
        2 => it.store().set_idempotency_window(100).expect("nothing goes wrong"),
        _ => {
            it.close();
            it.open();
        }
    }
    it.committed(appends - appends / 2);

    let keep = Keep::Units(vec![u64::from(keep).wrapping_mul(0x0101_0101_0101_0101); 16]);
    let (mut closed, mut certain) = (false, it.events.len() as u64);
    match life >> 2 & 7 {
        0 => {
            it.close();
            closed = true;
        }
        1 => it.kill(),
        2 => {
            it.store().note_idle().expect("nothing goes wrong");
            it.kill();
        }
        // The power fails in a commit, and perhaps again in the recovery.
        way @ 3..=5 => {
            certain = it.cut_commit(1 + u64::from(recipe >> 8) % 3, Fault::Die);
            it.world.sim.crash(&keep);
            if way > 3 {
                it.world.sim.inject(When::at(5 + u64::from(recipe >> 10) % 30), Fault::Die);
                let opened = it.world.try_open();
                it.world.sim.clear_faults();
                if let Ok(store) = opened {
                    certain = certain.max(store.global_position());
                    it.world.sim.kill();
                }
                it.world.sim.crash(&keep);
            }
        }
        // What the cache shows after the sync that failed is not what the disk has.
        6 => {
            let (kind, pages) = (eventfold_io::IoErrorKind::DeviceFailed, FailedPages::Clean);
            certain = it.cut_commit(2, Fault::FailedSync { kind, pages, reached: keep.clone() });
        }
        // The next segment has its first append, and the one before no footer yet.
        _ => {
            it.payload = 9_000;
            while it.world.segments() < 3 {
                it.committed(1);
            }
            certain = it.events.len() as u64;
            it.world.sim.kill();
            it.store = None;
        }
    }
    if !matches!(life >> 2 & 7, 3..=5) {
        it.world.sim.crash(&if life >> 2 & 7 == 6 { Keep::Nothing } else { keep });
    }
    let frames = reading::frames(&super::files(&it.world.sim));
    Base { sim: it.world.sim, events: it.events, certain, ends: it.ends, closed, frames }
}

/// A name of a stream that stores of this kind have.
pub(super) fn stream(number: u8) -> StreamName {
    StreamName::new(STREAMS[usize::from(number) % STREAMS.len()]).expect("it is a name")
}
