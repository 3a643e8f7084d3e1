//! Events, before and after they are appended, and what an append expects of a stream.

use bytes::Bytes;
use uuid::Uuid;

use crate::text::{EventType, Tag};

/// An event that is to be appended.
///
/// Making one never fails: what is wrong with it is told when it is submitted. Clones share their bytes.
///
/// ```
/// use eventfold_codec::ProposedEvent;
///
/// let event = ProposedEvent::new("Deposited", r#"{"cents":500}"#)
///     .with_metadata(r#"{"by":"ann"}"#)
///     .with_tags(["account:7"]);
/// assert_eq!(event.event_type, "Deposited");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedEvent {
    /// The event's id, by which an append sent twice is recognised; made up at submission where there is none.
    pub event_id: Option<Uuid>,
    /// What kind of event it is.
    pub event_type: EventType,
    /// What it is about, as far as it is to be found by it.
    pub tags: Vec<Tag>,
    /// Bytes about the event.
    pub metadata: Bytes,
    /// The event's own bytes.
    pub payload: Bytes,
}

impl ProposedEvent {
    /// An event with this type and payload, without id, tags or metadata.
    pub fn new(event_type: impl Into<EventType>, payload: impl Into<Bytes>) -> Self {
        Self {
            event_id: None,
            event_type: event_type.into(),
            tags: Vec::new(),
            metadata: Bytes::new(),
            payload: payload.into(),
        }
    }

    /// The event with this id: any UUID that no other event has, random ones for example.
    ///
    /// It is what makes an append safe to send again when its answer was lost. Each event of it needs an id that was
    /// set before the first try and stays the same: an append with the same ids and contents is recognised, and answered with
    /// what was recorded the first time. Events without one get another id with each try, so nobody can tell that they are
    /// the same.
    #[must_use]
    pub fn with_id(mut self, event_id: Uuid) -> Self {
        self.event_id = Some(event_id);
        self
    }

    /// The event with this metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<Bytes>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// The event with these tags, instead of any it had.
    #[must_use]
    pub fn with_tags<T: Into<Tag>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// What counts towards [`MAX_EVENT_SIZE`](crate::MAX_EVENT_SIZE): type, tags, metadata and payload.
    pub fn size(&self) -> usize {
        size(&self.event_type, &self.tags, &self.metadata, &self.payload)
    }
}

fn size(event_type: &EventType, tags: &[Tag], metadata: &Bytes, payload: &Bytes) -> usize {
    let tags: usize = tags.iter().map(|tag| tag.as_bytes().len()).sum();
    event_type.as_bytes().len() + tags + metadata.len() + payload.len()
}

/// An event as it stands in the log. Clones share their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// The event's id.
    pub event_id: Uuid,
    /// The stream it belongs to.
    pub stream_id: Uuid,
    /// Its place in the stream, from 0.
    pub stream_version: u64,
    /// Its place in the log, from 0.
    pub global_position: u64,
    /// Unix milliseconds, informative only: never used for ordering.
    pub recorded_at: u64,
    /// What kind of event it is.
    pub event_type: EventType,
    /// What it is about.
    pub tags: Vec<Tag>,
    /// Bytes about the event.
    pub metadata: Bytes,
    /// The event's own bytes.
    pub payload: Bytes,
}

impl RecordedEvent {
    /// What counts towards [`MAX_EVENT_SIZE`](crate::MAX_EVENT_SIZE): type, tags, metadata and payload.
    pub fn size(&self) -> usize {
        size(&self.event_type, &self.tags, &self.metadata, &self.payload)
    }
}

/// What an append expects of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExpectedVersion {
    /// Nothing.
    #[default]
    Any,
    /// The stream has no events.
    NoStream,
    /// The stream has events.
    Exists,
    /// The stream's last event has this version.
    Exact(u64),
}

impl ExpectedVersion {
    /// Whether a stream whose last event has the version `actual` (`None`: it has no events) is what is expected.
    ///
    /// ```
    /// use eventfold_codec::ExpectedVersion;
    ///
    /// assert!(ExpectedVersion::NoStream.allows(None));
    /// assert!(ExpectedVersion::Exact(4).allows(Some(4)));
    /// assert!(!ExpectedVersion::Exact(4).allows(Some(5)));
    /// ```
    pub fn allows(self, actual: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => actual.is_none(),
            Self::Exists => actual.is_some(),
            Self::Exact(expected) => actual == Some(expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expected_version_allows_just_what_it_names() {
        use ExpectedVersion::{Any, Exact, Exists, NoStream};
        let table = [
            (Any, [true, true, true]),
            (NoStream, [true, false, false]),
            (Exists, [false, true, true]),
            (Exact(0), [false, true, false]),
            (Exact(1), [false, false, true]),
        ];
        for (expected, allowed) in table {
            let actual = [None, Some(0), Some(1)].map(|version| expected.allows(version));
            assert_eq!(actual, allowed, "{expected:?}");
        }
    }

    #[test]
    fn an_events_size_is_what_its_author_wrote() {
        let event = ProposedEvent::new("ab", "cde").with_metadata("f").with_tags(["gh", "i"]).with_id(Uuid::max());
        assert_eq!(event.size(), 2 + 3 + 1 + 3);
        let recorded = RecordedEvent {
            event_id: Uuid::max(),
            stream_id: Uuid::max(),
            stream_version: 0,
            global_position: 0,
            recorded_at: 0,
            event_type: event.event_type,
            tags: event.tags,
            metadata: event.metadata,
            payload: event.payload,
        };
        assert_eq!(recorded.size(), 2 + 3 + 1 + 3);
    }

    #[test]
    fn clones_share_their_bytes() {
        let event = ProposedEvent::new("t", vec![7; 100]);
        assert_eq!(event.clone().payload.as_ptr(), event.payload.as_ptr());
    }
}
