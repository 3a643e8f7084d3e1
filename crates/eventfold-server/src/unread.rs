//! What is said of a message that could not be read.

use eventfold_proto::convert::Failed;
use eventfold_proto::v1::failure::Cause;
use eventfold_proto::v1::{Advice, Invalid, LimitExceeded};
use tonic::{Code, Status};

use crate::options::Limits;

/// The status with its facts, where the library has made it, which has none.
pub(crate) fn with_facts(status: Status, limits: &Limits) -> Status {
    let is_of_the_library =
        matches!(status.code(), Code::Internal | Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented)
            && Failed::of_status(&status).is_none();
    if !is_of_the_library {
        return status;
    }
    let failed = match status.code() {
        Code::OutOfRange => too_large(limits.message_bytes),
        Code::Unimplemented => invalid(Code::Unimplemented, status.message()),
        _ => invalid(Code::InvalidArgument, status.message()),
    };
    let mut told = Status::from(failed);
    // Which encodings would be taken, where it is that.
    *told.metadata_mut() = status.metadata().clone();
    told
}

/// There is no such call.
pub(crate) fn no_call(path: &str) -> Failed {
    invalid(Code::Unimplemented, &format!("there is no {path} here"))
}

fn invalid(code: Code, message: &str) -> Failed {
    let message = if message.is_empty() { "there is no such call" } else { message };
    Failed::new(code, Advice::InvalidRequest, message, Some(Cause::Invalid(Invalid::default())))
}

/// It was not looked at.
fn too_large(max: u32) -> Failed {
    let message = format!("the message is larger than this server takes: limits.message_bytes is {max}");
    let cause = LimitExceeded { limit: "limits.message_bytes".to_owned(), value: None, max: u64::from(max) };
    Failed::new(Code::ResourceExhausted, Advice::InvalidRequest, message, Some(Cause::LimitExceeded(cause)))
}
