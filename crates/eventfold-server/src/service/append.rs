//! Appending.

use eventfold_db::{Append, RecordedEvent};
use eventfold_proto::convert::{Failed, append_from_wire, failure_of, response_to_wire};
use eventfold_proto::v1;
use eventfold_proto::v1::failure::Cause;
use eventfold_proto::v1::{Advice, LimitExceeded};
use tonic::Code;

use super::{Call, Service};
use crate::options::Limits;

/// An append as it came, and what its answer needs of it.
pub(super) struct Asked {
    pub(super) append: Append,
    pub(super) shape: Shape,
}

/// What an append's answer needs of it besides its events.
#[derive(Debug)]
pub(super) struct Shape {
    /// How many events each run has that has any.
    runs: Vec<usize>,
    /// Some event has no id.
    lacks_ids: bool,
}

impl Shape {
    pub(super) fn answer(&self, events: &[RecordedEvent]) -> v1::AppendResponse {
        response_to_wire(events, self.runs.iter().copied(), self.lacks_ids)
    }
}

impl Asked {
    /// Takes an append from the wire, within what this server takes.
    pub(super) fn of(request: v1::AppendRequest, limits: &Limits) -> Result<Self, Failed> {
        let append = append_from_wire(request)?;
        let (mut runs, mut lacks_ids, mut size) = (Vec::with_capacity(1), false, 0);
        for (_, events) in append.runs().filter(|(_, events)| !events.is_empty()) {
            runs.push(events.len());
            for event in events {
                lacks_ids |= event.event_id.is_none();
                let bytes = event.size() as u64;
                within("limits.event_bytes", bytes, limits.event_bytes)?;
                size += bytes;
            }
        }
        within("limits.append_bytes", size, limits.append_bytes)?;
        Ok(Self { append, shape: Shape { runs, lacks_ids } })
    }
}

fn within(limit: &str, value: u64, max: u32) -> Result<(), Failed> {
    if value <= u64::from(max) {
        return Ok(());
    }
    let message = format!("{value} bytes are more than this server takes: {limit} is {max}");
    let cause =
        Cause::LimitExceeded(LimitExceeded { limit: limit.to_owned(), value: Some(value), max: u64::from(max) });
    Err(Failed::new(Code::ResourceExhausted, Advice::InvalidRequest, message, Some(cause)))
}

impl Service {
    pub(super) async fn append_one(
        &self,
        call: &Call,
        request: v1::AppendRequest,
    ) -> Result<v1::AppendResponse, Failed> {
        let Asked { append, shape } = Asked::of(request, &self.limits)?;
        call.access.check_append(&append, &self.reads).await?;
        let events = self.writer.append_request(append).await.map_err(|error| failure_of(&error))?;
        Ok(shape.answer(&events))
    }
}
