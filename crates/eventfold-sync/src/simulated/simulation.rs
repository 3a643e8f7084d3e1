//! Running something under a scheduler that follows from a seed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use super::Condvar;
use super::time::Time;
use crate::clock;

/// How threads take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// Any that can go on, at every step.
    Random,
    /// By priority, which changes so often. Finds what takes few but certain changes of turn.
    Priority(usize),
}

/// What a simulation follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What the scheduler's choices are drawn from.
    pub seed: u64,
    /// How threads take turns.
    pub turns: Turns,
    /// How many turns others get before time goes on to what somebody waits for: with few, everything seems to take long.
    pub patience: u32,
    /// Up to how much time passes while somebody looks at the clock: without any, nothing takes time but waiting.
    pub tick_max: Duration,
}

/// More than any run takes: whoever gets here goes round in circles.
const STEPS_MAX: usize = 5_000_000;
const STACK_LEN: usize = 512 << 10;

/// Runs it, and all threads that it starts, and returns what it returns.
///
/// # Panics
///
/// If it does, if threads wait for each other for ever, or if it never ends.
pub fn run<T: Send + 'static>(schedule: Schedule, body: impl FnOnce() -> T + Send + 'static) -> T {
    let result = Arc::new(Mutex::new(None));
    let body = Mutex::new(Some(body));
    let kept = result.clone();
    let once = move || {
        let body = body.lock().unwrap_or_else(PoisonError::into_inner).take().expect("it runs once");
        let time = Time::begin(schedule.tick_max, schedule.seed);
        let running = time.clone();
        let passing = shuttle::thread::spawn(move || running.run(schedule.patience));
        let value = body();
        time.stop();
        passing.join().expect("time has not panicked");
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    };
    let mut config = Config::new();
    config.stack_size = STACK_LEN;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.silence_warnings = true;
    let Schedule { seed, turns, .. } = schedule;
    match turns {
        Turns::Random => start(RandomScheduler::new_from_seed(seed, 1), config, once),
        Turns::Priority(changes) => start(PctScheduler::new_from_seed(seed, changes.max(1), 1), config, once),
    }
    let value = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    value.expect("it has run")
}

fn start(scheduler: impl Scheduler + 'static, config: Config, body: impl Fn() + Send + Sync + 'static) {
    Runner::new(scheduler, config).run(body);
}

/// Lets others go on.
pub fn yield_now() {
    shuttle::thread::yield_now();
}

/// So much time passes for everybody, without anybody waiting for it.
pub fn advance(by: Duration) {
    Time::current().advance(by);
}

/// Waits until so much time has passed.
pub fn sleep(time: Duration) {
    let (lock, never) = (shuttle::sync::Mutex::new(()), Condvar::new());
    let until = clock::now() + time;
    let mut guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let left = until.saturating_duration_since(clock::now());
        if left.is_zero() {
            return;
        }
        guard = never.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Waits on this thread for a future.
pub fn block_on<F: Future>(future: F) -> F::Output {
    shuttle::future::block_on(future)
}
