//! The inbox under many schedules: a lost wake-up leaves a thread waiting for ever, which the scheduler sees as a deadlock.
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

#[path = "../src/inbox.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the crate, compiled with other locks")]
mod inbox;
#[path = "../src/line.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the crate")]
mod line;

mod sync {
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::sync::PoisonError;
}

use std::collections::VecDeque;

use inbox::{Inbox, NotAdmitted, Place, Taken};
use line::Load;
use shuttle::sync::Arc;
use shuttle::sync::mpsc::{Sender, channel};
use shuttle::thread;

const SCHEDULES: usize = 3_000;

type TestInbox = Inbox<(u32, Sender<u32>), usize>;

/// The writer's loop without a store: what is taken is committed by another thread, and answered when that is through.
fn serve(inbox: &Arc<TestInbox>) {
    let (commits, to_run) = channel::<usize>();
    let for_sync = inbox.clone();
    let sync = thread::spawn(move || {
        while let Ok(size) = to_run.recv() {
            for_sync.committed(size);
        }
    });
    let (mut batch, mut open) = (VecDeque::new(), Vec::new());
    let mut running: Option<Vec<(u32, Sender<u32>)>> = None;
    loop {
        let taken = inbox.take(&mut batch, if running.is_some() { 2 } else { 1 }, None);
        let mut owed = Vec::new();
        match taken {
            Taken::Ended => break,
            Taken::Idle | Taken::Failed => unreachable!("nobody asks for it"),
            Taken::Work(committed) => {
                if let Some(size) = committed {
                    owed = running.take().unwrap();
                    assert_eq!(size, owed.len());
                }
            }
        }
        open.extend(batch.drain(..));
        if running.is_none() && !open.is_empty() {
            commits.send(open.len()).unwrap();
            running = Some(std::mem::take(&mut open));
        }
        if !owed.is_empty() {
            inbox.release(Load { requests: owed.len(), bytes: owed.len() });
        }
        for (item, answer) in owed {
            let _ = answer.send(item);
        }
    }
    assert!(open.is_empty() && running.is_none());
    drop(commits);
    sync.join().unwrap();
}

#[test]
fn no_wake_up_is_lost_whatever_the_bound() {
    for bound in [1, 2, 8] {
        shuttle::check_random(
            move || {
                let inbox = Arc::new(TestInbox::new(Load { requests: bound, bytes: 100 }));
                let for_writer = inbox.clone();
                let writer = thread::spawn(move || serve(&for_writer));
                let callers: Vec<_> = (0..3)
                    .map(|caller| {
                        let inbox = inbox.clone();
                        thread::spawn(move || {
                            for round in 0..2 {
                                let (sender, answer) = channel();
                                let item = caller * 10 + round;
                                inbox.submit((item, sender), 1).unwrap();
                                assert_eq!(answer.recv(), Ok(item));
                            }
                        })
                    })
                    .collect();
                for caller in callers {
                    caller.join().unwrap();
                }
                inbox.close();
                writer.join().unwrap();
            },
            SCHEDULES,
        );
    }
}

#[test]
fn what_was_put_in_before_the_close_is_answered_and_nothing_after() {
    shuttle::check_random(
        || {
            let inbox = Arc::new(TestInbox::new(Load { requests: 1, bytes: 100 }));
            let for_writer = inbox.clone();
            let writer = thread::spawn(move || serve(&for_writer));
            let callers: Vec<_> = (0..3)
                .map(|caller| {
                    let inbox = inbox.clone();
                    thread::spawn(move || {
                        let (sender, answer) = channel();
                        match inbox.submit((caller, sender), 1) {
                            Ok(_) => assert_eq!(answer.recv(), Ok(caller)),
                            Err(reason) => assert_eq!(reason, NotAdmitted::Closed),
                        }
                    })
                })
                .collect();
            inbox.close();
            writer.join().unwrap();
            for caller in callers {
                caller.join().unwrap();
            }
        },
        SCHEDULES,
    );
}

#[test]
fn what_is_withdrawn_is_not_answered_and_holds_nobody_up() {
    shuttle::check_random(
        || {
            let inbox = Arc::new(TestInbox::new(Load { requests: 1, bytes: 100 }));
            let for_writer = inbox.clone();
            let writer = thread::spawn(move || serve(&for_writer));
            let fickle = {
                let inbox = inbox.clone();
                thread::spawn(move || {
                    let (sender, answer) = channel();
                    if let Place::Waiting(ticket) = inbox.submit((7, sender), 1).unwrap()
                        && let Some(withdrawn) = inbox.withdraw(ticket, |_| ())
                    {
                        drop(withdrawn);
                        assert!(answer.recv().is_err());
                    } else {
                        assert_eq!(answer.recv(), Ok(7));
                    }
                })
            };
            for item in 0..2 {
                let (sender, answer) = channel();
                inbox.submit((item, sender), 1).unwrap();
                assert_eq!(answer.recv(), Ok(item));
            }
            fickle.join().unwrap();
            inbox.close();
            writer.join().unwrap();
        },
        SCHEDULES,
    );
}

#[test]
fn what_was_announced_is_waited_for_also_when_it_is_closed() {
    shuttle::check_random(
        || {
            let inbox = Arc::new(TestInbox::new(Load { requests: 1, bytes: 100 }));
            let for_writer = inbox.clone();
            let writer = thread::spawn(move || serve(&for_writer));
            let readers: Vec<_> = (0..3)
                .map(|number| {
                    let inbox = inbox.clone();
                    thread::spawn(move || {
                        if inbox.announce().is_err() {
                            return;
                        }
                        if number == 2 {
                            return inbox.call_off();
                        }
                        let (sender, answer) = channel();
                        assert!(inbox.arrive((number, sender), 1).is_ok());
                        assert_eq!(answer.recv(), Ok(number));
                    })
                })
                .collect();
            inbox.close();
            writer.join().unwrap();
            for reader in readers {
                reader.join().unwrap();
            }
        },
        SCHEDULES,
    );
}

#[test]
fn whoever_waits_when_it_ends_is_let_go_of() {
    shuttle::check_random(
        || {
            let inbox = Arc::new(TestInbox::new(Load { requests: 1, bytes: 100 }));
            let callers: Vec<_> = (0..3)
                .map(|number| {
                    let inbox = inbox.clone();
                    thread::spawn(move || {
                        let (sender, answer) = channel();
                        // What was put in is handed out at the end, and dropped like what is given back.
                        if number == 0 {
                            let _ = inbox.submit((number, sender), 1);
                        } else if inbox.announce().is_ok() {
                            drop(inbox.arrive((number, sender), 1));
                        } else {
                            drop(sender);
                        }
                        assert!(answer.recv().is_err());
                    })
                })
                .collect();
            let failing = inbox.clone();
            let failing = thread::spawn(move || failing.fail());
            let mut batch = VecDeque::new();
            while inbox.take(&mut batch, 1, None) != Taken::Failed {}
            drop(batch);
            drop(inbox.end());
            failing.join().unwrap();
            for caller in callers {
                caller.join().unwrap();
            }
            assert_eq!(inbox.submit((9, channel().0), 1), Err(NotAdmitted::Closed));
        },
        SCHEDULES,
    );
}
