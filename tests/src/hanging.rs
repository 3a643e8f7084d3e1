//! A disk that hangs.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use eventfold_db::Disk;
use eventfold_io::{Operation, Tap, Tapped};

/// A disk whose syncs of data take until the test lets them go, from when it says so.
#[derive(Clone, Debug)]
pub struct HangingDisk {
    disk: Arc<dyn Disk>,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    hangs: bool,
    waiting: usize,
}

impl HangingDisk {
    /// This disk, which does not hang yet.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        let gate = Arc::new(Gate::default());
        Self { disk: Arc::new(Tapped::new(disk, gate.clone())), gate }
    }

    /// The disk, for a store.
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    /// From now on it hangs.
    pub fn hang(&self) {
        self.gate.change(|state| state.hangs = true);
    }

    /// Waits until somebody waits for the disk.
    pub fn wait_until_met(&self) {
        self.gate.wait_while(|state| state.waiting == 0);
    }

    /// It no longer hangs.
    pub fn go_on(&self) {
        self.gate.change(|state| state.hangs = false);
    }
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
    }

    fn wait_while(&self, condition: impl Fn(&State) -> bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.moved.wait_while(state, |state| condition(state)));
    }
}

impl Tap for Gate {
    fn before(&self, operation: Operation, _: Option<&str>) {
        if operation == Operation::SyncData {
            self.change(|state| state.waiting += 1);
            self.wait_while(|state| state.hangs);
            self.change(|state| state.waiting -= 1);
        }
    }
}
