//! Tests of the inbox, apart from it since a test of its schedules compiles it with other locks.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use crate::inbox::{Inbox, NotAdmitted, Place, Taken};
use crate::line::Load;

type TestInbox = Inbox<u64, ()>;

fn take(inbox: &TestInbox) -> Vec<u64> {
    let mut batch = VecDeque::new();
    inbox.take(&mut batch, 1, Some(Duration::ZERO));
    batch.into()
}

#[test]
fn a_large_request_waits_for_all_before_it_and_is_let_in_alone() {
    let inbox = TestInbox::new(Load { requests: 10, bytes: 100 });
    assert_eq!(inbox.submit(1, 60), Ok(Place::Admitted));
    assert_eq!(inbox.submit(2, 500), Ok(Place::Waiting(0)));
    assert_eq!(inbox.submit(3, 1), Ok(Place::Waiting(1)));
    assert_eq!(inbox.try_submit(4, 1), Err(NotAdmitted::Full(Load { requests: 1, bytes: 60 })));
    inbox.release(Load { requests: 1, bytes: 60 });
    assert_eq!(take(&inbox), [1, 2]);
    inbox.release(Load { requests: 1, bytes: 500 });
    assert_eq!(take(&inbox), [3]);
}

#[test]
fn what_is_withdrawn_lets_those_behind_it_in() {
    let inbox = TestInbox::new(Load { requests: 10, bytes: 100 });
    assert_eq!(inbox.submit(1, 60), Ok(Place::Admitted));
    assert_eq!(inbox.submit(2, 80), Ok(Place::Waiting(0)));
    assert_eq!(inbox.submit(3, 40), Ok(Place::Waiting(1)));
    assert_eq!(inbox.withdraw(0, |_| ()), Some(2));
    assert_eq!(inbox.withdraw(0, |_| ()), None);
    assert_eq!(inbox.withdraw(1, |_| ()), None, "it was let in");
    assert_eq!(take(&inbox), [1, 3]);
}

#[test]
fn it_ends_when_it_is_closed_and_everything_was_released() {
    let inbox = TestInbox::new(Load { requests: 1, bytes: 100 });
    assert_eq!(inbox.submit(1, 1), Ok(Place::Admitted));
    assert_eq!(inbox.submit(2, 2), Ok(Place::Waiting(0)));
    inbox.close();
    assert_eq!(inbox.submit(3, 1), Err(NotAdmitted::Closed));
    let mut batch = VecDeque::new();
    assert_eq!(inbox.take(&mut batch, 1, None), Taken::Work(None));
    inbox.release(Load { requests: 1, bytes: 1 });
    batch.clear();
    assert_eq!(inbox.take(&mut batch, 1, None), Taken::Work(None));
    inbox.release(Load { requests: 1, bytes: 2 });
    assert_eq!(inbox.take(&mut batch, 1, None), Taken::Ended);
}

#[test]
fn what_was_announced_joins_the_line_and_keeps_nobody() {
    let inbox = TestInbox::new(Load { requests: 1, bytes: 100 });
    assert_eq!(inbox.submit(1, 1), Ok(Place::Admitted));
    assert_eq!((inbox.announce(), inbox.announce()), (Ok(()), Ok(())));
    inbox.close();
    // There is no space for it, and nobody who could be kept by that: what is held may wait for whoever calls this.
    assert_eq!(inbox.arrive(2, 1), Ok(()));
    assert_eq!(inbox.put_back(3), Ok(()));
    assert_eq!(take(&inbox), [1, 3]);
    inbox.release(Load { requests: 1, bytes: 1 });
    assert_eq!(take(&inbox), [2]);
    inbox.release(Load { requests: 1, bytes: 1 });
    let mut batch = VecDeque::new();
    assert_eq!(inbox.take(&mut batch, 1, Some(Duration::ZERO)), Taken::Idle, "another one was announced");
    inbox.call_off();
    assert_eq!(inbox.take(&mut batch, 1, None), Taken::Ended);
}

#[test]
fn what_is_released_or_comes_after_the_end_changes_nothing() {
    let inbox = TestInbox::new(Load { requests: 1, bytes: 100 });
    assert_eq!(inbox.submit(1, 1), Ok(Place::Admitted));
    assert_eq!(take(&inbox), [1]);
    assert_eq!(inbox.submit(2, 1), Ok(Place::Waiting(0)));
    assert_eq!(inbox.announce(), Ok(()));
    assert_eq!(inbox.end(), [2]);
    inbox.release(Load { requests: 1, bytes: 1 });
    assert_eq!(inbox.put_back(1), Err(1));
    assert_eq!(inbox.arrive(3, 1), Err(3));
    inbox.call_off();
    assert_eq!(inbox.submit(4, 1), Err(NotAdmitted::Closed));
    assert_eq!(inbox.load().0, Load::default());
}

#[derive(Clone, Debug)]
enum Step {
    Submit(usize),
    TrySubmit(usize),
    Withdraw(prop::sample::Index),
    Take,
    Release(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_usize..150).prop_map(Step::Submit),
        2 => (0_usize..150).prop_map(Step::TrySubmit),
        1 => any::<prop::sample::Index>().prop_map(Step::Withdraw),
        2 => Just(Step::Take),
        3 => any::<prop::sample::Index>().prop_map(Step::Release),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// Whatever is done to it, requests come out once, in the order in which they were put in, the bounds hold, and
    /// nothing waits while there is space for it.
    #[test]
    fn requests_come_out_once_and_in_order_within_the_bounds(steps in steps()) {
        const BOUNDS: Load = Load { requests: 4, bytes: 200 };
        let inbox = TestInbox::new(BOUNDS);
        let (mut next, mut sizes) = (0_u64, BTreeMap::new());
        let mut line: Vec<(u64, u64)> = Vec::new();
        let (mut expected, mut seen, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Submit(bytes) => {
                    sizes.insert(next, bytes);
                    if let Place::Waiting(ticket) = inbox.submit(next, bytes).unwrap() {
                        line.push((ticket, next));
                    }
                    expected.push(next);
                    next += 1;
                }
                Step::TrySubmit(bytes) => {
                    sizes.insert(next, bytes);
                    if inbox.try_submit(next, bytes).is_ok() {
                        expected.push(next);
                    }
                    next += 1;
                }
                Step::Withdraw(index) if !line.is_empty() => {
                    let (ticket, item) = line.remove(index.index(line.len()));
                    if inbox.withdraw(ticket, |_| ()) == Some(item) {
                        expected.retain(|other| *other != item);
                    }
                }
                Step::Take => {
                    let batch = take(&inbox);
                    seen.extend(&batch);
                    taken.extend(batch);
                }
                Step::Release(index) if !taken.is_empty() => {
                    let item: u64 = taken.remove(index.index(taken.len()));
                    inbox.release(Load { requests: 1, bytes: sizes[&item] });
                }
                Step::Withdraw(_) | Step::Release(_) => {}
            }
            let (held, _) = inbox.load();
            prop_assert!(held.requests <= BOUNDS.requests);
            prop_assert!(held.bytes <= BOUNDS.bytes || held.requests == 1);
            prop_assert!(!inbox.first_waiting_fits());
        }
        loop {
            let batch = take(&inbox);
            taken.extend(&batch);
            if taken.is_empty() {
                break;
            }
            seen.extend(batch);
            for item in taken.drain(..) {
                inbox.release(Load { requests: 1, bytes: sizes[&item] });
            }
        }
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(inbox.load().0, Load::default());
    }
}
