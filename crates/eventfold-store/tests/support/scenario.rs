//! A store on a simulated disk, with a clock that stands still and numbers that follow from a seed: one seed gives the same
//! bytes every time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventfold_io::sim::{SimDisk, SimOptions};
use eventfold_store::{Environment, Error, ProposedEvent, Store, StoreOptions};
use uuid::Uuid;

/// The time at which everything happens.
pub(crate) const NOW: u64 = 1_700_000_000_000;

/// A still clock, and a generator.
#[derive(Debug)]
pub(crate) struct Seeded(AtomicU64);

impl Seeded {
    fn next(&self) -> u64 {
        // SplitMix64: every seed gives another sequence, and no two numbers of one are the same.
        let state = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Environment for Seeded {
    fn unix_ms(&self) -> u64 {
        NOW
    }

    fn random(&self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}

/// A disk, and how the store on it is opened.
pub(crate) struct World {
    pub(crate) sim: SimDisk,
    environment: Arc<Seeded>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::on(SimDisk::new(SimOptions::new(seed)), seed)
    }

    /// On a disk that was used before, in processes of other seeds.
    pub(crate) fn on(sim: SimDisk, seed: u64) -> Self {
        Self { sim, environment: Arc::new(Seeded(AtomicU64::new(seed))) }
    }

    /// No thread, and the smallest segments at which nothing but the options is said.
    pub(crate) fn options(&self) -> StoreOptions {
        Store::builder().background(false).environment(self.environment.clone())
    }

    /// With the smallest segments, so that a few dozen appends cross their borders.
    pub(crate) fn open(&self) -> Store {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<Store, Error> {
        self.options().segment_size(64 << 10).open_on(self.sim.attach())
    }

    /// Every file and what is in it.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let names = self.sim.names();
        names.into_iter().map(|name| (name.clone(), self.sim.contents(&name).unwrap())).collect()
    }

    /// How many segment files there are.
    pub(crate) fn segments(&self) -> usize {
        self.sim.names().iter().filter(|name| name.ends_with(".segment")).count()
    }
}

/// The id of the event of this number.
pub(crate) fn id(number: u64) -> Uuid {
    Uuid::from_u128(0xE0 << 120 | u128::from(number))
}

/// The event of this number, with an id of its own.
pub(crate) fn event(number: u64) -> ProposedEvent {
    ProposedEvent::new("Happened", number.to_le_bytes().to_vec()).with_id(id(number))
}

/// The event of this number, large enough that a dozen of them fill a segment.
pub(crate) fn large_event(number: u64) -> ProposedEvent {
    ProposedEvent::new("Filled", vec![number.to_le_bytes()[0]; 5_000]).with_id(id(number))
}
