//! The watermark under many schedules: a lost wake-up leaves a thread waiting for ever, which the scheduler sees as a deadlock.
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

#[path = "../src/watermark.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the crate, compiled with other locks")]
mod watermark;

mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::sync::PoisonError;
}

use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread::{self, JoinHandle};
use watermark::Watermark;

const SCHEDULES: usize = 3_000;

fn check(test: impl Fn() + Send + Sync + Copy + 'static) {
    shuttle::check_random(test, SCHEDULES);
    shuttle::check_pct(test, SCHEDULES, 3);
}

/// Publishes these heads, as far as it goes. Returns the last.
fn publish(watermark: &Arc<Watermark>, heads: std::ops::RangeInclusive<u64>) -> JoinHandle<u64> {
    let watermark = watermark.clone();
    thread::spawn(move || heads.take_while(|head| watermark.publish(*head)).last().unwrap_or(0))
}

/// Waits until the watermark has ended. Returns where it was when that was seen, and has to be for good.
fn follow(watermark: &Arc<Watermark>) -> JoinHandle<u64> {
    let watermark = watermark.clone();
    thread::spawn(move || {
        let mut seen = 0;
        loop {
            let ended = watermark.has_ended();
            let head = watermark.head();
            assert!(head >= seen, "it goes forward");
            seen = head;
            if ended {
                return seen;
            }
            watermark.wait(seen, &AtomicBool::new(false));
        }
    })
}

#[test]
fn whoever_waits_for_a_head_is_woken_for_it() {
    check(|| {
        let watermark = Arc::new(Watermark::new(0));
        let publishing = publish(&watermark, 1..=3);
        let waiting: Vec<_> = (1..=2)
            .map(|_| {
                let watermark = watermark.clone();
                thread::spawn(move || {
                    let mut seen = 0;
                    while seen < 3 {
                        let head = watermark.wait(seen, &AtomicBool::new(false));
                        assert!(head > seen, "nothing else lets it return");
                        seen = head;
                    }
                })
            })
            .collect();
        assert_eq!(publishing.join().unwrap(), 3);
        for waiting in waiting {
            waiting.join().unwrap();
        }
    });
}

#[test]
fn nothing_is_published_behind_what_was_the_end_for_somebody() {
    check(|| {
        let watermark = Arc::new(Watermark::new(0));
        let publishing = publish(&watermark, 1..=3);
        let following = [follow(&watermark), follow(&watermark)];
        watermark.end();
        let last = publishing.join().unwrap();
        for follower in following {
            assert_eq!(follower.join().unwrap(), last, "what was published is what was seen before the end");
        }
        assert!(!watermark.publish(9));
        assert_eq!((watermark.head(), watermark.has_ended()), (last, true));
    });
}

#[test]
fn an_interruption_ends_the_wait_that_is_under_way_or_the_next() {
    check(|| {
        let watermark = Arc::new(Watermark::new(7));
        let interrupted = Arc::new(AtomicBool::new(false));
        let waiting = {
            let (watermark, interrupted) = (watermark.clone(), interrupted.clone());
            thread::spawn(move || watermark.wait(7, &interrupted))
        };
        interrupted.store(true, Ordering::SeqCst);
        watermark.wake();
        assert_eq!(waiting.join().unwrap(), 7);
    });
}
