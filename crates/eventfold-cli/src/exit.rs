//! How the command ends.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use eventfold_client::{ConfigError as ClientConfigError, Error as ClientError};
use eventfold_db::{Error, ErrorKind};

use crate::config::ConfigError;
use crate::output::{note, shown};

/// Why a command has failed: the sentence that is shown, and the number that a script sees.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

/// What the numbers mean. 0 is that all went well, 2 that the command line can't be understood.
pub(crate) mod code {
    pub(crate) const DONE: u8 = 0;
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const CONFLICT: u8 = 3;
    pub(crate) const NOT_FOUND: u8 = 4;
    pub(crate) const RETRY: u8 = 5;
    pub(crate) const UNKNOWN: u8 = 6;
    pub(crate) const DAMAGED: u8 = 7;
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// An answer could not be shown. Whoever has read enough of it has closed the pipe, and is told nothing.
    #[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` has")]
    pub(crate) fn of_output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(code::DONE, "");
        }
        Self::new(code::FAILED, format!("could not write the answer: {error}"))
    }

    /// The answer has told it.
    pub(crate) fn silent(code: u8) -> Self {
        Self::new(code, "")
    }

    /// The same, with what it is about.
    pub(crate) fn with_context(mut self, context: &impl Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Whether it is for what is damaged.
    pub(crate) fn is_of_damage(&self) -> bool {
        self.code == code::DAMAGED
    }

    /// Shows it.
    pub(crate) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            note(&format!("eventfold: {}", self.message));
        }
        ExitCode::from(self.code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(code::USAGE, error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(code_of(error.kind(), Some(&error)), in_one_line(&error))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let told = in_one_line(&error);
        match &error {
            ClientError::Config(ClientConfigError::NoRoots { .. }) => {
                Self::new(code::USAGE, format!("{told}: --ca names a file with them"))
            }
            ClientError::Config(_) => Self::new(code::USAGE, told),
            ClientError::Handshake { .. } => {
                let names = "--ca names the certificates to trust, --cert and --key the client's own";
                Self::new(code::USAGE, format!("{told}. {names}"))
            }
            error => Self::new(code_of(error.kind(), error.store_error()), told),
        }
    }
}

/// What a store or a server says may have been chosen by somebody else, who is not to make it look like more than one message.
fn in_one_line(error: &impl Display) -> String {
    shown(&error.to_string())
}

fn code_of(kind: ErrorKind, error: Option<&Error>) -> u8 {
    match kind {
        ErrorKind::Conflict => code::CONFLICT,
        ErrorKind::InvalidRequest => code::USAGE,
        ErrorKind::NotFound => code::NOT_FOUND,
        ErrorKind::Retry => code::RETRY,
        ErrorKind::Unknown => code::UNKNOWN,
        _ => match error {
            Some(Error::Corrupt(_)) => code::DAMAGED,
            Some(Error::Read(read)) if read.is_damage() => code::DAMAGED,
            _ => code::FAILED,
        },
    }
}
