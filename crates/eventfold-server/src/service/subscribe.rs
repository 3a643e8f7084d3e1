//! Following the log.

use std::pin::Pin;
use std::task::{Context, Poll};

use eventfold_db::{Error, Subscription, SubscriptionEvent, SubscriptionOptions};
use eventfold_proto::convert::{Failed, Malformed, events_to_wire, failure_of, query_from_wire, stream_from_wire};
use eventfold_proto::v1;
use eventfold_proto::v1::subscribe_response::{Event, Events};
use futures_util::future::BoxFuture;
use futures_util::stream::Stream;
use futures_util::{FutureExt, StreamExt};
use tonic::Status;

use super::read::Source;
use super::{Call, Service};
use crate::gate::Place;
use crate::options::count;

/// What a subscriber is sent: events by many, as many as there are at once.
pub(crate) struct Following {
    subscription: Subscription,
    over: BoxFuture<'static, Failed>,
    bytes_max: usize,
    /// What came behind the events that are sent.
    held: Option<Result<SubscriptionEvent, Error>>,
    state: State,
    _place: Place,
}

enum State {
    Following,
    /// It was told where it ends; why is still to be told.
    Told(Failed),
    Done,
}

impl Following {
    /// Tells where it ends, and then why.
    fn end(&mut self, failed: Failed) -> Event {
        self.state = State::Told(failed);
        Event::Ended(self.subscription.position())
    }

    /// What comes next of the subscription, if it is there.
    fn poll_following(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Event, Status>>> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        while bytes < self.bytes_max {
            let next = match self.held.take() {
                Some(held) => Poll::Ready(Some(held)),
                None => self.subscription.poll_next_unpin(context),
            };
            match next {
                Poll::Ready(Some(Ok(SubscriptionEvent::Event(event)))) => {
                    bytes += event.size() + EVENT_OVERHEAD;
                    events.push(event);
                }
                Poll::Ready(Some(other)) if events.is_empty() => return Poll::Ready(Some(told(other))),
                Poll::Ready(Some(other)) => {
                    self.held = Some(other);
                    break;
                }
                Poll::Ready(None) if events.is_empty() => return Poll::Ready(None),
                Poll::Pending if events.is_empty() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(Event::Events(Events { events: events_to_wire(&events) }))))
    }
}

/// What an event takes besides its contents.
const EVENT_OVERHEAD: usize = 64;

fn told(other: Result<SubscriptionEvent, Error>) -> Result<Event, Status> {
    match other {
        Ok(SubscriptionEvent::CaughtUp { position }) => Ok(Event::CaughtUp(position)),
        Ok(SubscriptionEvent::Checkpoint { position }) => Ok(Event::Checkpoint(position)),
        Ok(_) => Err(Status::internal("the subscription yields what this server does not know")),
        Err(error) => Err(failure_of(&error).into()),
    }
}

impl Stream for Following {
    type Item = Result<v1::SubscribeResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let ended = match std::mem::replace(&mut self.state, State::Done) {
            State::Done => return Poll::Ready(None),
            State::Told(failed) => return Poll::Ready(Some(Err(failed.into()))),
            // What was taken out of the subscription is told before where it stands.
            State::Following if self.held.is_some() => None,
            State::Following => match self.over.poll_unpin(context) {
                Poll::Ready(failed) => Some(failed),
                Poll::Pending => None,
            },
        };
        let event = match ended {
            Some(failed) => self.end(failed),
            None => match self.poll_following(context) {
                Poll::Pending => {
                    self.state = State::Following;
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(event))) => {
                    self.state = State::Following;
                    event
                }
                Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(Err(status))),
                Poll::Ready(None) => self.end(failure_of(&Error::Closed)),
            },
        };
        Poll::Ready(Some(Ok(v1::SubscribeResponse { event: Some(event) })))
    }
}

impl Service {
    pub(super) async fn start_following(
        &self,
        call: &Call,
        request: v1::SubscribeRequest,
    ) -> Result<Following, Failed> {
        use v1::subscribe_request::Source as Wire;
        let place = Place::take(&self.gate.subscriptions)?;
        let asked = match request.source {
            None => return Err(Malformed::missing("source").into()),
            Some(Wire::Query(query)) => Source::Query(query_from_wire(Some(query), "query")?),
            Some(Wire::Stream(stream)) => Source::Stream(stream_from_wire(Some(stream), "stream")?),
        };
        let subscription = match self.source(call, asked).await? {
            Source::Query(query) => self.reads.subscribe(query, request.from),
            Source::Stream(stream) => self.reads.subscribe_stream(stream, request.from),
        };
        let mut options = SubscriptionOptions::default();
        options.batch.bytes = count(self.limits.page_bytes);
        if let Some(interval) = request.checkpoint_interval {
            options = options.checkpoint_interval(interval.max(CHECKPOINT_INTERVAL_MIN));
        }
        Ok(Following {
            subscription: subscription.map_err(|error| failure_of(&error))?.with_options(options),
            over: self.over(&call.standing),
            bytes_max: count(self.limits.page_bytes),
            held: None,
            state: State::Following,
            _place: place,
        })
    }
}

/// Checkpoints that come more often than this would cost more than the events.
const CHECKPOINT_INTERVAL_MIN: u64 = 64;
