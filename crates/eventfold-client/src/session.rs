//! Appending without waiting for one answer before the next is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use eventfold_store::{Append, Error as StoreError, RecordedEvent};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::appending::Sendable;
use crate::client::Client;
use crate::clock;
use crate::error::Error;
use crate::exchange::Exchange;

/// Appends that are on their way together, in one order. [`Client::session`] makes one.
///
/// They are sent, decided and answered in the order in which they were [accepted](Self::append), and one that is refused leaves
/// the others as they are: those behind it are decided without it. An append that expects the version which the one before it
/// makes is right to be sent at once.
///
/// When the connection breaks, those that are not answered are sent again over another, in their order, until their deadlines.
/// Each stands once. What a server refuses is not sent again, since that would change the order: the caller decides.
///
/// ```no_run
/// use eventfold_client::{Append, Client, ExpectedVersion, ProposedEvent};
///
/// # async fn run(client: Client) -> Result<(), eventfold_client::Error> {
/// let session = client.session();
/// let mut answers = Vec::new();
/// for cents in 0..1000 {
///     let deposited = vec![ProposedEvent::new("Deposited", format!("{cents}"))];
///     answers.push(session.append(Append::new().events("account-7", deposited)).await?);
/// }
/// for answer in answers {
///     println!("at {}", answer.await?[0].global_position);
/// }
/// session.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # Dropping
///
/// What was accepted goes on when the session, or the future of its answer, is dropped. [`close`](Self::close) waits for it.
#[derive(Debug)]
pub struct AppendSession {
    client: Client,
    room: Arc<Semaphore>,
    accepted: Option<mpsc::UnboundedSender<Accepted>>,
    tasks: JoinSet<()>,
}

/// An append that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) append: Sendable,
    /// Taken once it is answered.
    pub(crate) answer: Option<oneshot::Sender<Answer>>,
    pub(crate) until: Option<Instant>,
    /// It was sent over a connection that is no more.
    pub(crate) is_lost: bool,
    _room: OwnedSemaphorePermit,
}

pub(crate) type Answer = Result<Vec<RecordedEvent>, Error>;

impl Accepted {
    pub(crate) fn tell(&mut self, answer: Answer) {
        let answer = answer.map_err(|error| if self.is_lost { error.after_loss() } else { error });
        // Who dropped the future does not want to know.
        let _ = self.answer.take().map(|to| to.send(answer));
    }
}

/// What a session has under way at the most: as much as servers take of one, in steps. Each append is at least one.
const ROOM_STEP_BYTES: usize = 4 << 10;
const ROOM_STEPS: u32 = 4096;

fn steps(bytes: usize) -> u32 {
    // One that is larger goes alone.
    u32::try_from(bytes / ROOM_STEP_BYTES + 1).unwrap_or(ROOM_STEPS).min(ROOM_STEPS)
}

impl AppendSession {
    pub(crate) fn new(client: Client) -> Self {
        let (accepted, appends) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(Exchange::new(client.clone(), appends).run());
        let room = Arc::new(Semaphore::new(ROOM_STEPS as usize));
        Self { client, room, accepted: Some(accepted), tasks }
    }

    /// Accepts an append for sending, as soon as there is room: at most 16 MiB, and at most 4096 appends, are under way. What
    /// it returns is the answer to come, which is ready whether it is polled before or not.
    ///
    /// # Errors
    ///
    /// Of what is wrong with the append by itself, as for [`EventStore::append_request`](crate::EventStore::append_request);
    /// [`Error::DeadlineExceeded`] where there was no room before the deadline. Nothing was sent then.
    pub async fn append(&self, append: Append) -> Result<PendingAnswer, Error> {
        let append = Sendable::new(append)?;
        let until = self.client.deadline();
        let room = self.room.clone().acquire_many_owned(steps(append.size()));
        let room = clock::within(until, room).await.ok_or(Error::DeadlineExceeded)?;
        let room = room.map_err(|_| StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let accepted = Accepted { append, answer: Some(answer), until, is_lost: false, _room: room };
        let is_open = self.accepted.as_ref().is_some_and(|to| to.send(accepted).is_ok());
        if is_open { Ok(PendingAnswer(answered)) } else { Err(StoreError::Closed.into()) }
    }

    /// Waits until all that was accepted is answered, within its deadlines.
    pub async fn close(mut self) {
        self.accepted = None;
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for AppendSession {
    fn drop(&mut self) {
        // It ends by itself when all is answered.
        self.tasks.detach_all();
    }
}

/// The answer to an append of a session.
#[derive(Debug)]
#[must_use = "whether the append stands is told here"]
pub struct PendingAnswer(oneshot::Receiver<Answer>);

impl Future for PendingAnswer {
    type Output = Result<Vec<RecordedEvent>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The runtime has ended, and the session's task with it.
        let lost = || Err(StoreError::OutcomeUnknown { cause: None }.into());
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or_else(|_| lost()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_append_takes_room_and_none_takes_more_than_there_is() {
        assert_eq!(steps(0), 1);
        assert_eq!(steps(ROOM_STEP_BYTES), 2);
        assert_eq!(steps(16 << 20), ROOM_STEPS);
        assert_eq!(steps(usize::MAX), ROOM_STEPS);
    }
}
