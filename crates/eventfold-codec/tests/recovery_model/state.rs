//! A state of the model: the disk, what the log should hold, and what writer and adversary may still do.

use std::fmt::Write;

use crate::content::{Content, Frame, Kind};
use crate::disk::{Disk, UNITS};
use crate::scope::{Budget, Scope};

/// The first segment, which starts with a synced link.
pub(crate) const A: usize = 0;
/// The second, which is prepared.
pub(crate) const B: usize = 1;

/// What became of the process that writes the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    Running,
    /// It ended cleanly, and nothing was written since.
    Closed,
    Gone,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) disk: Disk,
    /// The log as its writers know it: every frame written, less those that a recovery dropped. It is kept apart from the
    /// disk so that nothing the disk or recovery does can change what is expected.
    pub(crate) ledger: [Content; UNITS],
    /// How many frames of the ledger stand in each segment.
    pub(crate) len: [u8; 2],
    /// How many of them, counted through both segments, were acknowledged or served.
    pub(crate) safe: u8,
    /// The incarnation that is running.
    pub(crate) incarnation: u8,
    /// Where the watermark stands that the running writer has not synced.
    pub(crate) unsynced: Option<u8>,
    pub(crate) process: Process,
    /// Whether there is a side file that is not marked done.
    pub(crate) side_file: bool,
    /// Whether the disk rotted or lost a write.
    pub(crate) faulted: bool,
    pub(crate) writes: u8,
    pub(crate) budget: Budget,
}

impl State {
    /// A store that was just created.
    pub(crate) fn new(scope: &Scope) -> Self {
        let mut state = Self {
            disk: Disk::new(),
            ledger: [Content::ZERO; UNITS],
            len: [0; 2],
            safe: 1,
            incarnation: 1,
            unsynced: None,
            process: Process::Running,
            side_file: false,
            faulted: false,
            writes: scope.writes,
            budget: scope.budget,
        };
        state.append(scope, A, Kind::Link, 0, 0);
        state.disk.sync_unit(0);
        state
    }

    /// The segment that the log ends in.
    pub(crate) fn active(&self) -> usize {
        if self.len[B] > 0 { B } else { A }
    }

    pub(crate) fn total(&self) -> u8 {
        self.len[A] + self.len[B]
    }

    /// The ledger's frames in one segment.
    pub(crate) fn frames(&self, scope: &Scope, segment: usize) -> impl Iterator<Item = Frame> {
        let first = unit(scope, segment, 0);
        self.ledger[first..first + usize::from(self.len[segment])].iter().filter_map(|content| content.whole())
    }

    /// The next position of the log.
    pub(crate) fn position(&self, scope: &Scope) -> u8 {
        [A, B].into_iter().flat_map(|segment| self.frames(scope, segment)).map(|frame| frame.events).sum()
    }

    /// The frame that would come next in `segment`.
    pub(crate) fn next_frame(
        &self,
        scope: &Scope,
        segment: usize,
        kind: Kind,
        events: u8,
        durable_through: u8,
    ) -> Content {
        let at = unit(scope, segment, self.len[segment]);
        let named = match (kind, segment) {
            (Kind::Link, B) => self.frames(scope, A).last(),
            _ => None,
        };
        Content::frame(Frame {
            kind,
            incarnation: self.incarnation,
            durable_through: if named.is_some() { self.len[A] } else { durable_through },
            position: self.position(scope),
            events,
            serial: self.free_serial(scope, at),
            names: named.map_or((0, 0), |last| (last.serial, last.incarnation)),
        })
    }

    /// Writes a frame at the end of the log, without a sync.
    pub(crate) fn append(&mut self, scope: &Scope, segment: usize, kind: Kind, events: u8, durable_through: u8) {
        let at = unit(scope, segment, self.len[segment]);
        let content = self.next_frame(scope, segment, kind, events, durable_through);
        self.disk.write(at, content);
        self.ledger[at] = content;
        self.len[segment] += 1;
    }

    /// The lowest serial that nothing at this unit has and no link names: serials are reused so that states which
    /// differ only in what is gone are one.
    fn free_serial(&self, scope: &Scope, at: usize) -> u8 {
        let versions = |at: usize| {
            let unit = self.disk.units[at];
            [unit.durable, unit.older, unit.cache, self.ledger[at]]
        };
        let mut used = 0_u8;
        for frame in versions(at).into_iter().filter_map(Content::header) {
            used |= 1 << frame.serial;
        }
        for link in versions(unit(scope, B, 0)).into_iter().filter_map(Content::header) {
            if usize::from(link.durable_through) == at + 1 {
                used |= 1 << link.names.0;
            }
        }
        u8::try_from(used.trailing_ones()).expect("eight bits")
    }

    /// What the log is from now on: the first frames of the ledger.
    pub(crate) fn truncate(&mut self, scope: &Scope, len: [u8; 2]) {
        for segment in [A, B] {
            for index in len[segment]..self.len[segment] {
                self.ledger[unit(scope, segment, index)] = Content::ZERO;
            }
            self.len[segment] = len[segment].min(self.len[segment]);
        }
        self.safe = self.safe.min(self.total());
    }

    /// Everything in the ledger was acknowledged or served.
    pub(crate) fn acknowledge(&mut self) {
        self.safe = self.total();
        self.unsynced = None;
    }

    /// The process is gone.
    pub(crate) fn stop(&mut self) {
        if self.process == Process::Running {
            self.process = Process::Gone;
        }
        self.unsynced = None;
        self.incarnation = 0;
    }

    /// Sixty-four bits that stand for the state.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hash = Fingerprint(0);
        for unit in &self.disk.units {
            hash.add(u64::from(unit.durable.bits()) << 32 | u64::from(unit.cache.bits()));
            hash.add(u64::from(unit.older.bits()));
        }
        for pair in self.ledger.chunks(2) {
            hash.add(u64::from(pair[0].bits()) << 32 | u64::from(pair[1].bits()));
        }
        let flags = self.process as u8 | u8::from(self.side_file) << 2 | u8::from(self.faulted) << 3;
        let [low, high] = self.disk.dirty.to_le_bytes();
        hash.add(u64::from_le_bytes([
            self.len[A],
            self.len[B],
            self.safe,
            self.incarnation,
            self.unsynced.map_or(u8::MAX, |at| at),
            flags,
            low,
            high,
        ]));
        let Budget { crashes, failures, rots, losses } = self.budget;
        hash.add(u64::from_le_bytes([crashes, failures, rots, losses, self.writes, 0, 0, 0]));
        hash.0
    }

    /// The disk, as a line for each segment.
    pub(crate) fn describe(&self, scope: &Scope) -> String {
        let mut text = String::new();
        for (segment, name) in [(A, 'A'), (B, 'B')] {
            let _ = write!(text, "      {name}");
            for index in 0..scope.sizes[segment] {
                let at = unit(scope, segment, index);
                let held = &self.disk.units[at];
                let _ = write!(text, " | {}", held.cache);
                if held.cache != held.durable {
                    let how = if self.disk.is_dirty(at) { "unsynced over" } else { "but on disk" };
                    let _ = write!(text, " ({how} {})", held.durable);
                }
            }
            text.push('\n');
        }
        let _ = write!(
            text,
            "      {} of {} frames acknowledged or served{}",
            self.safe,
            self.total(),
            if self.side_file { ", side file pending" } else { "" },
        );
        text
    }
}

struct Fingerprint(u64);

impl Fingerprint {
    /// A multiplication carries upwards only, so what is above is folded down each time.
    fn add(&mut self, word: u64) {
        let mixed = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 29);
    }
}

/// Where a segment's unit stands on the disk.
pub(crate) fn unit(scope: &Scope, segment: usize, index: u8) -> usize {
    usize::from(index) + if segment == B { usize::from(scope.sizes[A]) } else { 0 }
}

/// A segment's units on the disk.
pub(crate) fn units(scope: &Scope, segment: usize) -> std::ops::Range<usize> {
    unit(scope, segment, 0)..unit(scope, segment, scope.sizes[segment])
}
