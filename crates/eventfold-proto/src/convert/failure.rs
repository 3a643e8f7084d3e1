//! What failed, and what a caller can do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventfold_store::{
    Error, ErrorKind, ExpectedVersion, FailedCondition, IoError, Operation, Poison, ReadError, StreamName, Uuid,
};
use prost::Message;
use tonic::{Code, Status};

use super::append::{expected_from_wire, expected_to_wire};
use super::event::{id_from_wire, uuid_to_wire};
use super::malformed::Malformed;
use crate::v1::failure::Cause;
use crate::v1::{self, Advice};

/// For how long a client that was refused for lack of room waits before it tries again.
const RETRY_SOON: Duration = Duration::from_millis(50);

/// For how long it waits where somebody has to do something first: free space, start a server again.
const RETRY_LATER: Duration = Duration::from_secs(1);

/// A call that failed: the status, and the facts among its details.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// The status' code.
    pub code: Code,
    /// A sentence for people.
    pub message: String,
    /// The facts.
    pub failure: Box<v1::Failure>,
}

impl Failed {
    /// One with this cause.
    pub fn new(code: Code, advice: Advice, message: impl Into<String>, cause: Option<Cause>) -> Self {
        let failure = v1::Failure { advice: advice.into(), retry_after: None, cause };
        Self { code, message: message.into(), failure: Box::new(failure) }
    }

    /// With the advice to try again after so long.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.failure.retry_after = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// What a status carries; `None` where it has no facts, as that of another server.
    pub fn of_status(status: &Status) -> Option<Self> {
        let details = google::Status::decode(status.details()).ok()?;
        let any = details.details.iter().find(|any| any.type_url == FAILURE_URL)?;
        let failure = v1::Failure::decode(any.value.as_slice()).ok()?;
        Some(Self { code: status.code(), message: status.message().to_owned(), failure: Box::new(failure) })
    }

    /// What an answer in a session carries.
    pub fn of_refused(refused: v1::append_session_response::Refused) -> Self {
        let failure = Box::new(refused.failure.unwrap_or_default());
        Self { code: Code::from_i32(refused.code), message: refused.message, failure }
    }

    /// As an answer in a session.
    pub fn into_refused(self) -> v1::append_session_response::Refused {
        v1::append_session_response::Refused {
            code: self.code.into(),
            message: self.message,
            failure: Some(*self.failure),
        }
    }

    /// The store's error, as it was where the store is; `None` where it was none of the store's, or one whose facts only the
    /// server has.
    pub fn store_error(&self) -> Option<Error> {
        store_error(self.failure.cause.as_ref()?, self.failure.advice(), &self.message).ok().flatten()
    }
}

impl From<Failed> for Status {
    fn from(failed: Failed) -> Self {
        let mut details = vec![google::Any { type_url: FAILURE_URL.to_owned(), value: failed.failure.encode_to_vec() }];
        if let Some(millis) = failed.failure.retry_after {
            let wait = google::Duration {
                seconds: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
                nanos: i32::try_from(millis % 1000 * 1_000_000).unwrap_or(0),
            };
            let retry = google::RetryInfo { retry_delay: Some(wait) };
            details.push(google::Any { type_url: RETRY_URL.to_owned(), value: retry.encode_to_vec() });
        }
        let status = google::Status { code: failed.code.into(), message: failed.message.clone(), details };
        Self::with_details(failed.code, failed.message, Bytes::from(status.encode_to_vec()))
    }
}

impl From<Malformed> for Failed {
    fn from(malformed: Malformed) -> Self {
        let cause = Cause::Invalid(v1::Invalid { field: malformed.field().to_owned() });
        Self::new(Code::InvalidArgument, Advice::InvalidRequest, malformed.to_string(), Some(cause))
    }
}

const FAILURE_URL: &str = "type.googleapis.com/eventfold.v1.Failure";
const RETRY_URL: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// The few messages of Google's that a status' details are made of.
mod google {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Status {
        #[prost(int32, tag = "1")]
        pub(super) code: i32,
        #[prost(string, tag = "2")]
        pub(super) message: String,
        #[prost(message, repeated, tag = "3")]
        pub(super) details: Vec<Any>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Any {
        #[prost(string, tag = "1")]
        pub(super) type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) value: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        pub(super) retry_delay: Option<Duration>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Duration {
        #[prost(int64, tag = "1")]
        pub(super) seconds: i64,
        #[prost(int32, tag = "2")]
        pub(super) nanos: i32,
    }
}

/// What the caller is told of an error of the store.
pub fn failure_of(error: &Error) -> Failed {
    let advice = match error {
        // Whoever looks after the server opens the store again; the caller only has to wait for that.
        Error::Closed => Advice::Retry,
        _ => advice_of(error.kind()),
    };
    let failed = Failed::new(code_of(error), advice, error.to_string(), cause_of(error));
    match error {
        Error::Backpressure { .. } | Error::Busy { .. } => failed.retry_after(RETRY_SOON),
        Error::StorageFull { .. } | Error::Closed => failed.retry_after(RETRY_LATER),
        _ => failed,
    }
}

fn advice_of(kind: ErrorKind) -> Advice {
    match kind {
        ErrorKind::Conflict => Advice::Conflict,
        ErrorKind::InvalidRequest => Advice::InvalidRequest,
        ErrorKind::NotFound => Advice::NotFound,
        ErrorKind::Retry => Advice::Retry,
        ErrorKind::Unknown => Advice::Unknown,
        ErrorKind::Reopen => Advice::Reopen,
        _ => Advice::Operator,
    }
}

fn code_of(error: &Error) -> Code {
    match error {
        Error::WrongExpectedVersion { .. } | Error::QueryMatched { .. } | Error::NotReached => Code::Aborted,
        Error::DuplicateEventId { .. } => Code::AlreadyExists,
        Error::StreamNotFound { .. } => Code::NotFound,
        Error::StreamNameMismatch { .. } | Error::ReadOnly | Error::Poisoned { .. } => Code::FailedPrecondition,
        Error::Backpressure { .. } | Error::StorageFull { .. } => Code::ResourceExhausted,
        Error::Busy { .. } | Error::Closed => Code::Unavailable,
        Error::OutcomeUnknown { cause: None } => Code::DeadlineExceeded,
        Error::OutcomeUnknown { cause: Some(_) } => Code::Unknown,
        Error::Read(error) if !error.is_damage() => Code::Internal,
        Error::Corrupt(_) | Error::Read(_) => Code::DataLoss,
        _ if error.kind() == ErrorKind::InvalidRequest => Code::InvalidArgument,
        _ if error.kind() == ErrorKind::Retry => Code::ResourceExhausted,
        _ => Code::Internal,
    }
}

fn cause_of(error: &Error) -> Option<Cause> {
    let conditions = |failed: &[FailedCondition]| failed.iter().map(condition_to_wire).collect();
    Some(match error {
        Error::WrongExpectedVersion { failed, .. } => {
            Cause::WrongExpectedVersion(v1::WrongExpectedVersion { failed: conditions(failed) })
        }
        Error::QueryMatched { failed, .. } => Cause::QueryMatched(v1::QueryMatched { failed: conditions(failed) }),
        Error::DuplicateEventId { event_id, position } => {
            Cause::DuplicateEventId(v1::DuplicateEventId { event_id: uuid_to_wire(*event_id), position: *position })
        }
        Error::StreamNotFound { stream } => Cause::StreamNotFound(v1::StreamNotFound { stream: stream.clone() }),
        Error::StreamNameMismatch { stream_id, asked, stored } => Cause::StreamNameMismatch(v1::StreamNameMismatch {
            stream_id: uuid_to_wire(*stream_id),
            asked: asked.to_string(),
            stored: stored.to_string(),
        }),
        Error::Backpressure { waiting, bytes } => {
            Cause::Backpressure(v1::Backpressure { waiting: *waiting as u64, bytes: *bytes as u64 })
        }
        Error::Busy { rounds } => Cause::Busy(v1::Busy { rounds: *rounds }),
        Error::StorageFull { source } => Cause::StorageFull(v1::StorageFull { what: source.to_string() }),
        Error::OutcomeUnknown { cause } => {
            Cause::OutcomeUnknown(v1::OutcomeUnknown { poison: cause.as_ref().map(Poison::to_string) })
        }
        Error::Poisoned { cause } => Cause::Poisoned(v1::Poisoned { poison: cause.to_string() }),
        Error::Closed => Cause::Closed(v1::Closed {}),
        Error::ReadOnly => Cause::ReadOnly(v1::ReadOnly {}),
        Error::Read(error) => Cause::Unreadable(v1::Unreadable {
            file: error.file().map(str::to_owned),
            offset: error.offset(),
            is_damage: error.is_damage(),
        }),
        _ if error.kind() == ErrorKind::InvalidRequest => Cause::Invalid(v1::Invalid::default()),
        _ => return None,
    })
}

fn condition_to_wire(failed: &FailedCondition) -> v1::FailedCondition {
    use v1::failed_condition::{Fact, Version};
    let small = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    match failed {
        FailedCondition::Version { index, stream_id, name, expected, actual } => v1::FailedCondition {
            index: small(*index),
            fact: Some(Fact::Version(Version {
                stream_id: uuid_to_wire(*stream_id),
                name: name.as_ref().map(StreamName::to_string),
                expected: Some(expected_to_wire(*expected)),
                actual: *actual,
            })),
        },
        FailedCondition::Match { index, position } => {
            v1::FailedCondition { index: small(*index), fact: Some(Fact::Matched(*position)) }
        }
        // A kind that this version does not know has no facts to tell.
        _ => v1::FailedCondition::default(),
    }
}

fn condition_from_wire(failed: &v1::FailedCondition) -> Result<FailedCondition, Malformed> {
    let index = usize::try_from(failed.index).unwrap_or(usize::MAX);
    match failed.fact.as_ref().ok_or_else(|| Malformed::missing("fact"))? {
        v1::failed_condition::Fact::Matched(position) => Ok(FailedCondition::Match { index, position: *position }),
        v1::failed_condition::Fact::Version(version) => Ok(FailedCondition::Version {
            index,
            stream_id: id_from_wire(&version.stream_id, "stream_id")?,
            name: version.name.as_deref().map(name_from_wire).transpose()?,
            expected: expected_from_wire(version.expected)?,
            actual: version.actual,
        }),
    }
}

fn name_from_wire(name: &str) -> Result<StreamName, Malformed> {
    StreamName::new(name).map_err(|_| Malformed::new("name", "is no stream's name"))
}

fn store_error(cause: &Cause, advice: Advice, message: &str) -> Result<Option<Error>, Malformed> {
    let conditions =
        |failed: &[v1::FailedCondition]| failed.iter().map(condition_from_wire).collect::<Result<Vec<_>, _>>();
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(Some(match cause {
        Cause::WrongExpectedVersion(wrong) => {
            let failed = conditions(&wrong.failed)?;
            let first: Option<(Uuid, ExpectedVersion, Option<u64>)> = match failed.first() {
                Some(FailedCondition::Version { stream_id, expected, actual, .. }) => {
                    Some((*stream_id, *expected, *actual))
                }
                _ => None,
            };
            let (stream_id, expected, actual) = first.ok_or_else(|| Malformed::missing("failed"))?;
            Error::WrongExpectedVersion { stream_id, expected, actual, failed }
        }
        Cause::QueryMatched(matched) => {
            let failed = conditions(&matched.failed)?;
            let Some(FailedCondition::Match { index, position }) = failed.first().cloned() else {
                return Err(Malformed::missing("failed"));
            };
            Error::QueryMatched { index, position, failed }
        }
        Cause::DuplicateEventId(duplicate) => Error::DuplicateEventId {
            event_id: id_from_wire(&duplicate.event_id, "event_id")?,
            position: duplicate.position,
        },
        Cause::StreamNotFound(missing) => Error::StreamNotFound { stream: missing.stream.clone() },
        Cause::StreamNameMismatch(mismatch) => Error::StreamNameMismatch {
            stream_id: id_from_wire(&mismatch.stream_id, "stream_id")?,
            asked: name_from_wire(&mismatch.asked)?,
            stored: name_from_wire(&mismatch.stored)?,
        },
        Cause::Backpressure(full) => Error::Backpressure { waiting: number(full.waiting), bytes: number(full.bytes) },
        Cause::Busy(busy) => Error::Busy { rounds: busy.rounds },
        Cause::StorageFull(full) => {
            let source = std::io::Error::new(std::io::ErrorKind::StorageFull, full.what.clone());
            Error::StorageFull { source: Arc::new(IoError::new(Operation::Write, source)) }
        }
        Cause::OutcomeUnknown(unknown) => {
            Error::OutcomeUnknown { cause: unknown.poison.clone().map(|what| Poison::reported(what, false)) }
        }
        Cause::Poisoned(poisoned) => {
            Error::Poisoned { cause: Poison::reported(poisoned.poison.clone(), advice == Advice::Operator) }
        }
        Cause::Closed(_) => Error::Closed,
        Cause::ReadOnly(_) => Error::ReadOnly,
        Cause::Unreadable(unreadable) => Error::Read(ReadError::Reported {
            file: unreadable.file.clone(),
            offset: unreadable.offset,
            is_damage: unreadable.is_damage,
            kind: if advice == Advice::Retry { ErrorKind::Retry } else { ErrorKind::Operator },
            what: message.to_owned(),
        }),
        Cause::Invalid(_) | Cause::LimitExceeded(_) | Cause::Unauthenticated(_) | Cause::Forbidden(_) => {
            return Ok(None);
        }
    }))
}
