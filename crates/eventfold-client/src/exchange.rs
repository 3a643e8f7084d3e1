//! A session's task: appends out, answers in, over as many connections as it takes.
//!
//! What it keeps to:
//!
//! - Appends are sent in the order in which they were accepted, on each connection from the first that is not answered.
//! - The n-th answer of a connection is that of the n-th append that was sent over it. One whose caller was told that its deadline
//!   has passed keeps its place until then.
//! - Whatever was taken by a connection that broke may stand, and nobody is told otherwise. A server that ends a session by a
//!   failure has answered what it has decided.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Instant;

use eventfold_proto::convert::Failed;
use eventfold_proto::v1;
use eventfold_proto::v1::append_session_response::Answer as Told;
use eventfold_store::ErrorKind;
use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::client::Client;
use crate::clock;
use crate::error::Error;
use crate::retry::Retry;
use crate::session::Accepted;
use crate::taken::Taken;
use crate::trouble::Trouble;

pub(crate) struct Exchange {
    client: Client,
    appends: mpsc::UnboundedReceiver<Accepted>,
    /// More may be accepted.
    is_open: bool,
    /// Those that are not answered, in their order.
    waiting: VecDeque<Accepted>,
    retry: Retry,
}

/// One connection's part of it.
struct Sending {
    outbound: mpsc::UnboundedSender<v1::AppendRequest>,
    taken: Arc<Taken>,
    answered: usize,
}

impl Sending {
    fn new() -> (Self, impl Stream<Item = v1::AppendRequest> + Send + 'static) {
        let (outbound, mut requests) = mpsc::unbounded_channel();
        let taken = Arc::new(Taken::default());
        let count = taken.clone();
        let requests = stream::poll_fn(move |context| {
            let request = ready!(requests.poll_recv(context));
            Poll::Ready(request.filter(|_| count.take()))
        });
        (Self { outbound, taken, answered: 0 }, requests)
    }

    fn send(&self, accepted: &Accepted) {
        // Where nobody takes it any more the connection is broken, which is told elsewhere.
        let _ = self.outbound.send(accepted.append.to_wire());
    }

    /// How many of the first that wait the connection has taken.
    fn under_way(&self) -> usize {
        self.taken.count().saturating_sub(self.answered)
    }
}

impl Exchange {
    pub(crate) fn new(client: Client, appends: mpsc::UnboundedReceiver<Accepted>) -> Self {
        Self { client, appends, is_open: true, waiting: VecDeque::new(), retry: Retry::until(None) }
    }

    pub(crate) async fn run(mut self) {
        while self.has_some().await {
            let Err(status) = self.connected().await else { return };
            self.after(&status).await;
        }
    }

    /// Waits for the first append that there is something to connect for.
    async fn has_some(&mut self) -> bool {
        if self.waiting.is_empty() {
            let first = self.appends.recv().await;
            self.waiting.extend(first);
        }
        !self.waiting.is_empty()
    }

    /// Sends and takes answers, until all is done or the connection breaks.
    async fn connected(&mut self) -> Result<(), Status> {
        let (mut sending, requests) = Sending::new();
        self.waiting.iter().for_each(|accepted| sending.send(accepted));
        let lane = self.client.lane();
        let mut calls = lane.calls();
        let result = {
            let mut opening = pin!(calls.append_session(requests));
            let mut answers: Option<Streaming<v1::AppendSessionResponse>> = None;
            loop {
                if !self.is_open && self.waiting.iter().all(|accepted| accepted.answer.is_none()) {
                    break Ok(());
                }
                let due = self.due();
                tokio::select! {
                    biased;
                    opened = &mut opening, if answers.is_none() => match opened {
                        Ok(opened) => answers = Some(opened.into_inner()),
                        Err(status) => break Err(status),
                    },
                    answer = next(&mut answers) => match answer {
                        Ok(answer) => if let Err(status) = self.take(answer, &mut sending) {
                            break Err(status);
                        },
                        Err(status) => break Err(status),
                    },
                    accepted = self.appends.recv(), if self.is_open => match accepted {
                        Some(accepted) => {
                            sending.send(&accepted);
                            self.waiting.push_back(accepted);
                        }
                        None => self.is_open = false,
                    },
                    () = clock::sleep_until(due), if due.is_some() => {
                        if sending.under_way() == 0 {
                            break Err(Status::unavailable("no connection was there before the deadline"));
                        }
                        self.tell_overdue(true);
                    }
                }
            }
        };
        let under_way = sending.taken.close().saturating_sub(sending.answered);
        if let Err(status) = &result
            && self.client.trouble(status).leaves_open()
        {
            self.waiting.iter_mut().take(under_way).for_each(|accepted| accepted.is_lost = true);
        }
        result
    }

    /// When the first of those passes its deadline whose callers still wait. Deadlines are in their order.
    fn due(&self) -> Option<Instant> {
        self.waiting.iter().find(|accepted| accepted.answer.is_some())?.until
    }

    /// Answers those whose deadline has passed. They may still be `sent` then.
    fn tell_overdue(&mut self, sent: bool) {
        let now = clock::now();
        for accepted in &mut self.waiting {
            if accepted.until.is_none_or(|until| until > now) {
                break;
            }
            accepted.is_lost |= sent;
            if accepted.answer.is_some() {
                accepted.tell(Err(Error::DeadlineExceeded));
            }
        }
    }

    /// Takes the answer to the first.
    fn take(&mut self, answer: v1::AppendSessionResponse, sending: &mut Sending) -> Result<(), Status> {
        let first = if sending.under_way() > 0 { self.waiting.pop_front() } else { None };
        let mut first = first.ok_or_else(|| Status::internal("an answer came that nothing waits for"))?;
        sending.answered += 1;
        self.retry = Retry::until(None);
        first.tell(match answer.answer {
            Some(Told::Appended(appended)) => first.append.recorded(&appended),
            Some(Told::Refused(refused)) => {
                Err(Trouble::of_failed(Failed::of_refused(refused), self.client.endpoint()).error)
            }
            None => Err(Error::Protocol { what: "an answer is empty".to_owned(), is_append: true }),
        });
        Ok(())
    }

    /// What is to be said when a connection ended so, and waiting until it is worth trying again.
    async fn after(&mut self, status: &Status) {
        // Those that were told are not sent again.
        self.waiting.retain(|accepted| accepted.answer.is_some());
        let trouble = self.client.trouble(status);
        // It is no append's fault.
        if trouble.error.kind() == ErrorKind::Forbidden || matches!(trouble.error, Error::Handshake { .. }) {
            for accepted in &mut self.waiting {
                accepted.tell(Err(self.client.trouble(status).error));
            }
            self.waiting.clear();
            return;
        }
        if !trouble.may_pass() {
            // All before it were answered, so it is the first that the server could not take.
            if let Some(mut first) = self.waiting.pop_front() {
                first.tell(Err(trouble.error));
            }
            return;
        }
        let Some(pause) = self.retry.next_pause(trouble.retry_after) else { return };
        let mut pausing = pin!(clock::sleep(pause));
        loop {
            self.tell_overdue(false);
            self.waiting.retain(|accepted| accepted.answer.is_some());
            let due = self.due();
            tokio::select! {
                () = &mut pausing => return,
                () = clock::sleep_until(due), if due.is_some() => {}
            }
        }
    }
}

/// The next answer, once the call has begun to answer. A server ends a session by a status where something is wrong, and by its end
/// only after ours.
async fn next(answers: &mut Option<Streaming<v1::AppendSessionResponse>>) -> Result<v1::AppendSessionResponse, Status> {
    match answers {
        Some(answers) => answers.message().await?.ok_or_else(|| Status::unavailable("the server ended the session")),
        None => std::future::pending().await,
    }
}
