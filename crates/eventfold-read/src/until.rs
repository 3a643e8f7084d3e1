//! Waiting until the log is somewhere.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use eventfold_store::{Error, EventLog};

use crate::hub::{Hub, Interest};

/// Waits until the log is at a position: see [`ReadIndex::wait_until`](crate::ReadIndex::wait_until).
#[derive(Debug)]
#[must_use = "nothing waits before it is polled"]
pub struct WaitUntil {
    log: EventLog,
    hub: Arc<Hub>,
    position: u64,
    interest: Option<Interest>,
}

impl WaitUntil {
    pub(crate) fn new(log: EventLog, hub: Arc<Hub>, position: u64) -> Self {
        Self { log, hub, position, interest: None }
    }
}

impl Future for WaitUntil {
    type Output = Result<u64, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            // In this order: the head that is found after the end is the last.
            let ended = self.log.has_ended();
            let head = self.log.global_position();
            if head >= self.position {
                return Poll::Ready(Ok(head));
            }
            if ended {
                let error = self.log.poison().map_or(Error::Closed, |cause| Error::Poisoned { cause });
                return Poll::Ready(Err(error));
            }
            let interest = match self.interest.take() {
                Some(interest) => interest,
                None => Interest::new(&self.hub, Vec::new())?,
            };
            let sleeps = interest.sleep(head, self.position, context.waker());
            self.interest = Some(interest);
            if sleeps {
                return Poll::Pending;
            }
        }
    }
}
