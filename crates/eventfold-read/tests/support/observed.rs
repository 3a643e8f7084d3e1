//! A disk that is looked at: which thread reads it, and whether anybody has it still.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, ThreadId};

use eventfold_io::{Access, Disk, DiskFile, DiskLock, IoError, LockMode};

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

    fn read(&self) {
        let mut state = self.state.lock().unwrap();
        *state.reads.entry(name(thread::current().id())).or_default() += 1;
        let mut state = self.changed.wait_while(state, |state| state.held_back).unwrap();
        let panics = std::mem::take(&mut state.panics);
        drop(state);
        assert!(!panics, "of the disk's own");
    }
}

/// A disk that tells its observer, and by being dropped.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) observer: Arc<Observer>,
    pub(crate) gone: Option<Sender<()>>,
}

impl Observed {
    pub(crate) fn new(disk: Arc<dyn Disk>, observer: &Arc<Observer>) -> Arc<Self> {
        Arc::new(Self { disk, observer: observer.clone(), gone: None })
    }

    pub(crate) fn telling(disk: Arc<dyn Disk>, gone: Sender<()>) -> Arc<Self> {
        Arc::new(Self { disk, observer: Arc::default(), gone: Some(gone) })
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(ObservedFile { file, observer: self.observer.clone() })
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if let Some(gone) = &self.gone {
            // Who no longer listens has seen enough.
            let _ = gone.send(());
        }
    }
}

impl Disk for Observed {
    fn open(&self, name: &str, access: Access) -> Result<Arc<dyn DiskFile>, IoError> {
        self.disk.open(name, access).map(|file| self.file(file))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>, IoError> {
        self.disk.create(name).map(|file| self.file(file))
    }

    fn list(&self) -> Result<Vec<String>, IoError> {
        self.disk.list()
    }

    fn file_len(&self, name: &str) -> Result<u64, IoError> {
        self.disk.file_len(name)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), IoError> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), IoError> {
        self.disk.remove(name)
    }

    fn sync_directory(&self) -> Result<(), IoError> {
        self.disk.sync_directory()
    }

    fn lock(&self, name: &str, mode: LockMode) -> Result<DiskLock, IoError> {
        self.disk.lock(name, mode)
    }
}

#[derive(Debug)]
struct ObservedFile {
    file: Arc<dyn DiskFile>,
    observer: Arc<Observer>,
}

impl DiskFile for ObservedFile {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, IoError> {
        self.observer.read();
        self.file.read_at(buffer, offset)
    }

    fn write_all_at(&self, buffer: &[u8], offset: u64) -> Result<(), IoError> {
        self.file.write_all_at(buffer, offset)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> Result<(), IoError> {
        self.file.write_vectored_at(slices, offset)
    }

    fn sync_data(&self) -> Result<(), IoError> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> Result<(), IoError> {
        self.file.sync_all()
    }

    fn allocate(&self, offset: u64, len: u64) -> Result<(), IoError> {
        self.file.allocate(offset, len)
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.file.set_len(len)
    }

    fn len(&self) -> Result<u64, IoError> {
        self.file.len()
    }
}
