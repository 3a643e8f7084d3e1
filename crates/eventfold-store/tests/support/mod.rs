//! What several test files share.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

pub(crate) mod crash;
pub(crate) mod failing;
pub(crate) mod reading;

use std::sync::atomic::{AtomicU64, Ordering};

use eventfold_io::sim::SimDisk;
use eventfold_store::{Environment, Extent};

/// Whether some side file that is done has just the bytes that were dropped from the disk as it stood before.
pub(crate) fn keeps(sim: &SimDisk, before: &SimDisk, dropped: &[Extent]) -> bool {
    let bytes = |extent: &Extent| {
        let segment = before.contents(&format!("{:010}.segment", extent.segment)).unwrap();
        segment[usize::try_from(extent.from).unwrap()..usize::try_from(extent.to).unwrap()].to_vec()
    };
    let dropped: Vec<u8> = dropped.iter().flat_map(bytes).collect();
    let holds = |name: &String| name.ends_with(".dropped") && sim.contents(name).unwrap().ends_with(&dropped);
    dropped.is_empty() || sim.names().iter().any(holds)
}

/// A world without chance: a clock that moves by one with each look, and numbers that follow from a seed.
#[derive(Debug)]
pub(crate) struct Seeded {
    seed: u64,
    asked: AtomicU64,
    time: AtomicU64,
}

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, asked: AtomicU64::new(0), time: AtomicU64::new(1_700_000_000_000) }
    }
}

impl Environment for Seeded {
    fn unix_ms(&self) -> u64 {
        self.time.fetch_add(1, Ordering::Relaxed)
    }

    fn random(&self) -> u128 {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut random = Random::new(self.seed ^ asked.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        u128::from(random.next()) << 64 | u128::from(random.next())
    }
}

/// Numbers that follow from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
