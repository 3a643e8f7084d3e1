//! What goes wrong: in recovery, while the store is used, and between two lives of it.

use std::time::Duration;

use eventfold_db::{Error, EventfoldDb, ReadError, Store};
use eventfold_io::sim::{FailedPages, Fault, Keep, Rot, When};
use eventfold_io::{IoErrorKind, Operation};
use eventfold_sync::simulation;

use crate::oracle::Verdict;
use crate::plan::usize_of;
use crate::run::Run;
use crate::trouble::Trouble;

const EIO: IoErrorKind = IoErrorKind::DeviceFailed;
const FULL: IoErrorKind = IoErrorKind::StorageFull;

/// Something that is done to the store while it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    Kill,
    Cut,
    FillDisk,
    FreeSpace,
    TakeHandles,
    GiveHandles,
    Freeze,
    Thaw,
    OpenAgain,
    Evict,
}

impl Run {
    pub(crate) fn trouble_recovery(&mut self) {
        for trouble in [Trouble::RecoveryDies, Trouble::RecoveryCut] {
            if self.now_and_then(trouble) {
                let nth = 1 + self.random.below(60);
                self.sim.inject(When::at(nth), Fault::Die);
            }
        }
        if self.now_and_then(Trouble::RecoveryFails) {
            self.trouble_life();
        }
    }

    // What happens between two lives.

    pub(crate) fn between_lives(&mut self) {
        if self.now_and_then(Trouble::OpenedReadOnly) {
            match self.builder_read_only().open_on(self.attach()) {
                Ok(db) => {
                    self.happened.add(Trouble::OpenedReadOnly);
                    let read = db.reads().read_all(0, u64::MAX);
                    assert!(read.is_ok() || self.decayed, "a sound log can't be read: {read:?}");
                    drop(db.close_blocking());
                }
                // Nothing was made yet, it is still being closed, or something is wrong: opening it for writing tells.
                Err(Error::NoStore { .. } | Error::Locked { .. } | Error::Io(_) | Error::Read(ReadError::Io(_))) => {}
                Err(error) => assert!(self.decayed, "a sound store is refused: {error:?}"),
            }
        }
        for trouble in [Trouble::RotSealed, Trouble::RotOpen, Trouble::RotOther, Trouble::Zeroed] {
            if self.now_and_then(trouble) {
                self.rot(trouble);
            }
        }
        if self.now_and_then(Trouble::Evicted) {
            self.evict();
        }
    }

    fn builder_read_only(&mut self) -> eventfold_db::Builder {
        let store = Store::builder().read_only(true).environment(self.environment.clone());
        EventfoldDb::builder().store(store)
    }

    fn evict(&self) {
        self.happened.add(Trouble::Evicted);
        self.sim.evict();
    }

    fn rot(&mut self, trouble: Trouble) {
        let mut names = self.sim.names();
        let last = names.iter().filter(|name| name.ends_with(".segment")).max().cloned();
        names.retain(|name| {
            let of_segment = name.ends_with(".segment");
            match trouble {
                Trouble::RotSealed => of_segment && Some(name) != last.as_ref(),
                Trouble::RotOpen => Some(name) == last.as_ref(),
                Trouble::RotOther => !of_segment && name != "LOCK",
                _ => of_segment,
            }
        });
        if names.is_empty() {
            return;
        }
        let name = names.swap_remove(usize_of(self.random.below(names.len() as u64)));
        let len = self.sim.durable_contents(&name).map_or(0, |bytes| bytes.len() as u64);
        let offset = self.random.below(len.max(1));
        let rot = if trouble == Trouble::Zeroed {
            Rot::Zero { len: 512 }
        } else {
            Rot::Flip { bits: 1 << self.random.below(8) }
        };
        if self.sim.rot(&name, offset, rot) {
            self.happened.add(trouble);
            self.say(|| format!("{trouble} at {offset} of {name}"));
            self.decay();
            self.sim.evict();
        }
    }

    // What goes wrong while it is used.

    pub(crate) fn trouble_life(&mut self) {
        for trouble in self.plan.troubles.clone() {
            if self.random.percent(50) {
                self.inject(trouble);
            }
        }
    }

    fn inject(&mut self, trouble: Trouble) {
        use Operation::{
            Allocate, Create, Len, List, Lock, Open, Read, Remove, Rename, SetLen, SyncAll, SyncData, SyncDirectory,
            Write,
        };
        let fail = Fault::Fail;
        let failed_sync = |kind, pages| Fault::FailedSync { kind, pages, reached: Keep::Seeded };
        let slow = |time| Fault::Slow(time);
        let (operations, pattern, fault): (&[Operation], Option<&str>, Fault) = match trouble {
            Trouble::ReadSegment => (&[Read], Some("*.segment"), fail(EIO)),
            Trouble::ReadOther => (&[Read], None, fail(EIO)),
            Trouble::WriteSegment => (&[Write], Some("*.segment"), fail(EIO)),
            Trouble::WriteOther => (&[Write], None, fail(EIO)),
            Trouble::ShortWrite => (&[Write], None, Fault::ShortWrite { len: self.random.below(2000), kind: EIO }),
            Trouble::SyncDropped => (&[SyncData, SyncAll], None, failed_sync(EIO, FailedPages::Dropped)),
            Trouble::SyncDirty => (&[SyncData, SyncAll], None, failed_sync(EIO, FailedPages::KeptDirty)),
            Trouble::SyncClean => (&[SyncData, SyncAll], None, failed_sync(EIO, FailedPages::Clean)),
            Trouble::SyncFull => (&[SyncData, SyncAll], None, failed_sync(FULL, FailedPages::Clean)),
            Trouble::DirectorySync => (&[SyncDirectory], None, fail(EIO)),
            Trouble::Open => (&[Open], None, fail(EIO)),
            Trouble::Create => (&[Create], None, fail(EIO)),
            Trouble::Rename => (&[Rename], None, fail(EIO)),
            Trouble::Remove => (&[Remove], None, fail(EIO)),
            Trouble::List => (&[List], None, fail(EIO)),
            Trouble::Len => (&[Len], None, fail(EIO)),
            Trouble::Allocate => (&[Allocate], None, fail(EIO)),
            Trouble::SetLen => (&[SetLen], None, fail(EIO)),
            Trouble::Lock => (&[Lock], None, fail(EIO)),
            Trouble::FullWrite => (&[Write], None, fail(FULL)),
            Trouble::FullAllocate => (&[Allocate], None, fail(FULL)),
            Trouble::FullCreate => (&[Create], None, fail(FULL)),
            Trouble::SlowRead => (&[Read], None, slow(Duration::from_millis(3))),
            Trouble::SlowWrite => (&[Write], None, slow(Duration::from_millis(5))),
            Trouble::SlowSync => (&[SyncData, SyncAll], None, slow(Duration::from_millis(200))),
            Trouble::HungSync => (&[SyncData, SyncAll], None, slow(Duration::from_hours(1))),
            Trouble::DiesWriting => (&[Write], None, Fault::Die),
            Trouble::DiesSyncing => (&[SyncData, SyncAll, SyncDirectory], None, Fault::Die),
            Trouble::DiesNaming => (&[Create, Rename, Remove], None, Fault::Die),
            Trouble::DiesAnywhere => (&Operation::ALL, None, Fault::Die),
            Trouble::LyingSync => {
                self.decay();
                (&[SyncData, SyncAll], None, Fault::LostWrite)
            }
            // These are no faults of a single operation.
            _ => return,
        };
        let rare = [Create, Rename, Remove, List, Len, Allocate, SetLen, Lock, SyncDirectory, Open];
        let among = if operations.iter().all(|operation| rare.contains(operation)) { 5 } else { 60 };
        let mut when = When::on_any(operations).nth(1 + self.random.below(among));
        if self.random.percent(20) {
            when = When::on_any(operations).always().one_in(2 + self.random.below(10));
        }
        if let Some(pattern) = pattern {
            when = when.of(pattern);
        }
        self.sim.inject(when, fault);
        let happened = self.happened.clone();
        self.sim.on_delay(move |time| {
            happened.add(match time.as_millis() {
                3 => Trouble::SlowRead,
                5 => Trouble::SlowWrite,
                200 => Trouble::SlowSync,
                _ => Trouble::HungSync,
            });
            simulation::sleep(time);
        });
    }

    pub(crate) fn blows(&mut self) -> Vec<(u64, Blow)> {
        let mut blows = Vec::new();
        for (trouble, blow, relief) in [
            (Trouble::Killed, Blow::Kill, None),
            (Trouble::PowerNothing, Blow::Cut, None),
            (Trouble::PowerSome, Blow::Cut, None),
            (Trouble::DiskFull, Blow::FillDisk, Some(Blow::FreeSpace)),
            (Trouble::NoHandles, Blow::TakeHandles, Some(Blow::GiveHandles)),
            (Trouble::ReadOnlyDisk, Blow::Freeze, Some(Blow::Thaw)),
            (Trouble::OpenTwice, Blow::OpenAgain, None),
            (Trouble::Evicted, Blow::Evict, None),
        ] {
            if self.now_and_then(trouble) {
                let among = self.random.pick(&[20, 200, 2000]);
                let turn = self.random.below(among);
                blows.push((turn, blow));
                let later = turn + self.random.below(300);
                blows.extend(relief.map(|relief| (later, relief)));
            }
        }
        blows.sort_by_key(|(turn, _)| *turn);
        blows
    }

    pub(crate) fn strike(&mut self, blow: Blow) {
        self.say(|| format!("{blow:?}"));
        match blow {
            Blow::Kill => {
                self.happened.add(Trouble::Killed);
                self.passage.set_alive(false);
                self.sim.kill();
            }
            Blow::Cut => self.cut(),
            Blow::FillDisk => {
                self.happened.add(Trouble::DiskFull);
                let left = self.random.below(20) * 4096;
                self.sim.set_capacity(self.sim.used() + left);
            }
            Blow::FreeSpace => self.sim.set_capacity(u64::MAX),
            Blow::TakeHandles => self.sim.set_max_open_files(Some(self.random.below(5))),
            Blow::GiveHandles => self.sim.set_max_open_files(None),
            Blow::Freeze => self.sim.set_read_only(true),
            Blow::Thaw => self.sim.set_read_only(false),
            Blow::OpenAgain => {
                let deaths = self.deaths();
                let opened = self.builder().open_on(self.attach());
                // By another process, which is told so unless the first is dead. Then this one has recovered the log, and what it
                // is told of is not told again.
                match opened {
                    Ok(db) => {
                        self.lift();
                        self.told |= self.deaths() == deaths && self.check(&db) == Verdict::Told;
                        drop(db.close_blocking());
                    }
                    Err(Error::Locked { .. }) => self.happened.add(Trouble::OpenTwice),
                    Err(error) => assert!(self.world.may_fail_so(&error), "a sound store is refused: {error:?}"),
                }
            }
            Blow::Evict => self.evict(),
        }
    }

    /// The power fails.
    pub(crate) fn cut(&mut self) {
        let kinds = [Trouble::PowerNothing, Trouble::PowerEverything, Trouble::PowerSome];
        let kinds: Vec<_> = kinds.into_iter().filter(|kind| self.plan.has(*kind)).collect();
        let kind = if kinds.is_empty() { Trouble::PowerSome } else { self.random.pick(&kinds) };
        self.happened.add(kind);
        self.passage.set_alive(false);
        self.say(|| kind.to_string());
        self.sim.crash(&match kind {
            Trouble::PowerNothing => Keep::Nothing,
            Trouble::PowerEverything => Keep::Everything,
            _ => Keep::Seeded,
        });
    }
}
