//! A process that uses the simulated disk: what a store holds.

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;

use super::directory::{Entry, FileId};
use super::fault::{Fault, FaultKind};
use super::file::Scope;
use super::state::{Outcome, State};
use super::trace::{TraceEntry, hash_bytes};
use super::{Shared, SimOptions, locked};
use crate::disk::{Access, Disk, DiskFile, DiskLock, LockMode};
use crate::error::{IoError, IoErrorKind, Operation};
use crate::{name, os};

/// Lives until the disk's generation changes.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) shared: Shared,
    pub(super) generation: u64,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// One operation, as it was asked for.
#[derive(Clone, Copy)]
struct Call<'a> {
    operation: Operation,
    name: Option<&'a str>,
    target: Option<&'a str>,
    range: Option<(u64, u64)>,
    len: Option<u64>,
    data: u64,
}

impl<'a> Call<'a> {
    fn new(operation: Operation, name: Option<&'a str>) -> Self {
        Self { operation, name, target: None, range: None, len: None, data: 0 }
    }

    fn error(&self, source: std::io::Error) -> IoError {
        let mut error = IoError::new(self.operation, source);
        if let Some(name) = self.name {
            error = error.with_name(name);
        }
        if let Some(target) = self.target {
            error = error.with_target(target);
        }
        if let Some((offset, len)) = self.range {
            error = error.with_range(offset, len);
        }
        if let Some(len) = self.len {
            error = error.with_len(len);
        }
        error
    }
}

impl Process {
    /// Every operation comes through here: counted, made to fail if it is its turn, traced.
    fn run<T>(&self, call: Call<'_>, body: impl FnOnce(&mut State, Option<Fault>) -> Outcome<T>) -> Result<T, IoError> {
        let mut delay = None;
        let result = {
            let state = &mut *locked(&self.shared);
            if state.generation == self.generation {
                state.operations += 1;
                let result = match state.fault(call.operation, [call.name, call.target]) {
                    Some(Fault::Die) => {
                        state.counts.add(FaultKind::Death);
                        state.kill();
                        Err(IoErrorKind::ProcessEnded)
                    }
                    Some(Fault::Fail(kind)) => state.fail(kind),
                    Some(Fault::Slow(time)) => {
                        state.counts.add(FaultKind::Slow);
                        delay = state.delay_hook.clone().map(|hook| (hook, time));
                        body(state, None)
                    }
                    fault => body(state, fault),
                };
                let entry = TraceEntry {
                    number: state.operations,
                    operation: call.operation,
                    name: call.name.map(Arc::from),
                    target: call.target.map(Arc::from),
                    range: call.range.or(call.len.map(|len| (0, len))),
                    outcome: result.as_ref().map(drop).map_err(|kind| *kind),
                };
                state.trace.push(entry, call.data);
                result
            } else {
                Err(IoErrorKind::ProcessEnded)
            }
        };
        // Not under the lock: the clock that this turns may be one that looks at the disk.
        if let Some((hook, time)) = delay {
            hook(time);
        }
        result.map_err(|kind| call.error(os::error_of(kind)).with_kind(kind))
    }

    fn handle(&self, id: FileId, name: &str, access: Access) -> Arc<dyn DiskFile> {
        Arc::new(Handle { process: self.clone(), id, name: name.into(), access })
    }
}

impl Disk for Process {
    fn open(&self, name: &str, access: Access) -> Result<Arc<dyn DiskFile>, IoError> {
        name::checked(Operation::Open, name)?;
        let id = self.run(Call::new(Operation::Open, Some(name)), |state, _| {
            let id = state.find(name)?;
            if access == Access::ReadWrite {
                state.check_writable()?;
            }
            state.open(id)?;
            Ok(id)
        })?;
        Ok(self.handle(id, name, access))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>, IoError> {
        name::checked(Operation::Create, name)?;
        let id = self.run(Call::new(Operation::Create, Some(name)), |state, _| {
            if state.find(name).is_ok() {
                return Err(IoErrorKind::AlreadyExists);
            }
            state.check_writable()?;
            state.create(name)
        })?;
        Ok(self.handle(id, name, Access::ReadWrite))
    }

    fn list(&self) -> Result<Vec<String>, IoError> {
        self.run(Call::new(Operation::List, None), |state, _| {
            Ok(state.directory.names.keys().map(ToString::to_string).collect())
        })
    }

    fn file_len(&self, name: &str) -> Result<u64, IoError> {
        name::checked(Operation::Len, name)?;
        self.run(Call::new(Operation::Len, Some(name)), |state, _| Ok(state.file(state.find(name)?).cache.len()))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), IoError> {
        name::checked(Operation::Rename, to).map_err(|error| error.with_name(from).with_target(to))?;
        name::checked(Operation::Rename, from).map_err(|error| error.with_target(to))?;
        let call = Call { target: Some(to), ..Call::new(Operation::Rename, Some(from)) };
        self.run(call, |state, _| {
            let file = state.find(from)?;
            state.check_writable()?;
            if from != to {
                state.change_directory(Entry::Rename { from: from.into(), to: to.into(), file });
            }
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> Result<(), IoError> {
        name::checked(Operation::Remove, name)?;
        self.run(Call::new(Operation::Remove, Some(name)), |state, _| {
            let file = state.find(name)?;
            state.check_writable()?;
            state.change_directory(Entry::Remove { name: name.into(), file });
            Ok(())
        })
    }

    fn sync_directory(&self) -> Result<(), IoError> {
        self.run(Call::new(Operation::SyncDirectory, None), State::sync_directory)
    }

    fn lock(&self, name: &str, mode: LockMode) -> Result<DiskLock, IoError> {
        name::checked(Operation::Lock, name)?;
        let id = self.run(Call::new(Operation::Lock, Some(name)), |state, _| {
            let id = match (state.find(name), mode) {
                (Ok(id), LockMode::Shared) => {
                    state.open(id)?;
                    id
                }
                (Ok(id), LockMode::Exclusive) => {
                    state.check_writable()?;
                    state.open(id)?;
                    id
                }
                (Err(_), LockMode::Exclusive) => {
                    state.check_writable()?;
                    state.create(name)?
                }
                (Err(kind), LockMode::Shared) => return Err(kind),
            };
            state.lock(id, mode).inspect_err(|_| state.close(id))?;
            Ok(id)
        })?;
        Ok(DiskLock::new(mode, Held { process: self.clone(), id }))
    }
}

/// A lock that is held, with the handle it is held by.
struct Held {
    process: Process,
    id: FileId,
}

impl Drop for Held {
    fn drop(&mut self) {
        let state = &mut *locked(&self.process.shared);
        // A dead process let go of it when it died, and another may hold it by now.
        if state.generation == self.process.generation {
            state.unlock(self.id);
            state.close(self.id);
        }
    }
}

#[derive(Debug)]
struct Handle {
    process: Process,
    id: FileId,
    name: Box<str>,
    access: Access,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let state = &mut *locked(&self.process.shared);
        if state.generation == self.process.generation {
            state.close(self.id);
        }
    }
}

impl Handle {
    fn call(&self, operation: Operation) -> Call<'_> {
        Call::new(operation, Some(&self.name))
    }

    /// Refuses what no disk is asked for: changes through a handle for reading, and impossible ranges.
    fn check(&self, call: &Call<'_>) -> Result<(), IoError> {
        let changes = !matches!(call.operation, Operation::Read | Operation::Len);
        if changes && self.access == Access::Read {
            return Err(call.error(os::not_opened_for_writing()));
        }
        let (offset, len) = call.range.unwrap_or((0, call.len.unwrap_or(0)));
        os::check_range(offset, len).map_err(|error| call.error(error))
    }

    fn sync(&self, operation: Operation, scope: Scope) -> Result<(), IoError> {
        let call = self.call(operation);
        self.check(&call)?;
        self.process.run(call, |state, fault| state.sync_file(self.id, scope, fault))
    }
}

/// As great as a file of ext4 can be; only asked for by mistake.
const MAX_FILE_LEN: u64 = 16 << 40;

fn check_file_len(end: u64) -> Outcome<()> {
    if end > MAX_FILE_LEN { Err(IoErrorKind::Other) } else { Ok(()) }
}

impl DiskFile for Handle {
    fn name(&self) -> &str {
        &self.name
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, IoError> {
        let call = Call { range: Some((offset, buffer.len() as u64)), ..self.call(Operation::Read) };
        self.check(&call)?;
        self.process.run(call, |state, _| {
            let read = state.file(self.id).cache.read(buffer, offset);
            state.trace.stir(hash_bytes(&buffer[..read]));
            Ok(read)
        })
    }

    fn write_all_at(&self, buffer: &[u8], offset: u64) -> Result<(), IoError> {
        let range = Some((offset, buffer.len() as u64));
        let call = Call { range, data: hash_bytes(buffer), ..self.call(Operation::Write) };
        self.check(&call)?;
        self.process.run(call, |state, fault| {
            state.check_writable()?;
            check_file_len(offset + buffer.len() as u64)?;
            if let Some(Fault::ShortWrite { len, kind }) = fault {
                state.counts.add(FaultKind::ShortWrite);
                let len = usize::try_from(len).unwrap_or(usize::MAX).min(buffer.len());
                state.write(self.id, &buffer[..len], offset)?;
                return Err(kind);
            }
            state.write(self.id, buffer, offset)
        })
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> Result<(), IoError> {
        // To the page cache it is one write, as it is to a file.
        self.write_all_at(&slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<u8>>(), offset)
    }

    fn sync_data(&self) -> Result<(), IoError> {
        self.sync(Operation::SyncData, Scope::Data)
    }

    fn sync_all(&self) -> Result<(), IoError> {
        self.sync(Operation::SyncAll, Scope::All)
    }

    fn allocate(&self, offset: u64, len: u64) -> Result<(), IoError> {
        let call = Call { range: Some((offset, len)), ..self.call(Operation::Allocate) };
        self.check(&call)?;
        self.process.run(call, |state, _| {
            state.check_writable()?;
            check_file_len(offset + len)?;
            if len == 0 { Ok(()) } else { state.allocate(self.id, offset, len) }
        })
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        let call = Call { len: Some(len), ..self.call(Operation::SetLen) };
        self.check(&call)?;
        self.process.run(call, |state, _| {
            state.check_writable()?;
            check_file_len(len)?;
            state.set_len(self.id, len);
            Ok(())
        })
    }

    fn len(&self) -> Result<u64, IoError> {
        self.process.run(self.call(Operation::Len), |state, _| Ok(state.file(self.id).cache.len()))
    }
}

impl SimOptions {
    /// Options with this seed and nothing that limits the disk: sectors of 512 bytes, 4 GiB of space, any number of
    /// open files.
    pub fn new(seed: u64) -> Self {
        Self { seed, sector: super::Sector::B512, capacity: 4 << 30, max_open_files: None, read_only: false }
    }
}
