//! What several test files share.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a helper of tests that can't go on fails them")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use eventfold_io::Operation;
use eventfold_io::sim::{Fault, SimDisk, SimOptions, When};
use eventfold_store::{Environment, ProposedEvent, Store, StoreOptions};

/// A clock that stands still and can be told to fail, and numbers that are never the same twice.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) panics: AtomicBool,
}

impl Environment for World {
    fn unix_ms(&self) -> u64 {
        assert!(!self.panics.load(Ordering::SeqCst), "the clock has stopped");
        1_700_000_000_000
    }

    fn random(&self) -> u128 {
        // Of the process, so that a store that is opened again goes on.
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let mut mixed = ASKED.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u128::from(mixed ^ (mixed >> 31)) << 64 | u128::from(mixed)
    }
}

pub(crate) fn disk() -> SimDisk {
    SimDisk::new(SimOptions::new(1))
}

pub(crate) fn options() -> StoreOptions {
    Store::builder().segment_size(64 << 10).background(false).environment(Arc::new(World::default()))
}

pub(crate) fn store(disk: &SimDisk) -> Store {
    options().open_on(disk.attach()).unwrap()
}

pub(crate) fn event(text: &str) -> ProposedEvent {
    ProposedEvent::new(text, "{}")
}

pub(crate) fn events() -> Vec<ProposedEvent> {
    vec![event("Happened")]
}

/// Holds up the syncs of segments' data, until it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    arrived: u64,
    open: bool,
}

impl Gate {
    /// The next `syncs` of these have to wait at the gate.
    pub(crate) fn close(disk: &SimDisk, syncs: u64) -> Self {
        let gate = Self(Arc::default());
        let hook = gate.clone();
        disk.on_delay(move |_| {
            let (state, moved) = &*hook.0;
            let mut state = state.lock().unwrap();
            state.arrived += 1;
            moved.notify_all();
            while !state.open {
                state = moved.wait(state).unwrap();
            }
        });
        let when = When::on(Operation::SyncData).of("*.segment").times(syncs);
        disk.inject(when, Fault::Slow(Duration::from_secs(1)));
        gate
    }

    /// Waits until somebody waits at the gate.
    pub(crate) fn wait_for_arrival(&self) {
        let (state, moved) = &*self.0;
        drop(moved.wait_while(state.lock().unwrap(), |state| state.arrived == 0).unwrap());
    }

    pub(crate) fn open(&self) {
        let (state, moved) = &*self.0;
        state.lock().unwrap().open = true;
        moved.notify_all();
    }
}

/// How many times a segment's data was synced.
pub(crate) fn syncs(disk: &SimDisk) -> usize {
    disk.trace().iter().filter(|entry| entry.operation == Operation::SyncData).count()
}
