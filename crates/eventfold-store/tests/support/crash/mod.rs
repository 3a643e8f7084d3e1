//! Stopping a store at every point of its work, and holding what comes back against what was promised.
//!
//! A workload runs once, and the disk is forked before each of its operations that change anything, together with a
//! [`Ledger`](ledger::Ledger) of what the store has promised by then. Each fork then loses power, with this or that subset
//! of what was not synced, and the store is opened again. What opening and a few further appends do is a run like the first
//! one, with forks of its own, so that crashes within recoveries, and crashes within those, are explored in the same way.

pub(crate) mod driver;
pub(crate) mod exploration;
mod ledger;
mod story;
mod tape;

use std::collections::BTreeMap;

use driver::Driver;

pub(crate) const SEGMENT_SIZE: u64 = 64 << 10;

/// What a store is put through, and which ways its recoveries must go at least once.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) script: fn(&mut Driver),
    pub(crate) segment_size: u64,
    pub(crate) reaches: &'static [&'static str],
}

/// Which ways recoveries went, counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Branches(BTreeMap<&'static str, u64>);

impl Branches {
    pub(crate) fn add(&mut self, branch: &'static str) {
        *self.0.entry(branch).or_default() += 1;
    }

    fn merge(&mut self, other: &Self) {
        for (branch, count) in &other.0 {
            *self.0.entry(branch).or_default() += count;
        }
    }
}
