//! How long a call may take.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use eventfold_proto::convert::{Failed, failure_of};
use eventfold_proto::v1::Advice;
use http::{HeaderMap, Response};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::clock;

/// The answer to a call, or what is `late` where it does not come in time.
pub(crate) async fn within(
    late: impl FnOnce() -> Failed,
    deadline: Option<Instant>,
    answer: impl Future<Output = Result<Response<Body>, Infallible>>,
) -> Response<Body> {
    let Some(deadline) = deadline else { return answer.await.unwrap_or_else(|never| match never {}) };
    match tokio::time::timeout_at(deadline.into(), answer).await {
        Ok(Ok(response)) => response,
        Err(_) => Status::from(late()).into_http(),
    }
}

/// What a call is told that was not answered in time.
pub(crate) fn passed(is_append: bool) -> Failed {
    if is_append {
        return failure_of(&eventfold_db::Error::OutcomeUnknown { cause: None });
    }
    Failed::new(Code::DeadlineExceeded, Advice::Retry, "there was no answer in time", None)
}

/// When a call is to end: where it says so, and after what the server allows where that is sooner.
pub(crate) fn of(headers: &HeaderMap, allowed: Option<Duration>) -> Option<Instant> {
    let asked = headers.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse);
    clock::now().checked_add(asked.into_iter().chain(allowed).min()?)
}

/// At most eight digits and a unit, as gRPC has it.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_hours(number),
        "M" => Duration::from_mins(number),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        assert_eq!(parse("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("99999999H"), Some(Duration::from_hours(99_999_999)));
        for wrong in ["", "m", "123456789S", "-1S", "1.5S", "5x", "5", "\u{e9}"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
