//! What all sections share: events, directories, and how figures are printed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventfold_store::ProposedEvent;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const PAYLOAD_LEN: usize = 256;

/// One type of 14 bytes for all events, so that all one-event frames have the same length.
pub(crate) const EVENT_TYPE: &str = "MoneyDeposited";

/// A directory on a disk, gone with what is returned.
pub(crate) fn directory() -> TempDir {
    let parent =
        std::env::var_os("EVENTFOLD_BENCH_DIR").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    tempfile::tempdir_in(parent).expect("a directory can be created")
}

/// Numbers that are the same in each run (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("it is below a usize")
    }
}

/// Makes events whose payloads are slices of random bytes, at no cost that could be seen beside what is done with them.
pub(crate) struct Source {
    pub(crate) random: Random,
    bytes: Bytes,
}

impl Source {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let bytes: Vec<u8> = (0..1 << 17).flat_map(|_| random.next().to_le_bytes()).collect();
        Self { random, bytes: bytes.into() }
    }

    pub(crate) fn event(&mut self) -> ProposedEvent {
        let start = self.random.below(self.bytes.len() - PAYLOAD_LEN);
        ProposedEvent::new(EVENT_TYPE, self.bytes.slice(start..start + PAYLOAD_LEN))
    }

    pub(crate) fn events(&mut self, count: usize) -> Vec<ProposedEvent> {
        (0..count).map(|_| self.event()).collect()
    }
}

/// The id of a stream of this number. They are spread like random ones.
pub(crate) fn stream(number: u64) -> Uuid {
    let mut random = Random(number);
    Uuid::from_u64_pair(random.next(), random.next())
}

pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let result = work();
    (begun.elapsed(), result)
}

/// The value that this share of all is not above.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a list's length")]
    let index = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[index]
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Prints a figure and whether it keeps its limit.
pub(crate) fn at_most(what: &str, figure: f64, unit: &str, limit: f64, more: &str) {
    verdict(what, figure, unit, limit, figure <= limit, "at most", more);
}

/// Prints a figure and whether it keeps its limit.
pub(crate) fn at_least(what: &str, figure: f64, unit: &str, limit: f64, more: &str) {
    verdict(what, figure, unit, limit, figure >= limit, "at least", more);
}

fn verdict(what: &str, figure: f64, unit: &str, limit: f64, kept: bool, bound: &str, more: &str) {
    let verdict = if kept { "PASS" } else { "FAIL" };
    println!("{what:<62} {figure:>7.2} {unit:<3} {bound} {limit} {verdict}  {more}");
}
