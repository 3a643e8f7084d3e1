//! What a failed call says, and what is to be done about it.

use std::error::Error as StdError;
use std::fmt::Write;
use std::time::Duration;

use eventfold_proto::convert::Failed;
use eventfold_proto::v1::{Advice, failure::Cause};
use eventfold_store::{Error as StoreError, ErrorKind};
use tonic::{Code, Status, TimeoutExpired, transport};

use crate::error::Error;
use crate::tls;

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) error: Error,
    /// How long the server asks to wait before it is tried again.
    pub(crate) retry_after: Option<Duration>,
    /// Who was asked has refused it; otherwise it may have been done.
    pub(crate) is_refused: bool,
}

impl Trouble {
    /// What a status says that came from this server.
    pub(crate) fn of_status(status: &Status, endpoint: &str) -> Self {
        if let Some(failed) = Failed::of_status(status) {
            return Self::of_failed(failed, endpoint);
        }
        let error = error_of(status, endpoint);
        let is_refused = is_refusal(status) || matches!(error, Error::Handshake { .. });
        Self { error, retry_after: None, is_refused }
    }

    /// What the server's facts say.
    pub(crate) fn of_failed(failed: Failed, endpoint: &str) -> Self {
        let retry_after = failed.failure.retry_after.map(Duration::from_millis);
        let store_error = failed.store_error();
        let Failed { code, message, failure } = failed;
        let kind = kind_of(failure.advice(), code);
        let error = match (store_error, failure.cause) {
            // Somebody opens it again; the caller only has to wait for that.
            (Some(StoreError::Closed), _) => Error::Unreachable { endpoint: endpoint.to_owned(), what: message },
            (Some(error), _) => Error::Store(error),
            (None, Some(Cause::LimitExceeded(limit))) => {
                Error::LimitExceeded { limit: limit.limit, value: limit.value, max: limit.max, kind, message }
            }
            (None, Some(Cause::Unauthenticated(_))) => Error::Unauthenticated { message },
            (None, Some(Cause::Forbidden(it))) => Error::Forbidden { role: it.role, stream: it.stream, message },
            (None, _) => Error::Server { code: code.into(), kind, message },
        };
        Self { error, retry_after, is_refused: true }
    }

    pub(crate) fn deadline() -> Self {
        Self { error: Error::DeadlineExceeded, retry_after: None, is_refused: false }
    }

    pub(crate) fn broken(endpoint: &str, what: &str) -> Self {
        let error = Error::Unreachable { endpoint: endpoint.to_owned(), what: what.to_owned() };
        Self { error, retry_after: None, is_refused: false }
    }

    /// Whether an append that was sent may stand after this.
    pub(crate) fn leaves_open(&self) -> bool {
        !self.is_refused || self.error.kind() == ErrorKind::Unknown
    }

    /// Whether the same may go well the next time, where asking twice does no harm.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self.error.kind(), ErrorKind::Retry | ErrorKind::Unknown)
            && !matches!(self.error, Error::Protocol { .. })
    }
}

fn kind_of(advice: Advice, code: Code) -> ErrorKind {
    match advice {
        Advice::Conflict => ErrorKind::Conflict,
        Advice::InvalidRequest => ErrorKind::InvalidRequest,
        Advice::NotFound => ErrorKind::NotFound,
        Advice::Retry => ErrorKind::Retry,
        Advice::Unknown => ErrorKind::Unknown,
        Advice::Reopen => ErrorKind::Reopen,
        Advice::Operator => ErrorKind::Operator,
        Advice::Forbidden => ErrorKind::Forbidden,
        Advice::Unspecified => kind_of_code(code),
    }
}

fn kind_of_code(code: Code) -> ErrorKind {
    match code {
        Code::Aborted => ErrorKind::Conflict,
        Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition | Code::OutOfRange => {
            ErrorKind::InvalidRequest
        }
        Code::NotFound => ErrorKind::NotFound,
        Code::Unavailable | Code::ResourceExhausted | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => {
            ErrorKind::Retry
        }
        Code::Unauthenticated | Code::PermissionDenied => ErrorKind::Forbidden,
        _ => ErrorKind::Operator,
    }
}

/// Whether a status without facts says that nothing was done. The library makes up others by itself, where an answer that came is
/// not what it can take.
fn is_refusal(status: &Status) -> bool {
    use Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unauthenticated};
    let code = status.code();
    let refusals = [AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unauthenticated];
    status.source().is_none() && refusals.contains(&code)
}

/// What a status without facts says: one that was made here, of a broken connection, or by who stands in between.
fn error_of(status: &Status, endpoint: &str) -> Error {
    let (code, message) = (status.code(), status.message().to_owned());
    if causes(status).any(<dyn StdError>::is::<TimeoutExpired>) {
        return Error::DeadlineExceeded;
    }
    let endpoint_of = || endpoint.to_owned();
    if let Some(what) = causes(status).find_map(tls::in_the_way) {
        return Error::Handshake { endpoint: endpoint_of(), what };
    }
    if status.source().is_some() {
        return Error::Unreachable { endpoint: endpoint_of(), what: told_by(status) };
    }
    match (code, kind_of_code(code)) {
        (Code::Unauthenticated, _) => Error::Unauthenticated { message },
        (Code::PermissionDenied, _) => Error::Forbidden { role: String::new(), stream: None, message },
        (_, ErrorKind::Retry) => Error::Unreachable { endpoint: endpoint_of(), what: message },
        (_, kind) => Error::Server { code: code.into(), kind, message },
    }
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(status.source(), |&error| error.source())
}

/// The status' causes in a sentence, without what they repeat of each other.
fn told_by(status: &Status) -> String {
    let mut told = String::new();
    // That it is about the transport goes without saying.
    for cause in causes(status).filter(|cause| !cause.is::<transport::Error>()) {
        let cause = cause.to_string();
        if !told.ends_with(&cause) {
            let _ = write!(told, "{}{cause}", if told.is_empty() { "" } else { ": " });
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use eventfold_proto::convert::failure_of;
    use eventfold_proto::v1::{Forbidden, LimitExceeded};
    use eventfold_store::Poison;

    use super::*;

    fn told(failed: Failed) -> Trouble {
        let trouble = Trouble::of_status(&Status::from(failed), "http://there");
        assert!(trouble.is_refused);
        trouble
    }

    #[test]
    fn what_only_a_server_says_has_its_facts() {
        let cause = Cause::Forbidden(Forbidden { role: "append".to_owned(), stream: Some("a".to_owned()) });
        let forbidden = told(Failed::new(Code::PermissionDenied, Advice::Forbidden, "no", Some(cause)));
        assert_eq!(forbidden.error.kind(), ErrorKind::Forbidden);
        assert!(matches!(&forbidden.error, Error::Forbidden { role, stream: Some(_), .. } if role == "append"));
        assert!(!forbidden.may_pass());

        let limit = || Cause::LimitExceeded(LimitExceeded { limit: "limits.calls".to_owned(), value: Some(2), max: 1 });
        for (advice, kind) in [(Advice::Retry, ErrorKind::Retry), (Advice::InvalidRequest, ErrorKind::InvalidRequest)] {
            let failed = Failed::new(Code::ResourceExhausted, advice, "too much", Some(limit()));
            let trouble = told(failed.retry_after(Duration::from_millis(200)));
            assert!(matches!(&trouble.error, Error::LimitExceeded { value: Some(2), max: 1, .. }));
            assert_eq!((trouble.error.kind(), trouble.may_pass()), (kind, kind == ErrorKind::Retry));
            assert_eq!(trouble.retry_after, Some(Duration::from_millis(200)));
        }

        let damaged = told(Failed::new(Code::DataLoss, Advice::Operator, "a frame is damaged", None));
        assert_eq!(damaged.error.kind(), ErrorKind::Operator);
        assert_eq!(damaged.error.to_string(), "the server failed: a frame is damaged");
    }

    #[test]
    fn a_store_that_is_closed_elsewhere_is_one_that_will_be_back() {
        let trouble = told(failure_of(&StoreError::Closed));
        assert!(matches!(&trouble.error, Error::Unreachable { endpoint, .. } if endpoint == "http://there"));
        assert!(trouble.may_pass() && !trouble.leaves_open());
    }

    #[test]
    fn after_a_loss_only_who_has_looked_at_the_log_knows_that_nothing_stands() {
        let after = |error: StoreError| told(failure_of(&error)).error.after_loss();
        let duplicate = StoreError::DuplicateEventId { event_id: eventfold_store::NO_STREAM, position: 3 };
        assert!(matches!(after(duplicate), Error::Store(StoreError::DuplicateEventId { position: 3, .. })));
        for busy in [StoreError::Busy { rounds: 8 }, StoreError::Closed, StoreError::OutcomeUnknown { cause: None }] {
            assert!(matches!(after(busy), Error::Store(StoreError::OutcomeUnknown { cause: None })));
        }
        let poisoned = StoreError::Poisoned { cause: Poison::reported("the disk failed", false) };
        assert!(matches!(after(poisoned), Error::Store(StoreError::OutcomeUnknown { cause: Some(_) })));
        let forbidden = Error::Unauthenticated { message: String::new() };
        assert!(matches!(forbidden.after_loss(), Error::Store(StoreError::OutcomeUnknown { cause: None })));
    }
}
