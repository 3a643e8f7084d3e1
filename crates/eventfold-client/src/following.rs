//! Subscriptions, over as many connections as it takes.

use std::time::Instant;
use std::vec;

use bytes::Bytes;
use eventfold_proto::convert::event_from_wire;
use eventfold_proto::v1;
use eventfold_proto::v1::subscribe_response::Event;
use eventfold_read::SubscriptionEvent;
use eventfold_store::{Direction, ErrorKind, RecordedEvent};
use futures_util::stream::{self, BoxStream, StreamExt};
use tonic::Streaming;

use crate::client::{Client, STABLE, read_error};
use crate::clock;
use crate::error::Error;
use crate::place::Place;
use crate::request::Subscribe;
use crate::retry::Retry;
use crate::transport::Lane;
use crate::trouble::Trouble;

/// What a subscription yields.
pub(crate) fn follow(client: Client, subscribe: Subscribe) -> BoxStream<'static, Result<SubscriptionEvent, Error>> {
    if let Err(error) = subscribe.check() {
        return stream::iter([Err(error.into())]).boxed();
    }
    let following = Following {
        client,
        place: Place::new(subscribe.source, Some(subscribe.from), Direction::Forward),
        checkpoint_interval: subscribe.checkpoint_interval,
        told: 0,
        open: None,
        batch: Vec::new().into_iter(),
        retry: None,
        has_begun: false,
        is_over: false,
    };
    stream::unfold(following, |mut following| async move { Some((following.next().await?, following)) }).boxed()
}

struct Following {
    client: Client,
    place: Place,
    checkpoint_interval: Option<u64>,
    /// The last position that was told. One that begins anew knows of none of a stream, and would go back.
    told: u64,
    open: Option<Open>,
    batch: vec::IntoIter<Bytes>,
    /// From the first break on that nothing has come after.
    retry: Option<Retry>,
    /// There was a connection that was sound: what keeps the next from coming about may be put right, as a certificate.
    has_begun: bool,
    is_over: bool,
}

struct Open {
    messages: Streaming<v1::SubscribeResponse>,
    since: Instant,
    has_brought: bool,
    _lane: Lane,
}

impl Following {
    async fn next(&mut self) -> Option<Result<SubscriptionEvent, Error>> {
        if self.is_over {
            return None;
        }
        let next = self.go_on().await;
        self.is_over = next.is_err();
        Some(next)
    }

    async fn go_on(&mut self) -> Result<SubscriptionEvent, Error> {
        loop {
            if let Some(event) = self.batch.next() {
                return self.take(event).map(SubscriptionEvent::Event);
            }
            match self.next_message().await {
                Ok(Some(Event::Events(events))) => self.batch = events.events.into_iter(),
                Ok(Some(Event::CaughtUp(position))) => {
                    if self.tell(position) {
                        return Ok(SubscriptionEvent::CaughtUp { position });
                    }
                }
                Ok(Some(Event::Checkpoint(position))) => {
                    if self.tell(position) {
                        return Ok(SubscriptionEvent::Checkpoint { position });
                    }
                }
                Ok(Some(Event::Ended(position))) => self.place.told(position),
                // It was told nothing that this version knows.
                Ok(None) => {}
                Err(trouble) => self.after(trouble).await?,
            }
        }
    }

    fn take(&mut self, event: Bytes) -> Result<RecordedEvent, Error> {
        let event = event_from_wire(event).map_err(|error| Error::protocol(&error))?;
        self.place.take(&event).map_err(|what| Error::protocol(&what))?;
        self.told = event.global_position.saturating_add(1);
        Ok(event)
    }

    /// Takes a position that was told; whether it leads on.
    fn tell(&mut self, position: u64) -> bool {
        self.place.told(position);
        let leads_on = position >= self.told;
        self.told = self.told.max(position);
        leads_on
    }

    async fn next_message(&mut self) -> Result<Option<Event>, Trouble> {
        let open = if let Some(open) = &mut self.open {
            open
        } else {
            let until = self.client.deadline();
            let opened = clock::within(until, self.open()).await.ok_or_else(Trouble::deadline)??;
            if self.retry.is_some() {
                tracing::info!("the subscription goes on");
            }
            self.has_begun = true;
            self.open.insert(opened)
        };
        match open.messages.message().await {
            Ok(Some(message)) => {
                open.has_brought |= matches!(message.event, Some(Event::Events(_) | Event::Checkpoint(_)));
                Ok(message.event)
            }
            // A server that ends says so by a status; this is as good as that.
            Ok(None) => Err(Trouble::broken(self.client.endpoint(), "the subscription ended")),
            Err(status) => Err(self.client.trouble(&status)),
        }
    }

    async fn open(&self) -> Result<Open, Trouble> {
        let lane = self.client.lane();
        let request = v1::SubscribeRequest {
            source: Some(self.place.subscribe_source()),
            from: self.place.next().unwrap_or(u64::MAX),
            checkpoint_interval: self.checkpoint_interval,
        };
        let response = lane.calls().subscribe(request).await.map_err(|status| self.client.trouble(&status))?;
        Ok(Open { messages: response.into_inner(), since: clock::now(), has_brought: false, _lane: lane })
    }

    /// Waits until it is worth going on, or says that it is not.
    async fn after(&mut self, trouble: Trouble) -> Result<(), Error> {
        let open = self.open.take();
        if open.is_some_and(|open| open.has_brought || clock::now().duration_since(open.since) > STABLE) {
            self.retry = None;
        }
        let is_cut_off = self.retry.is_none();
        let retry = self.retry.get_or_insert_with(|| Retry::until(self.client.resume_for().and_then(clock::after)));
        // Somebody opens the server's store again, as somebody starts a server again.
        let may_pass = trouble.may_pass()
            || trouble.error.kind() == ErrorKind::Reopen
            || self.has_begun && matches!(trouble.error, Error::Handshake { .. });
        if may_pass && is_cut_off {
            tracing::warn!("a subscription waits for its server, which is tried again: {}", trouble.error);
        }
        if may_pass && retry.pause(trouble.retry_after).await { Ok(()) } else { Err(read_error(trouble.error)) }
    }
}
