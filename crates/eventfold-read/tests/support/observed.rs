//! A disk that is looked at: which thread reads it, and whether anybody has it still.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, ThreadId};

use eventfold_io::{Disk, Operation, Tap, Tapped};

/// What is known of a disk.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reads: BTreeMap<String, usize>,
    held_back: bool,
    panics: bool,
}

fn name(id: ThreadId) -> String {
    format!("{id:?}")
}

impl Observer {
    /// How often this thread has read.
    pub(crate) fn reads_here(&self) -> usize {
        self.state.lock().unwrap().reads.get(&name(thread::current().id())).copied().unwrap_or(0)
    }

    /// How often anybody has read.
    pub(crate) fn reads(&self) -> usize {
        self.state.lock().unwrap().reads.values().sum()
    }

    /// From now on reads don't return, or no longer.
    pub(crate) fn hold_back(&self, hold: bool) {
        self.state.lock().unwrap().held_back = hold;
        self.changed.notify_all();
    }

    /// The next read panics.
    pub(crate) fn panic_once(&self) {
        self.state.lock().unwrap().panics = true;
    }
}

impl Tap for Observer {
    fn before(&self, operation: Operation, _: Option<&str>) {
        if operation != Operation::Read {
            return;
        }
        let mut state = self.state.lock().unwrap();
        *state.reads.entry(name(thread::current().id())).or_default() += 1;
        let mut state = self.changed.wait_while(state, |state| state.held_back).unwrap();
        let panics = std::mem::take(&mut state.panics);
        drop(state);
        assert!(!panics, "of the disk's own");
    }
}

/// A disk that tells its observer.
pub(crate) fn observed(disk: Arc<dyn Disk>, observer: &Arc<Observer>) -> Arc<dyn Disk> {
    Arc::new(Tapped::new(disk, observer.clone()))
}

/// A disk that tells when nobody has it any more.
pub(crate) fn telling(disk: Arc<dyn Disk>, gone: Sender<()>) -> Arc<dyn Disk> {
    Arc::new(Tapped::new(disk, Arc::new(Telling(gone))))
}

#[derive(Debug)]
struct Telling(Sender<()>);

impl Tap for Telling {}

impl Drop for Telling {
    fn drop(&mut self) {
        // Who no longer listens has seen enough.
        let _ = self.0.send(());
    }
}
