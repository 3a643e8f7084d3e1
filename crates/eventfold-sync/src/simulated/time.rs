//! Time, which passes by a thread of its own: when it is that thread's turn, it goes on to the next moment that somebody waits
//! for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shuttle::sync::Condvar;
use shuttle::thread::yield_now;

thread_local! {
    /// All threads of a simulation are one of the system's. What nobody has waited for may still look at the clock when all else
    /// is over.
    static CURRENT: RefCell<Option<Arc<Time>>> = const { RefCell::new(None) };
}

/// Who waits until when: in nanoseconds, and a number that tells those of one moment apart.
type Timer = (u64, u64);

#[derive(Debug, Default)]
pub(super) struct Time {
    /// Never held where another thread could go on.
    state: Mutex<State>,
    gate: shuttle::sync::Mutex<()>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    now: u64,
    /// Up to how many nanoseconds pass while somebody looks at the clock, and what they are drawn from.
    tick_max: u64,
    drawn: u64,
    timers: BTreeMap<Timer, Arc<Condvar>>,
    started: u64,
    /// Threads that have not ended. They may wait for time when what started them is over.
    threads: u64,
    stopped: bool,
}

impl State {
    fn is_over(&self) -> bool {
        self.stopped && self.threads == 0
    }
}

impl Time {
    /// The time of the simulation that this is called in.
    pub(super) fn current() -> Arc<Self> {
        CURRENT.with_borrow(Clone::clone).expect("this is called within a simulation")
    }

    pub(super) fn begin(tick_max: Duration, seed: u64) -> Arc<Self> {
        let time = Arc::new(Self::default());
        (time.state().tick_max, time.state().drawn) = (nanos(tick_max), seed);
        CURRENT.set(Some(time.clone()));
        time
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn passed(&self) -> Duration {
        Duration::from_nanos(self.state().now)
    }

    pub(super) fn instant(&self) -> Instant {
        // Where a moment is no more than its distance from others, any will do for the first.
        #[expect(clippy::disallowed_methods, reason = "the moment from which all others are counted")]
        static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
        let mut state = self.state();
        if let Some(bound) = NonZeroU64::new(state.tick_max) {
            // A linear congruence, of which the upper bits are good enough.
            state.drawn = state.drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.now += (state.drawn >> 33) % bound;
        }
        *BEGUN + Duration::from_nanos(state.now)
    }

    /// So much time passes, for everybody.
    pub(super) fn advance(&self, by: Duration) {
        self.state().now += nanos(by);
    }

    pub(super) fn start_timer(&self, after: Duration, wake: Arc<Condvar>) -> Timer {
        let mut state = self.state();
        state.started += 1;
        let timer = (state.now.saturating_add(nanos(after)), state.started);
        state.timers.insert(timer, wake);
        drop(state);
        self.wake();
        timer
    }

    /// Whether its moment has come.
    pub(super) fn end_timer(&self, timer: Timer) -> bool {
        let mut state = self.state();
        state.timers.remove(&timer);
        state.now >= timer.0
    }

    fn wake(&self) {
        drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    pub(super) fn thread_begins(&self) {
        self.state().threads += 1;
    }

    pub(super) fn thread_ends(&self) {
        self.state().threads -= 1;
        self.wake();
    }

    /// Time ends with the last thread.
    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.wake();
    }

    /// Lets time pass until it is stopped and all threads have ended. Others are given so many turns first, each time.
    pub(super) fn run(&self, turns: u32) {
        loop {
            let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody waits for time: whoever waits for something else that never comes is told by the scheduler.
            while self.state().timers.is_empty() && !self.state().is_over() {
                gate = self.changed.wait(gate).unwrap_or_else(PoisonError::into_inner);
            }
            drop(gate);
            if self.state().is_over() {
                return;
            }
            (0..turns).for_each(|_| yield_now());
            let mut state = self.state();
            let first = state.timers.first_key_value().map(|((moment, _), wake)| (*moment, wake.clone()));
            if let Some((moment, wake)) = first {
                state.now = state.now.max(moment);
                drop(state);
                // Until whoever it is has seen it, since they may not be waiting yet.
                wake.notify_all();
                yield_now();
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}
