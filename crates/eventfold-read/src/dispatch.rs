//! The thread that follows the log for all who wait: it passes what comes through the [`Registry`].
//!
//! One thread waits for the log's head, however many subscriptions do, so that they cost the writer one wake-up a group at
//! most. The registry's lock is held for one event at a time and never while the disk is read, since `poll` takes it too.

use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use eventfold_store::{EventLog, EventRef, HeadWatch, WatchedTerm};

use crate::registry::{Passing, Registry};
use crate::sync::{Condvar, Mutex, lock, spawn, wait};

/// A log that grows.
pub(crate) trait Followed: Send + Sync + 'static {
    fn head(&self) -> u64;

    /// Whether nothing more is coming.
    fn has_ended(&self) -> bool;

    /// Waits until the head is another than `seen`, the log has ended, or it is interrupted.
    fn wait(&self, seen: u64) -> u64;

    /// Lets the wait that is under way, or else the next one, return.
    fn interrupt(&self);

    /// Hands over all events from a position on, up to the head or until `each` breaks. `Err` where they can't be read.
    fn scan(&self, from: u64, each: impl FnMut(Passing<'_, '_>) -> ControlFlow<()>) -> Result<(), ()>;
}

/// A log of a store.
#[derive(Debug)]
pub(crate) struct StoreLog {
    log: EventLog,
    watch: HeadWatch,
}

impl StoreLog {
    pub(crate) fn new(log: EventLog) -> Self {
        Self { watch: log.watch(), log }
    }
}

impl Followed for StoreLog {
    fn head(&self) -> u64 {
        self.log.global_position()
    }

    fn has_ended(&self) -> bool {
        self.log.has_ended()
    }

    fn wait(&self, seen: u64) -> u64 {
        self.watch.wait(seen)
    }

    fn interrupt(&self) {
        self.watch.interrupt();
    }

    fn scan(&self, from: u64, mut each: impl FnMut(Passing<'_, '_>) -> ControlFlow<()>) -> Result<(), ()> {
        let passing = |event: EventRef<'_>| {
            each(Passing {
                position: event.global_position,
                stream: event.stream_id,
                event_type: event.event_type,
                tags: &mut event.tags.iter(),
            })
        };
        // What is wrong, those who wait find out: they read it themselves.
        self.log.snapshot().scan(from).for_each(passing).map_err(drop)
    }
}

#[derive(Debug)]
pub(crate) struct Dispatch<F> {
    followed: F,
    state: Mutex<State>,
    /// The first waiter has come, or it is time to stop.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    registry: Registry<Waker>,
    running: bool,
    stop: bool,
}

impl<F: Followed> Dispatch<F> {
    pub(crate) fn new(followed: F) -> Self {
        let registry = Registry::new(followed.head());
        Self { followed, state: Mutex::new(State { registry, running: false, stop: false }), changed: Condvar::new() }
    }

    /// Registers a waiter for events with these terms, and starts the thread for the first.
    pub(crate) fn register(self: &Arc<Self>, terms: Vec<WatchedTerm>) -> io::Result<u64> {
        let mut state = lock(&self.state);
        if !state.running && !state.registry.has_ended() {
            let dispatch = self.clone();
            spawn("eventfold-watch", move || dispatch.run())?;
            state.running = true;
        }
        if state.registry.is_empty() {
            state.registry.start_at(self.followed.head());
            self.changed.notify_all();
        }
        Ok(state.registry.register(terms))
    }

    pub(crate) fn unregister(&self, id: u64) {
        let unneeded = lock(&self.state).registry.unregister(id);
        drop(unneeded);
    }

    /// See [`Registry::sleep`].
    pub(crate) fn sleep(&self, id: u64, seen: u64, at: u64, waker: &Waker) -> bool {
        let mut unneeded = Vec::new();
        let waker = waker.clone();
        let mut state = lock(&self.state);
        let sleeps = state.registry.sleep(id, seen, at, waker, &mut unneeded);
        drop(state);
        drop(unneeded);
        sleeps
    }

    pub(crate) fn stop(&self) {
        lock(&self.state).stop = true;
        self.changed.notify_all();
        self.followed.interrupt();
    }

    /// Whether nobody is registered.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.state).registry.is_empty()
    }

    fn run(&self) {
        let mut woken = Vec::new();
        while let Some(passed) = self.next() {
            let head = self.followed.wait(passed);
            if head > passed {
                self.follow(passed, head, &mut woken);
            }
            // Whoever is woken reads up to the end, so what has come since needs not pass.
            if self.followed.has_ended() {
                lock(&self.state).registry.end(&mut woken);
                wake_all(&mut woken);
                return;
            }
        }
    }

    /// Where to go on, once somebody waits; `None` where it is time to stop.
    fn next(&self) -> Option<u64> {
        let mut state = lock(&self.state);
        while !state.stop && state.registry.is_empty() {
            state = wait(&self.changed, state);
        }
        (!state.stop).then(|| state.registry.passed())
    }

    fn follow(&self, from: u64, head: u64, woken: &mut Vec<Waker>) {
        let mut state = lock(&self.state);
        if !state.registry.needs_events() {
            state.registry.move_to(head, woken);
            drop(state);
            wake_all(woken);
            return;
        }
        drop(state);
        let scan = || {
            self.followed.scan(from, |event| {
                let mut state = lock(&self.state);
                state.registry.pass(event, woken);
                let stop = state.stop;
                drop(state);
                wake_all(woken);
                if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        };
        // Everybody would wait for ever for a thread that a panic has ended. As where reading fails, those who wait read
        // by themselves and find out.
        let scanned = catch_unwind(AssertUnwindSafe(scan)).unwrap_or(Err(()));
        if scanned.is_err() {
            lock(&self.state).registry.pass_unseen(head, woken);
            wake_all(woken);
        }
    }
}

/// Wakes them, under no lock: it can run anything. Where one panics, the others still have to be woken.
fn wake_all(woken: &mut Vec<Waker>) {
    for waker in woken.drain(..) {
        drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use shuttle::thread;
    use uuid::Uuid;

    use super::*;
    use crate::cursor::{Cursor, Found, Step};

    /// A log of which each event is of some stream.
    #[derive(Debug, Default)]
    struct Log {
        state: Mutex<LogState>,
        moved: Condvar,
    }

    #[derive(Debug, Default)]
    struct LogState {
        streams: Vec<Uuid>,
        ended: bool,
        interrupted: bool,
        /// How many of the next scans fail.
        failures: u32,
        /// Whether they panic then.
        panics: bool,
    }

    impl Log {
        fn append(&self, stream: Uuid) {
            lock(&self.state).streams.push(stream);
            self.moved.notify_all();
        }

        fn end(&self) {
            lock(&self.state).ended = true;
            self.moved.notify_all();
        }

        fn read(&self, stream: Uuid, from: u64) -> Found<u64> {
            let ended = lock(&self.state).ended;
            let streams = lock(&self.state).streams.clone();
            let head = streams.len() as u64;
            let events = (0..).zip(streams).filter(|(at, of)| *at >= from && *of == stream).map(|(at, _)| at).collect();
            Found { events, next: head.max(from), head, ended }
        }
    }

    impl Followed for Arc<Log> {
        fn head(&self) -> u64 {
            lock(&self.state).streams.len() as u64
        }

        fn has_ended(&self) -> bool {
            lock(&self.state).ended
        }

        fn wait(&self, seen: u64) -> u64 {
            let mut state = lock(&self.state);
            while state.streams.len() as u64 == seen && !state.ended && !std::mem::take(&mut state.interrupted) {
                state = wait(&self.moved, state);
            }
            state.streams.len() as u64
        }

        fn interrupt(&self) {
            lock(&self.state).interrupted = true;
            self.moved.notify_all();
        }

        fn scan(&self, from: u64, mut each: impl FnMut(Passing<'_, '_>) -> ControlFlow<()>) -> Result<(), ()> {
            let mut state = lock(&self.state);
            if state.failures > 0 {
                state.failures -= 1;
                let panics = state.panics;
                drop(state);
                assert!(!panics, "of the scan's own");
                return Err(());
            }
            let streams = state.streams.clone();
            drop(state);
            for (position, stream) in (0..).zip(streams).filter(|(position, _)| *position >= from) {
                let event = Passing { position, stream, event_type: "T", tags: &mut std::iter::empty() };
                if each(event).is_break() {
                    break;
                }
            }
            Ok(())
        }
    }

    /// A waker that a shuttle thread waits for.
    #[derive(Default)]
    struct Parker {
        woken: Mutex<bool>,
        changed: Condvar,
    }

    impl Wake for Parker {
        fn wake(self: Arc<Self>) {
            *lock(&self.woken) = true;
            self.changed.notify_all();
        }
    }

    impl Parker {
        fn park(&self) {
            let mut woken = lock(&self.woken);
            while !*woken {
                woken = wait(&self.changed, woken);
            }
            *woken = false;
        }
    }

    /// Subscribes to a stream until the log ends, and returns what came.
    fn subscribe(log: &Arc<Log>, dispatch: &Arc<Dispatch<Arc<Log>>>, stream: Uuid, interval: u64) -> Vec<u64> {
        let mut cursor = Cursor::new(0, interval);
        let parker = Arc::new(Parker::default());
        let waker = Waker::from(parker.clone());
        let (mut id, mut events) = (None, Vec::new());
        loop {
            match cursor.step() {
                Step::Event(position) => events.push(position),
                Step::CaughtUp(_) | Step::Checkpoint(_) => {}
                Step::Read(from) => cursor.found(log.read(stream, from)),
                Step::Wait { seen, at } => {
                    let id = *id.get_or_insert_with(|| {
                        dispatch.register(vec![WatchedTerm::Stream(stream)]).expect("threads can be started")
                    });
                    while dispatch.sleep(id, seen, at, &waker) {
                        parker.park();
                    }
                    cursor.wake();
                }
                Step::Stop | Step::Stopped => break,
            }
        }
        if let Some(id) = id {
            dispatch.unregister(id);
        }
        events
    }

    fn subscribers_and_a_writer(failures: u32, panics: bool) {
        let state = LogState { failures, panics, ..LogState::default() };
        let log = Arc::new(Log { state: Mutex::new(state), ..Log::default() });
        let dispatch = Arc::new(Dispatch::new(log.clone()));
        let streams = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let subscribers: Vec<_> = (0..2)
            .map(|number| {
                let (log, dispatch) = (log.clone(), dispatch.clone());
                thread::spawn(move || subscribe(&log, &dispatch, streams[number], [1, 100][number]))
            })
            .collect();
        for number in [0, 1, 1, 0] {
            log.append(streams[number]);
        }
        log.end();
        let seen: Vec<_> = subscribers.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        assert_eq!(seen, [[0, 3], [1, 2]]);
        assert!(dispatch.is_empty(), "nobody is left behind");
        dispatch.stop();
    }

    #[test]
    fn subscribers_see_every_event_however_the_threads_run() {
        shuttle::check_random(|| subscribers_and_a_writer(0, false), 2_000);
        shuttle::check_pct(|| subscribers_and_a_writer(0, false), 1_000, 3);
    }

    #[test]
    fn a_scan_that_fails_leaves_nobody_asleep() {
        shuttle::check_random(|| subscribers_and_a_writer(1, false), 1_000);
    }

    #[test]
    fn a_scan_that_panics_leaves_nobody_asleep() {
        shuttle::check_random(|| subscribers_and_a_writer(1, true), 300);
    }

    #[test]
    fn whoever_may_have_missed_an_event_in_a_scan_that_failed_is_woken() {
        let run = |panics| {
            let state = LogState { failures: 1, panics, ..LogState::default() };
            let log = Arc::new(Log { state: Mutex::new(state), ..Log::default() });
            let dispatch = Arc::new(Dispatch::new(log.clone()));
            let stream = Uuid::from_u128(1);
            let id = dispatch.register(vec![WatchedTerm::Stream(stream)]).expect("threads can be started");
            let writer = {
                let log = log.clone();
                thread::spawn(move || log.append(stream))
            };
            let parker = Arc::new(Parker::default());
            let waker = Waker::from(parker.clone());
            // Nothing else wakes it: the log neither ends nor gets that far.
            while log.head() == 0 && dispatch.sleep(id, 0, 100, &waker) {
                parker.park();
            }
            writer.join().expect("no panic");
            dispatch.unregister(id);
            dispatch.stop();
        };
        shuttle::check_random(move || run(false), 1_000);
        shuttle::check_random(move || run(true), 300);
    }

    #[test]
    fn whoever_leaves_and_comes_back_misses_nothing() {
        let run = || {
            let log = Arc::new(Log::default());
            let dispatch = Arc::new(Dispatch::new(log.clone()));
            let stream = Uuid::from_u128(1);
            for _ in 0..3 {
                let id = dispatch.register(Vec::new()).expect("threads can be started");
                let seen = log.head();
                let writer = {
                    let log = log.clone();
                    thread::spawn(move || log.append(stream))
                };
                let parker = Arc::new(Parker::default());
                let waker = Waker::from(parker.clone());
                while log.head() == seen && dispatch.sleep(id, seen, seen + 1, &waker) {
                    parker.park();
                }
                writer.join().expect("no panic");
                dispatch.unregister(id);
                // While nobody is there, the thread waits for somebody, and no longer for the log.
                log.append(stream);
                thread::yield_now();
            }
            // Its thread ends, or shuttle would find it waiting for ever.
            dispatch.stop();
        };
        shuttle::check_random(run, 2_000);
        shuttle::check_pct(run, 1_000, 3);
    }
}
