//! Appends and their answers.

use eventfold_store::{Append, Condition, ExpectedVersion, ProposedEvent, RecordedEvent, Uuid};

use super::event::{
    id_from_wire, proposed_from_wire, proposed_to_wire, stream_from_wire, stream_to_wire, uuid_to_wire,
};
use super::malformed::{Malformed, in_element};
use super::query::{query_from_wire, query_to_wire};
use crate::v1;

/// An append, be it valid or not.
pub fn append_to_wire(append: &Append) -> v1::AppendRequest {
    v1::AppendRequest {
        conditions: append.conditions().iter().map(condition_to_wire).collect(),
        writes: append
            .runs()
            .map(|(stream, events)| v1::StreamEvents {
                stream: Some(stream_to_wire(stream)),
                events: events.iter().map(proposed_to_wire).collect(),
            })
            .collect(),
    }
}

/// An append. Whether it keeps the limits is still to be checked.
///
/// # Errors
///
/// [`Malformed`] where something is missing that has to be there, or is not what it should be.
pub fn append_from_wire(request: v1::AppendRequest) -> Result<Append, Malformed> {
    let mut append = Append::new();
    for (index, condition) in request.conditions.into_iter().enumerate() {
        append = with_condition(append, condition).map_err(in_element("conditions", index))?;
    }
    for (index, write) in request.writes.into_iter().enumerate() {
        append = with_write(append, write).map_err(in_element("writes", index))?;
    }
    Ok(append)
}

fn with_write(append: Append, write: v1::StreamEvents) -> Result<Append, Malformed> {
    let stream = stream_from_wire(write.stream, "stream")?;
    let event = |(index, event)| proposed_from_wire(event).map_err(in_element("events", index));
    let events: Vec<ProposedEvent> = write.events.into_iter().enumerate().map(event).collect::<Result<_, _>>()?;
    Ok(append.events(stream, events))
}

fn condition_to_wire(condition: &Condition) -> v1::Condition {
    use v1::condition::Condition as Wire;
    let condition = match condition {
        Condition::Version { stream, expected } => Wire::Version(v1::condition::StreamVersion {
            stream: Some(stream_to_wire(stream)),
            expected: Some(expected_to_wire(*expected)),
        }),
        Condition::NoMatch { query, after } => {
            Wire::NoMatch(v1::condition::NoMatch { query: Some(query_to_wire(query)), after: *after })
        }
    };
    v1::Condition { condition: Some(condition) }
}

fn with_condition(append: Append, condition: v1::Condition) -> Result<Append, Malformed> {
    use v1::condition::Condition as Wire;
    match condition.condition {
        None => Err(Malformed::new("", "is none that this server knows")),
        Some(Wire::Version(version)) => {
            let stream = stream_from_wire(version.stream, "stream").map_err(|it| it.within("version"))?;
            let expected = expected_from_wire(version.expected).map_err(|it| it.within("version"))?;
            Ok(append.expect(stream, expected))
        }
        Some(Wire::NoMatch(no_match)) => {
            let query = query_from_wire(no_match.query, "query").map_err(|it| it.within("no_match"))?;
            Ok(append.no_match(query, no_match.after))
        }
    }
}

pub(super) fn expected_to_wire(expected: ExpectedVersion) -> v1::ExpectedVersion {
    use v1::expected_version::{Any, Exists, Expected, NoStream};
    let expected = match expected {
        ExpectedVersion::Any => Expected::Any(Any {}),
        ExpectedVersion::NoStream => Expected::NoStream(NoStream {}),
        ExpectedVersion::Exists => Expected::Exists(Exists {}),
        ExpectedVersion::Exact(version) => Expected::Exact(version),
    };
    v1::ExpectedVersion { expected: Some(expected) }
}

pub(super) fn expected_from_wire(expected: Option<v1::ExpectedVersion>) -> Result<ExpectedVersion, Malformed> {
    use v1::expected_version::Expected;
    Ok(match expected.and_then(|expected| expected.expected).ok_or_else(|| Malformed::missing("expected"))? {
        Expected::Any(_) => ExpectedVersion::Any,
        Expected::NoStream(_) => ExpectedVersion::NoStream,
        Expected::Exists(_) => ExpectedVersion::Exists,
        Expected::Exact(version) => ExpectedVersion::Exact(version),
    })
}

/// What an append is answered with: where these events stand, which are all of it. `runs` are the numbers of events of its runs
/// that have any, and `with_ids` says whether their ids are to be told.
///
/// # Panics
///
/// If there are no events, or fewer than the runs have.
pub fn response_to_wire(
    events: &[RecordedEvent],
    runs: impl Iterator<Item = usize>,
    with_ids: bool,
) -> v1::AppendResponse {
    let first = events.first().expect("an append has an event");
    let mut rest = events;
    let written = runs.map(|count| {
        let (run, after) = rest.split_at(count);
        rest = after;
        v1::append_response::Written { stream_id: uuid_to_wire(run[0].stream_id), first_version: run[0].stream_version }
    });
    v1::AppendResponse {
        first_position: first.global_position,
        recorded_at: first.recorded_at,
        written: written.collect(),
        event_ids: if with_ids {
            events.iter().map(|event| uuid_to_wire(event.event_id)).collect()
        } else {
            Vec::new()
        },
    }
}

/// The events of an append as they were recorded, from what was sent and what was answered.
///
/// # Errors
///
/// [`Malformed`] where the answer does not fit what was sent.
pub fn recorded_from_wire(append: &Append, response: &v1::AppendResponse) -> Result<Vec<RecordedEvent>, Malformed> {
    let runs = append.runs().filter(|(_, events)| !events.is_empty());
    let mut written = response.written.iter();
    let mut ids = response.event_ids.iter();
    let mut recorded = Vec::new();
    for (_, events) in runs {
        let run = written.next().ok_or_else(|| Malformed::missing("written"))?;
        let stream_id = id_from_wire(&run.stream_id, "stream_id").map_err(|it| it.within("written"))?;
        for (place, event) in (0..).zip(events) {
            let told = ids.next().map(|id| id_from_wire(id, "event_ids")).transpose()?;
            let event_id: Option<Uuid> = event.event_id.or(told);
            recorded.push(RecordedEvent {
                event_id: event_id.ok_or_else(|| Malformed::missing("event_ids"))?,
                stream_id,
                stream_version: run.first_version.saturating_add(place),
                global_position: response.first_position.saturating_add(recorded.len() as u64),
                recorded_at: response.recorded_at,
                event_type: event.event_type.clone(),
                tags: event.tags.clone(),
                metadata: event.metadata.clone(),
                payload: event.payload.clone(),
            });
        }
    }
    Ok(recorded)
}
