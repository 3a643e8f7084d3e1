//! A disk that hangs.

use std::io::IoSlice;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use eventfold_db::{Access, Disk, DiskFile, DiskLock, IoError, LockMode};

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

#[derive(Debug)]
struct HangingFile {
    file: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl HangingDisk {
    /// This disk, which does not hang yet.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, gate: Arc::default() }
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

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(HangingFile { file, gate: self.gate.clone() })
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

    fn pass(&self) {
        self.change(|state| state.waiting += 1);
        self.wait_while(|state| state.hangs);
        self.change(|state| state.waiting -= 1);
    }
}

impl Disk for HangingDisk {
    fn open(&self, name: &str, access: Access) -> Result<Arc<dyn DiskFile>, IoError> {
        Ok(self.file(self.disk.open(name, access)?))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>, IoError> {
        Ok(self.file(self.disk.create(name)?))
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

impl DiskFile for HangingFile {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, IoError> {
        self.file.read_at(buffer, offset)
    }

    fn write_all_at(&self, buffer: &[u8], offset: u64) -> Result<(), IoError> {
        self.file.write_all_at(buffer, offset)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> Result<(), IoError> {
        self.file.write_vectored_at(slices, offset)
    }

    fn sync_data(&self) -> Result<(), IoError> {
        self.gate.pass();
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
