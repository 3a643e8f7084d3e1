//! Subscriptions: history, then what comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use eventfold_store::{BatchLimits, Error, EventLog, RecordedEvent};
use eventfold_sync::{clock, poll_until};
use futures_core::Stream;

use crate::cursor::{Cursor, Found, Step};
use crate::hub::{Hub, Interest};
use crate::pool::Offload;
use crate::source::{DEFAULT_BATCH, Source};

/// What a subscription yields. A position is the next to read: a subscription to the same query that starts there goes on
/// without a gap or a repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionEvent {
    /// The next event.
    Event(RecordedEvent),
    /// There was nothing more when the log was last looked at: everything below `position` has been yielded. It comes when the
    /// head of the log is reached, and again each time it is reached after there was more.
    CaughtUp {
        /// The next position to read.
        position: u64,
    },
    /// Everything below `position` has been yielded. It comes when nothing else has told the position for a while, because the
    /// events that came were not of those subscribed to.
    Checkpoint {
        /// The next position to read.
        position: u64,
    },
}

/// How a subscription reads.
///
/// ```
/// use eventfold_read::SubscriptionOptions;
///
/// let options = SubscriptionOptions::default().checkpoint_interval(1000);
/// assert_eq!(options.checkpoint_interval, 1000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionOptions {
    /// How much it reads, and holds, at once.
    pub batch: BatchLimits,
    /// After how many positions without an event for it a [checkpoint](SubscriptionEvent::Checkpoint) tells how far it is. At
    /// the least one. Each wakes the subscriber.
    pub checkpoint_interval: u64,
}

/// With the events of one segment, more or less, between two checkpoints: resuming from the last one looks at little more
/// than one index.
const DEFAULT_CHECKPOINT_INTERVAL: u64 = 1 << 18;

impl Default for SubscriptionOptions {
    fn default() -> Self {
        Self { batch: DEFAULT_BATCH, checkpoint_interval: DEFAULT_CHECKPOINT_INTERVAL }
    }
}

impl SubscriptionOptions {
    /// With at most so much read and held at once.
    #[must_use]
    pub fn batch(mut self, limits: BatchLimits) -> Self {
        self.batch = limits;
        self
    }

    /// With a checkpoint after so many positions without an event.
    #[must_use]
    pub fn checkpoint_interval(mut self, positions: u64) -> Self {
        self.checkpoint_interval = positions;
        self
    }
}

/// Events from a position on: those that are there, then those that come. See
/// [`ReadIndex::subscribe`](crate::ReadIndex::subscribe).
///
/// It is a cursor on the log, not a queue: it can't miss, repeat or reorder an event, nor be overtaken, however slowly it is
/// polled, and it holds one batch. Polling never reads the disk; that is done by the index's threads.
///
/// It ends when the log has ended and everything was yielded: after the store was closed, just so; after a failure has
/// stopped the store, with [`Error::Poisoned`]. Any other error is from reading: everything before what can't be read has been
/// yielded then, and what is polled next is tried again at the same place.
#[derive(Debug)]
pub struct Subscription {
    place: Place,
    /// The read that is under way.
    read: Option<Offload<Found<RecordedEvent>>>,
}

/// The same on the calling thread: what [`Subscription::into_blocking`] makes. It reads and waits there.
#[derive(Debug)]
pub struct BlockingSubscription {
    place: Place,
}

/// Where a subscription stands, whoever reads for it.
#[derive(Debug)]
struct Place {
    log: EventLog,
    hub: Arc<Hub>,
    source: Arc<Source>,
    cursor: Cursor<RecordedEvent>,
    /// From the first time it waits on.
    interest: Option<Interest>,
}

/// What a subscription that is asked for its next item has to do first.
enum Next {
    Item(Option<Result<SubscriptionEvent, Error>>),
    Read(u64),
    Wait { seen: u64, at: u64 },
}

impl Place {
    fn next(&mut self) -> Next {
        Next::Item(match self.cursor.step() {
            Step::Event(event) => Some(Ok(SubscriptionEvent::Event(event))),
            Step::CaughtUp(position) => Some(Ok(SubscriptionEvent::CaughtUp { position })),
            Step::Checkpoint(position) => Some(Ok(SubscriptionEvent::Checkpoint { position })),
            Step::Read(from) => return Next::Read(from),
            Step::Wait { seen, at } => return Next::Wait { seen, at },
            Step::Stop => self.log.poison().map(|cause| Err(Error::Poisoned { cause })),
            Step::Stopped => None,
        })
    }

    fn read(&self, from: u64) -> impl FnOnce() -> Result<Found<RecordedEvent>, Error> + Send + 'static {
        let (log, source) = (self.log.clone(), self.source.clone());
        move || source.read(&log, from)
    }

    /// Ready when there is something to read again.
    fn wait(&mut self, seen: u64, at: u64, waker: &Waker) -> Poll<Result<(), Error>> {
        let interest = match &self.interest {
            Some(interest) => interest,
            None => match Interest::new(&self.hub, self.source.query.watched_terms()) {
                Ok(interest) => self.interest.insert(interest),
                Err(error) => return Poll::Ready(Err(error)),
            },
        };
        if interest.sleep(seen, at, waker) {
            return Poll::Pending;
        }
        self.cursor.wake();
        Poll::Ready(Ok(()))
    }
}

impl Subscription {
    pub(crate) fn new(log: EventLog, hub: Arc<Hub>, source: Source, from: u64) -> Self {
        let cursor = Cursor::new(from, DEFAULT_CHECKPOINT_INTERVAL);
        Self { place: Place { log, hub, source: Arc::new(source), cursor, interest: None }, read: None }
    }

    /// The subscription with these options, from its next read on.
    #[must_use]
    pub fn with_options(mut self, options: SubscriptionOptions) -> Self {
        let source = Source { limits: options.batch, ..Source::clone(&self.place.source) };
        self.place.source = Arc::new(source);
        self.place.cursor.set_checkpoint_interval(options.checkpoint_interval);
        self
    }

    /// The next position to read: everything below has been yielded, or isn't subscribed to.
    pub fn position(&self) -> u64 {
        self.place.cursor.position()
    }

    /// The subscription as an iterator that reads and waits on the calling thread. It goes on where this one is.
    pub fn into_blocking(self) -> BlockingSubscription {
        BlockingSubscription { place: self.place }
    }
}

impl Stream for Subscription {
    type Item = Result<SubscriptionEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { place, read } = &mut *self;
        loop {
            // A read that has panicked panics here, and is done with then: polled again, it is read again.
            if let Some(mut reading) = read.take() {
                let Poll::Ready(found) = Pin::new(&mut reading).poll(context) else {
                    *read = Some(reading);
                    return Poll::Pending;
                };
                match found {
                    Ok(found) => place.cursor.found(found),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
            match place.next() {
                Next::Item(item) => return Poll::Ready(item),
                Next::Read(from) => *read = Some(Offload::new(place.hub.clone(), place.read(from))),
                Next::Wait { seen, at } => match place.wait(seen, at, context.waker()) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}

impl BlockingSubscription {
    /// The next position to read: everything below has been yielded, or isn't subscribed to.
    pub fn position(&self) -> u64 {
        self.place.cursor.position()
    }

    /// The next item, as [`next`](Iterator::next) gives it, or `Pending` where none has come in this time.
    pub fn next_timeout(&mut self, timeout: Duration) -> Poll<Option<Result<SubscriptionEvent, Error>>> {
        self.next_until(clock::now().checked_add(timeout))
    }

    /// Without a bound where there is none.
    fn next_until(&mut self, until: Option<Instant>) -> Poll<Option<Result<SubscriptionEvent, Error>>> {
        loop {
            match self.place.next() {
                Next::Item(item) => return Poll::Ready(item),
                Next::Read(from) => match self.place.read(from)() {
                    Ok(found) => self.place.cursor.found(found),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                Next::Wait { seen, at } => {
                    match poll_until(until, |context| self.place.wait(seen, at, context.waker())) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
        }
    }
}

impl Iterator for BlockingSubscription {
    type Item = Result<SubscriptionEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_until(None) {
            Poll::Ready(item) => item,
            Poll::Pending => unreachable!("without a bound it waits until something is there"),
        }
    }
}
