//! One append, sent until it is known what became of it.

use std::sync::Arc;
use std::time::Instant;

use eventfold_proto::codec::Codec;
use eventfold_proto::convert::{append_to_wire, recorded_from_wire};
use eventfold_proto::v1::{AppendRequest, AppendResponse};
use eventfold_store::{Append, Condition, ProposedEvent, RecordedEvent, Uuid};
use futures_util::future;
use futures_util::stream::{self, StreamExt};
use http::uri::PathAndQuery;
use tonic::Status;
use tonic::client::Grpc;

use crate::client::{Client, request};
use crate::clock;
use crate::error::Error;
use crate::retry::Retry;
use crate::taken::Taken;
use crate::transport::MESSAGE_BYTES_MAX;
use crate::trouble::Trouble;

/// An append that can be sent any number of times: it keeps the limits, and each of its events has an id, so that it stands once.
#[derive(Clone, Debug)]
pub(crate) struct Sendable(Append);

impl Sendable {
    pub(crate) fn new(append: Append) -> Result<Self, Error> {
        append.validate()?;
        if append.given_time().is_some() {
            return Err(Error::Unsupported { what: "the time at which an append is recorded is the server's" });
        }
        Ok(Self(with_ids(append)))
    }

    pub(crate) fn to_wire(&self) -> AppendRequest {
        append_to_wire(&self.0)
    }

    /// About how many bytes it has.
    pub(crate) fn size(&self) -> usize {
        self.0.runs().flat_map(|(_, events)| events).map(ProposedEvent::size).sum()
    }

    /// Its events as the server says that they were recorded.
    pub(crate) fn recorded(&self, response: &AppendResponse) -> Result<Vec<RecordedEvent>, Error> {
        recorded_from_wire(&self.0, response)
            .map_err(|malformed| Error::Protocol { what: malformed.to_string(), is_append: true })
    }
}

fn with_ids(append: Append) -> Append {
    let lacking = append.runs().flat_map(|(_, events)| events).filter(|event| event.event_id.is_none()).count();
    if lacking == 0 {
        return append;
    }
    let mut random = vec![0; lacking * size_of::<Uuid>()];
    clock::fill_random(&mut random);
    let (random, _) = random.as_chunks();
    let mut ids = random.iter().map(|bytes| uuid::Builder::from_random_bytes(*bytes).into_uuid());
    let mut with_ids = Append::new();
    for condition in append.conditions() {
        with_ids = match condition.clone() {
            Condition::Version { stream, expected } => with_ids.expect(stream, expected),
            Condition::NoMatch { query, after } => with_ids.no_match(query, after),
        };
    }
    for (stream, events) in append.runs() {
        let mut events = events.to_vec();
        for event in &mut events {
            event.event_id = event.event_id.or_else(|| ids.next());
        }
        with_ids = with_ids.events(stream.clone(), events);
    }
    with_ids
}

impl Client {
    /// Sends an append, and again as long as it is not known what became of it, or waiting helps.
    pub(crate) async fn send(&self, append: &Sendable) -> Result<Vec<RecordedEvent>, Error> {
        let until = self.deadline();
        let mut retry = Retry::until(until);
        // One that was sent before may stand.
        let mut is_lost = false;
        loop {
            let taken = Arc::new(Taken::default());
            let trouble = match clock::within(until, self.send_once(append, until, &taken)).await {
                Some(Ok(response)) => return append.recorded(&response),
                Some(Err(status)) => self.trouble(&status),
                None => Trouble::deadline(),
            };
            is_lost |= taken.close() > 0 && trouble.leaves_open();
            if !trouble.may_pass() || !retry.pause(trouble.retry_after).await {
                return Err(if is_lost { trouble.error.after_loss() } else { trouble.error });
            }
        }
    }

    /// On the wire, a call with one message and one with a stream of one are the same, and only of a stream it is known what was
    /// taken.
    async fn send_once(
        &self,
        append: &Sendable,
        until: Option<Instant>,
        taken: &Arc<Taken>,
    ) -> Result<AppendResponse, Status> {
        let (message, taken) = (append.to_wire(), taken.clone());
        let message = stream::iter([message]).take_while(move |_| future::ready(taken.take()));
        let mut calls = Grpc::new(self.connections().short().clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(usize::MAX);
        calls.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let codec = Codec::<AppendRequest, AppendResponse>::default();
        let answer = calls.client_streaming(request(message, until), PathAndQuery::from_static(APPEND), codec).await;
        Ok(answer?.into_inner())
    }
}

const APPEND: &str = "/eventfold.v1.EventStore/Append";

#[cfg(test)]
mod tests {
    use eventfold_store::{ExpectedVersion, Query};

    use super::*;

    #[test]
    fn only_what_has_no_id_is_given_one_and_nothing_else_changes() {
        let id = Uuid::from_u128(7);
        let append = Append::new()
            .no_match(Query::all(), Some(3))
            .expect("a", ExpectedVersion::Exact(2))
            .events("a", vec![ProposedEvent::new("A", "1").with_id(id), ProposedEvent::new("B", "2").with_tags(["t"])])
            .events("b", vec![])
            .events("c", vec![ProposedEvent::new("C", "3")]);
        let sendable = Sendable::new(append.clone()).unwrap();
        let ids: Vec<Uuid> =
            sendable.0.runs().flat_map(|(_, events)| events).map(|event| event.event_id.unwrap()).collect();
        assert_eq!(ids[0], id);
        assert_ne!(ids[1], ids[2]);
        assert!(ids[1..].iter().all(|id| id.get_version_num() == 4));

        let mut sent = sendable.to_wire();
        let given = sent.writes.iter_mut().flat_map(|write| &mut write.events).skip(1);
        given.for_each(|event| event.id.clear());
        assert_eq!(sent, append_to_wire(&append));
    }

    #[test]
    fn a_time_of_ones_own_is_refused_and_not_lost_on_the_way() {
        let append = Append::new().events("a", vec![ProposedEvent::new("A", "1")]).recorded_at(7);
        assert!(matches!(Sendable::new(append), Err(Error::Unsupported { .. })));
    }
}
