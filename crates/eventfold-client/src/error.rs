//! What can go wrong, wherever the store is.

use eventfold_store::{Error as StoreError, ErrorKind};

use crate::builder::ConfigError;

/// Why a store did not do what it was asked.
///
/// What a store of the program's own would have said is [`Store`](Self::Store), the same typed error wherever the store is. The
/// others are what only a remote one has. [`kind`](Self::kind) says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the store says.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client can't be set up so.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server could not be reached, is shutting down, or the connection to it broke. Of an append nothing was done:
    /// where that is not known, it is [`StoreError::OutcomeUnknown`].
    #[error("{endpoint} is out of reach: {what}")]
    Unreachable {
        /// The server.
        endpoint: String,
        /// What the network, or the server, says.
        what: String,
    },
    /// No connection to the server comes about: one of the two does not trust the other, or it does not speak TLS. Nothing was
    /// done, and asking again does not help before somebody has put it right. A subscription that had begun waits for that.
    #[error("no connection to {endpoint} comes about: {what}")]
    Handshake {
        /// The server.
        endpoint: String,
        /// What is in the way.
        what: String,
    },
    /// No answer came before the client's deadline. Of an append nothing was sent: where that is not known, it is
    /// [`StoreError::OutcomeUnknown`].
    #[error("no answer came before the deadline")]
    DeadlineExceeded,
    /// The server does not know who asks: there is no token, or not one that it takes.
    #[error("the server does not know who asks: {message}")]
    Unauthenticated {
        /// What the server says.
        message: String,
    },
    /// The caller has no right to it.
    #[error("not allowed: {message}")]
    Forbidden {
        /// The right that is missing: `read`, `append` or `admin`. Empty where it was not told.
        role: String,
        /// For which stream, where it was for one.
        stream: Option<String>,
        /// What the server says.
        message: String,
    },
    /// The server takes no more than this.
    #[error("{message}")]
    LimitExceeded {
        /// The limit's name in the server's configuration.
        limit: String,
        /// How much there was, or would have been. `None` where the server has not looked: at a message that is too large.
        value: Option<u64>,
        /// The most allowed.
        max: u64,
        /// Whether to ask for less, or again.
        kind: ErrorKind,
        /// What the server says.
        message: String,
    },
    /// A failure whose facts only the server has: that its disk could not write what an append needs first, for one.
    #[error("the server failed: {message}")]
    Server {
        /// The status code of gRPC.
        code: i32,
        /// What the server advises.
        kind: ErrorKind,
        /// What the server says.
        message: String,
    },
    /// The server has answered what can't be.
    #[error("the server breaks the protocol: {what}")]
    Protocol {
        /// What is wrong.
        what: String,
        /// Whether it is the answer to an append, which may stand then.
        is_append: bool,
    },
    /// A remote store does not do this.
    #[error("a remote store can't do this: {what}")]
    Unsupported {
        /// What.
        what: &'static str,
    },
}

impl Error {
    /// What a caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Unreachable { .. } | Self::DeadlineExceeded => ErrorKind::Retry,
            Self::Unauthenticated { .. } | Self::Forbidden { .. } => ErrorKind::Forbidden,
            Self::LimitExceeded { kind, .. } | Self::Server { kind, .. } => *kind,
            Self::Protocol { is_append: true, .. } => ErrorKind::Unknown,
            Self::Config(_) | Self::Handshake { .. } | Self::Protocol { is_append: false, .. } => ErrorKind::Operator,
            Self::Unsupported { .. } => ErrorKind::InvalidRequest,
        }
    }

    /// The store's own error, where it is one.
    ///
    /// ```
    /// use eventfold_client::{Error, StoreError};
    ///
    /// fn is_conflict(error: &Error) -> bool {
    ///     matches!(error.store_error(), Some(StoreError::WrongExpectedVersion { .. }))
    /// }
    /// # assert!(!is_conflict(&Error::DeadlineExceeded));
    /// ```
    pub fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }

    /// An answer that can't be, to something else than an append.
    pub(crate) fn protocol(what: &impl ToString) -> Self {
        Self::Protocol { what: what.to_string(), is_append: false }
    }

    /// What is known of an append of which an earlier sending was not answered, where the last one ended so. Only who has looked
    /// at the log knows that the first does not stand.
    pub(crate) fn after_loss(self) -> Self {
        use ErrorKind::{Conflict, InvalidRequest, NotFound};
        Self::Store(match self {
            Self::Store(error) if matches!(error.kind(), Conflict | InvalidRequest | NotFound) => error,
            Self::Store(StoreError::OutcomeUnknown { cause }) => StoreError::OutcomeUnknown { cause },
            Self::Store(StoreError::Poisoned { cause }) => StoreError::OutcomeUnknown { cause: Some(cause) },
            Self::Protocol { .. } => return self,
            _ => StoreError::OutcomeUnknown { cause: None },
        })
    }
}
