//! What a run is: drawn from its seed, so that each run has a few kinds of trouble and sizes of its own. Where all kinds happened
//! in all runs, the common ones would keep the rare ones from ever being reached.

use std::time::Duration;

use eventfold_sync::simulation::{Schedule, Turns};
use eventfold_tests::Random;

use crate::trouble::Trouble;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) schedule: Schedule,
    pub(crate) lives: u64,
    pub(crate) clients: u64,
    pub(crate) steps: u64,
    pub(crate) subscribers: u64,
    pub(crate) payload_max: u64,
    pub(crate) sector_of_512: bool,
    pub(crate) cache_bytes: u64,
    pub(crate) hot_tail_bytes: u64,
    pub(crate) max_open_files: usize,
    pub(crate) max_requests: usize,
    pub(crate) idempotency_window: u32,
    /// Whether the store has a thread of its own.
    pub(crate) background: bool,
    /// The kinds of trouble that this run may have.
    pub(crate) troubles: Vec<Trouble>,
    /// Whether what happens is printed.
    pub(crate) trace: bool,
}

impl Plan {
    pub(crate) fn draw(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed ^ 0x5eed_0f5e_ed00_0000);
        let turns = match random.below(4) {
            0 => Turns::Priority(2 + usize_of(random.below(6))),
            _ => Turns::Random,
        };
        let patience = random.pick(&[0, 4, 40, 400]);
        // With long ones staging takes longer than syncing, so that a group is staged while the one before is synced.
        let tick_max = Duration::from_micros(random.pick(&[0, 1, 300]));
        let schedule = Schedule { seed: random.bits(), turns, patience, tick_max };
        let share = random.pick(&[0, 3, 10, 25, 60]);
        let troubles = Trouble::ALL.iter().copied().filter(|_| random.percent(share)).collect();
        Self {
            seed,
            schedule,
            lives: 1 + random.below(4),
            clients: 1 + random.below(4),
            // Mostly short: what goes wrong mostly does so within a few steps.
            steps: random.pick(&[2, 3, 4, 6, 8, 12, 20, 60]),
            subscribers: random.below(4),
            // With large ones every few appends begin a new segment.
            payload_max: random.pick(&[20, 200, 1000, 1000, 8000]),
            sector_of_512: random.percent(50),
            cache_bytes: random.pick(&[0, 32 << 10, 1 << 20]),
            hot_tail_bytes: random.pick(&[0, 4 << 10, 256 << 10]),
            max_open_files: random.pick(&[2, 100]),
            max_requests: random.pick(&[1, 2, 100]),
            idempotency_window: random.pick(&[1000, 1 << 20]),
            background: random.percent(75),
            troubles,
            trace,
        }
    }

    pub(crate) fn has(&self, trouble: Trouble) -> bool {
        self.troubles.contains(&trouble)
    }
}

pub(crate) fn usize_of(number: u64) -> usize {
    usize::try_from(number).expect("small numbers are drawn")
}
