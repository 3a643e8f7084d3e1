//! What a child tells: a line a word, written before it asks and after it was answered.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;

use eventfold_db::{Error, RecordedEvent};

use super::deed::{Deed, Terms};

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is about to open the store.
    Opening,
    /// The store is open, and this is its next position.
    Opened {
        /// How long the log is.
        position: u64,
    },
    /// The store could not be opened.
    NotOpened {
        /// The error.
        error: String,
    },
    /// It is about to append.
    Asked {
        /// What.
        deed: Deed,
        /// Under which condition.
        terms: Terms,
    },
    /// An append was answered.
    Answered {
        /// Which.
        deed: Deed,
        /// The position of its first event.
        position: u64,
    },
    /// An append failed.
    Failed {
        /// Which.
        deed: Deed,
        /// As what.
        failure: Failure,
        /// The error.
        error: String,
    },
    /// It was served a part of the log.
    Log {
        /// The first position.
        from: u64,
        /// The position behind the last.
        to: u64,
        /// What these events come to.
        digest: u64,
    },
    /// It was served a part of a stream.
    Stream {
        /// The stream's name.
        name: String,
        /// The first version.
        from: u64,
        /// How many events.
        count: u64,
        /// What they come to.
        digest: u64,
    },
    /// A read failed.
    NotRead {
        /// The error.
        error: String,
    },
    /// One of its threads has panicked, which none may, whatever fails.
    Panicked {
        /// With what.
        message: String,
    },
    /// All its clients are done.
    Closing,
    /// The store was closed without an error.
    Closed,
    /// Closing failed.
    NotClosed {
        /// The error.
        error: String,
    },
}

/// What a failed append means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// It may stand.
    Unknown,
    /// The store takes no more appends, and took none of this one.
    Poisoned,
    /// There is no space, and nothing of it is there.
    Full,
    /// What it depends on could not be read, and nothing of it was asked of the log.
    Unread,
    /// A file that it needs could not be made or enlarged, and nothing of it is there.
    Unmade,
    /// Something that no child should meet.
    Other,
}

impl Failure {
    const ALL: [Self; 6] = [Self::Unknown, Self::Poisoned, Self::Full, Self::Unread, Self::Unmade, Self::Other];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Poisoned => "poisoned",
            Self::Full => "full",
            Self::Unread => "unread",
            Self::Unmade => "unmade",
            Self::Other => "other",
        }
    }

    /// What this error means.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::OutcomeUnknown { .. } => Self::Unknown,
            Error::Poisoned { .. } => Self::Poisoned,
            Error::StorageFull { .. } => Self::Full,
            Error::Read(_) => Self::Unread,
            Error::Io(_) => Self::Unmade,
            _ => Self::Other,
        }
    }
}

impl Word {
    /// Tells it. A line is one write of less than a pipe takes at once, so that it arrives whole or not at all.
    ///
    /// # Panics
    ///
    /// If nobody listens.
    pub fn tell(&self) {
        let mut out = std::io::stdout().lock();
        out.write_all(format!("{self}\n").as_bytes()).and_then(|()| out.flush()).expect("the parent listens");
    }

    /// The word in a line; `None` where it is somebody else's.
    pub fn parse(line: &str) -> Option<Self> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut parts = rest.splitn(4, ' ');
        let mut part = || parts.next();
        let error = || rest.to_owned();
        Some(match verb {
            "opening" => Self::Opening,
            "opened" => Self::Opened { position: part()?.parse().ok()? },
            "not-opened" => Self::NotOpened { error: error() },
            "asked" => Self::Asked { deed: part()?.parse().ok()?, terms: part()?.parse().ok()? },
            "answered" => Self::Answered { deed: part()?.parse().ok()?, position: part()?.parse().ok()? },
            "failed" => {
                let mut parts = rest.splitn(3, ' ');
                let deed = parts.next()?.parse().ok()?;
                let name = parts.next()?;
                let failure = Failure::ALL.into_iter().find(|failure| failure.name() == name)?;
                Self::Failed { deed, failure, error: parts.next()?.to_owned() }
            }
            "log" => {
                Self::Log { from: part()?.parse().ok()?, to: part()?.parse().ok()?, digest: part()?.parse().ok()? }
            }
            "stream" => Self::Stream {
                name: part()?.to_owned(),
                from: part()?.parse().ok()?,
                count: part()?.parse().ok()?,
                digest: part()?.parse().ok()?,
            },
            "not-read" => Self::NotRead { error: error() },
            "panicked" => Self::Panicked { message: rest.to_owned() },
            "closing" => Self::Closing,
            "closed" => Self::Closed,
            "not-closed" => Self::NotClosed { error: error() },
            _ => return None,
        })
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("opening"),
            Self::Opened { position } => write!(f, "opened {position}"),
            Self::NotOpened { error } => write!(f, "not-opened {error}"),
            Self::Asked { deed, terms } => write!(f, "asked {deed} {terms}"),
            Self::Answered { deed, position } => write!(f, "answered {deed} {position}"),
            Self::Failed { deed, failure, error } => write!(f, "failed {deed} {} {error}", failure.name()),
            Self::Log { from, to, digest } => write!(f, "log {from} {to} {digest}"),
            Self::Stream { name, from, count, digest } => write!(f, "stream {name} {from} {count} {digest}"),
            Self::NotRead { error } => write!(f, "not-read {error}"),
            Self::Panicked { message } => write!(f, "panicked {message}"),
            Self::Closing => f.write_str("closing"),
            Self::Closed => f.write_str("closed"),
            Self::NotClosed { error } => write!(f, "not-closed {error}"),
        }
    }
}

/// What an event comes to, in all its fields.
pub(crate) fn digest(event: &RecordedEvent) -> u64 {
    let mut hasher = DefaultHasher::new();
    (event.global_position, event.stream_version, event.recorded_at).hash(&mut hasher);
    (event.event_id.as_bytes(), event.stream_id.as_bytes()).hash(&mut hasher);
    (&*event.event_type, &*event.metadata, &*event.payload).hash(&mut hasher);
    for tag in &event.tags {
        (**tag).hash(&mut hasher);
    }
    hasher.finish()
}

/// What several events come to, in this order.
pub(crate) fn digest_of_all(digests: impl IntoIterator<Item = u64>) -> u64 {
    digests.into_iter().fold(0, |all, digest| (all.rotate_left(5) ^ digest).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_told() {
        let (deed, error) = (Deed::new(3, 2, 1), "a text of several words".to_owned());
        let words = [
            Word::Opening,
            Word::Opened { position: 7 },
            Word::NotOpened { error: error.clone() },
            Word::Asked { deed, terms: Terms::Any },
            Word::Asked { deed, terms: Terms::Fresh },
            Word::Asked { deed, terms: Terms::At(None) },
            Word::Asked { deed, terms: Terms::At(Some(5)) },
            Word::Answered { deed, position: 9 },
            Word::Failed { deed, failure: Failure::Unknown, error: error.clone() },
            Word::Failed { deed, failure: Failure::Poisoned, error: error.clone() },
            Word::Failed { deed, failure: Failure::Full, error: error.clone() },
            Word::Failed { deed, failure: Failure::Other, error: error.clone() },
            Word::Log { from: 1, to: 2, digest: u64::MAX },
            Word::Stream { name: "own-1".into(), from: 1, count: 2, digest: 3 },
            Word::NotRead { error: error.clone() },
            Word::Panicked { message: error.clone() },
            Word::Closing,
            Word::Closed,
            Word::NotClosed { error },
        ];
        for word in words {
            assert_eq!(Word::parse(&word.to_string()), Some(word));
        }
        assert_eq!(Word::parse("running 1 test"), None);
    }
}
