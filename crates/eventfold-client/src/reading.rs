//! Reading, over as many connections as it takes.

use std::vec;

use bytes::Bytes;
use eventfold_proto::convert::event_from_wire;
use eventfold_proto::v1;
use eventfold_store::{Direction, RecordedEvent};
use futures_util::stream::{self, BoxStream, StreamExt};
use tonic::Streaming;

use crate::client::{Client, read_error};
use crate::clock;
use crate::error::Error;
use crate::place::Place;
use crate::request::Read;
use crate::retry::Retry;
use crate::transport::Lane;
use crate::trouble::Trouble;

/// The events of a read. See the crate's documentation for what it does after a break.
pub(crate) fn read(client: Client, read: Read) -> BoxStream<'static, Result<RecordedEvent, Error>> {
    if let Err(error) = read.check() {
        return stream::iter([Err(error.into())]).boxed();
    }
    let reading = Reading {
        client,
        place: Place::new(read.source, read.from, read.direction),
        direction: read.direction,
        left: read.max_count,
        open: None,
        batch: Vec::new().into_iter(),
        retry: None,
        is_over: false,
    };
    stream::unfold(reading, |mut reading| async move { Some((reading.next().await?, reading)) }).boxed()
}

struct Reading {
    client: Client,
    place: Place,
    direction: Direction,
    /// How many may still come.
    left: Option<u64>,
    open: Option<(Streaming<v1::ReadResponse>, Lane)>,
    batch: vec::IntoIter<Bytes>,
    /// From the first attempt on that has brought nothing yet. How long who reads takes in between does not count.
    retry: Option<Retry>,
    is_over: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<RecordedEvent, Error>> {
        let next = if self.is_over { None } else { self.go_on().await.transpose() };
        self.is_over |= !matches!(next, Some(Ok(_)));
        next
    }

    async fn go_on(&mut self) -> Result<Option<RecordedEvent>, Error> {
        loop {
            if let Some(event) = self.batch.next() {
                return self.take(event).map(Some);
            }
            // The server is asked once at the least: it knows whether there is such a stream.
            let is_done = self.place.is_over() || self.left == Some(0);
            if is_done && self.open.is_some() {
                return Ok(None);
            }
            match self.next_message().await {
                Ok(Some(message)) => {
                    self.batch = message.events.into_iter();
                    self.retry = None;
                }
                Ok(None) => return Ok(None),
                Err(trouble) => {
                    self.open = None;
                    let retry = self.retry.get_or_insert_with(|| Retry::until(self.client.deadline()));
                    if !trouble.may_pass() || !retry.pause(trouble.retry_after).await {
                        return Err(read_error(trouble.error));
                    }
                }
            }
        }
    }

    fn take(&mut self, event: Bytes) -> Result<RecordedEvent, Error> {
        let event = event_from_wire(event).map_err(|error| Error::protocol(&error))?;
        self.place.take(&event).map_err(|what| Error::protocol(&what))?;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or_else(|| Error::protocol(&"more came than was asked for"))?;
        }
        Ok(event)
    }

    async fn next_message(&mut self) -> Result<Option<v1::ReadResponse>, Trouble> {
        let until = match &self.retry {
            Some(retry) => retry.end(),
            None => self.retry.insert(Retry::until(self.client.deadline())).end(),
        };
        let messages = if let Some((messages, _)) = &mut self.open {
            messages
        } else {
            let opened = clock::within(until, self.open()).await.ok_or_else(Trouble::deadline)??;
            &mut self.open.insert(opened).0
        };
        let message = clock::within(until, messages.message()).await.ok_or_else(Trouble::deadline)?;
        message.map_err(|status| self.client.trouble(&status))
    }

    async fn open(&self) -> Result<(Streaming<v1::ReadResponse>, Lane), Trouble> {
        let lane = self.client.lane();
        let direction = match self.direction {
            Direction::Forward => v1::Direction::Forward,
            Direction::Backward => v1::Direction::Backward,
        };
        let request = v1::ReadRequest {
            source: Some(self.place.read_source()),
            from: self.place.next(),
            direction: direction.into(),
            max_count: self.left,
        };
        let response = lane.calls().read(request).await.map_err(|status| self.client.trouble(&status))?;
        Ok((response.into_inner(), lane))
    }
}
