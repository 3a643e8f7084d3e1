//! Events as JSON, one a line: what `--json` shows, and what `append --stdin` takes.
//!
//! Nothing is lost on the way. Bytes are a text where they are UTF-8, and Base64 under another name where they are not.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eventfold_backup::ExportedEvent;
use eventfold_client::{Bytes, InvalidStreamName, ProposedEvent, RecordedEvent, StreamName, StreamRef, Uuid};
use serde::{Deserialize, Serialize};

/// An event, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EventLine {
    /// The position of the first event of its append, where that is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) append: Option<u64>,
    /// How many events its append has, where that is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) append_events: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<u64>,
    /// The stream's name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stream_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    pub(crate) tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_base64: Option<String>,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recorded_at: Option<u64>,
}

/// Why a line is no event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("{0}")]
    NotJson(#[from] serde_json::Error),
    #[error(transparent)]
    NotAName(#[from] InvalidStreamName),
    #[error("there is neither stream nor stream_id")]
    NoStream,
    #[error("there is no type")]
    NoType,
    #[error("there is no {key}, which every event of an export has")]
    NotExported { key: &'static str },
    #[error("stream {stream} has the id {id}, and stream_id is {found}")]
    OtherStream { stream: String, id: Uuid, found: Uuid },
    #[error("{key} is no UUID: {text}")]
    NotAnId { key: &'static str, text: String },
    #[error("{key} and {key}_base64 are both there")]
    Both { key: &'static str },
    #[error("{key}_base64 is no Base64: {source}")]
    NotBase64 { key: &'static str, source: base64::DecodeError },
}

impl EventLine {
    /// An event of the log, and its stream's name.
    pub(crate) fn new(event: &RecordedEvent, stream: Option<&str>) -> Self {
        let (metadata, metadata_base64) = written(&event.metadata);
        let (payload, payload_base64) = written(&event.payload);
        Self {
            append: None,
            append_events: None,
            position: Some(event.global_position),
            stream: stream.map(str::to_owned),
            stream_id: Some(event.stream_id.to_string()),
            version: Some(event.stream_version),
            id: Some(event.event_id.to_string()),
            event_type: event.event_type.to_string(),
            tags: event.tags.iter().map(ToString::to_string).collect(),
            metadata,
            metadata_base64,
            payload,
            payload_base64,
            recorded_at: Some(event.recorded_at),
        }
    }

    /// Reads a line.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, LineError> {
        let line: Self = serde_json::from_slice(line)?;
        if line.event_type.is_empty() { Err(LineError::NoType) } else { Ok(line) }
    }

    /// The event of an export.
    pub(crate) fn exported(self) -> Result<ExportedEvent, LineError> {
        let missing = |key| LineError::NotExported { key };
        let append = self.append.ok_or_else(|| missing("append"))?;
        let append_events = self.append_events.ok_or_else(|| missing("append_events"))?;
        let global_position = self.position.ok_or_else(|| missing("position"))?;
        let stream_version = self.version.ok_or_else(|| missing("version"))?;
        let recorded_at = self.recorded_at.ok_or_else(|| missing("recorded_at"))?;
        let stream_id = uuid("stream_id", self.stream_id.as_ref().ok_or_else(|| missing("stream_id"))?)?;
        let stream_name = self.stream.as_deref().map(StreamName::new).transpose()?;
        let (_, event) = self.proposed()?;
        let event = RecordedEvent {
            event_id: event.event_id.ok_or_else(|| missing("id"))?,
            stream_id,
            stream_version,
            global_position,
            recorded_at,
            event_type: event.event_type,
            tags: event.tags,
            metadata: event.metadata,
            payload: event.payload,
        };
        Ok(ExportedEvent { append, append_events, stream_name, event })
    }

    /// The event to append, and the stream that it is for.
    pub(crate) fn proposed(self) -> Result<(StreamRef, ProposedEvent), LineError> {
        let stream = stream(self.stream, self.stream_id)?;
        let event = ProposedEvent {
            event_id: self.id.map(|id| uuid("id", &id)).transpose()?,
            event_type: self.event_type.into(),
            tags: self.tags.into_iter().map(Into::into).collect(),
            metadata: bytes("metadata", self.metadata, self.metadata_base64)?,
            payload: bytes("payload", self.payload, self.payload_base64)?,
        };
        Ok((stream, event))
    }
}

/// A stream by its name, where it has one: the id follows from that.
fn stream(name: Option<String>, id: Option<String>) -> Result<StreamRef, LineError> {
    let id = id.map(|id| uuid("stream_id", &id)).transpose()?;
    match (name, id) {
        (None, None) => Err(LineError::NoStream),
        (None, Some(id)) => Ok(id.into()),
        (Some(name), found) => {
            // What is wrong with a name is told by the store.
            if let (Some(found), Ok(checked)) = (found, StreamName::new(&name))
                && checked.id() != found
            {
                return Err(LineError::OtherStream { stream: name, id: checked.id(), found });
            }
            Ok(name.into())
        }
    }
}

fn uuid(key: &'static str, text: &str) -> Result<Uuid, LineError> {
    Uuid::try_parse(text).map_err(|_| LineError::NotAnId { key, text: text.to_owned() })
}

fn bytes(key: &'static str, text: Option<String>, base64: Option<String>) -> Result<Bytes, LineError> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(LineError::Both { key }),
        (Some(text), None) => Ok(text.into()),
        (None, Some(base64)) => {
            let decoded = STANDARD.decode(base64);
            decoded.map(Bytes::from).map_err(|source| LineError::NotBase64 { key, source })
        }
        (None, None) => Ok(Bytes::new()),
    }
}

fn written(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

/// A value on one line, which a terminal can be shown: of the characters that are not to be shown as they are, JSON leaves some as
/// they are.
pub(crate) fn line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("what is shown has a form in JSON");
    if !json.contains(is_risky) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_risky(c) {
            // They stand in texts alone, where each can be written so.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Whether a terminal may do something else than show it: the controls beyond ASCII, and what turns the direction of a text.
fn is_risky(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn contents() -> impl Strategy<Value = Bytes> {
        prop_oneof![".{0,20}".prop_map(Bytes::from), vec(any::<u8>(), 0..20).prop_map(Bytes::from)]
    }

    prop_compose! {
        fn events()(
            ids in any::<(u128, u128)>(),
            numbers in any::<(u64, u64, u64)>(),
            texts in (".{1,20}", vec(".{1,10}", 0..4)),
            contents in (contents(), contents()),
        ) -> RecordedEvent {
            RecordedEvent {
                event_id: Uuid::from_u128(ids.0),
                stream_id: Uuid::from_u128(ids.1),
                stream_version: numbers.0,
                global_position: numbers.1,
                recorded_at: numbers.2,
                event_type: texts.0.into(),
                tags: texts.1.into_iter().map(Into::into).collect(),
                metadata: contents.0,
                payload: contents.1,
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_of_an_event_is_lost(mut event in events(), name in option::of("[^$].{0,20}")) {
            let name = name.map(|name| StreamName::new(&name).unwrap());
            if let Some(name) = &name {
                event.stream_id = name.id();
            }
            let shown = line(&EventLine::new(&event, name.as_deref()));
            prop_assert!(!shown.contains(|c: char| c.is_control() || is_risky(c)), "{shown:?}");
            let read = EventLine::parse(shown.as_bytes()).unwrap();
            prop_assert_eq!(read.position, Some(event.global_position));
            prop_assert_eq!(read.version, Some(event.stream_version));
            prop_assert_eq!(read.recorded_at, Some(event.recorded_at));
            let exported = ExportedEvent { append: 3, append_events: 4, stream_name: name.clone(), event: event.clone() };
            let all = EventLine { append: Some(3), append_events: Some(4), ..read.clone() };
            prop_assert_eq!(EventLine::parse(line(&all).as_bytes()).unwrap().exported().unwrap(), exported);
            let (stream, proposed) = read.proposed().unwrap();
            prop_assert_eq!(stream.resolve().unwrap().id, event.stream_id);
            prop_assert_eq!(stream.resolve().unwrap().name, name);
            let expected = ProposedEvent {
                event_id: Some(event.event_id),
                event_type: event.event_type,
                tags: event.tags,
                metadata: event.metadata,
                payload: event.payload,
            };
            prop_assert_eq!(proposed, expected);
        }

        #[test]
        fn no_line_makes_it_panic(line in vec(any::<u8>(), 0..60)) {
            let _ = EventLine::parse(&line).map(EventLine::proposed);
            let _ = EventLine::parse(&line).map(EventLine::exported);
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |line: &str| {
            let read = EventLine::parse(line.as_bytes()).and_then(EventLine::proposed);
            read.map(drop).unwrap_err().to_string()
        };
        assert!(told("{").contains("EOF"));
        assert!(told(r#"{"type":"A","stream":"s","payload":{}}"#).contains("invalid type: map"));
        assert!(told(r#"{"type":"A","stream":"s","typo":1}"#).contains("unknown field `typo`"));
        let exported = |line: &str| EventLine::parse(line.as_bytes()).unwrap().exported().unwrap_err().to_string();
        let event = r#"{"type":"A","stream":"s","id":"00000000-0000-0000-0000-000000000001","position":1,"version":1"#;
        assert_eq!(exported(&format!("{event}}}")), "there is no append, which every event of an export has");
        assert_eq!(
            exported(&format!("{event},\"append\":1,\"append_events\":1}}")),
            "there is no recorded_at, which every event of an export has"
        );
        assert_eq!(told(r#"{"stream":"s"}"#), "there is no type");
        assert_eq!(told(r#"{"type":"A"}"#), "there is neither stream nor stream_id");
        assert_eq!(told(r#"{"type":"A","stream":"s","id":"7"}"#), "id is no UUID: 7");
        assert_eq!(
            told(r#"{"type":"A","stream":"s","payload":"","payload_base64":""}"#),
            "payload and payload_base64 are both there"
        );
        assert!(told(r#"{"type":"A","stream":"s","metadata_base64":"%"}"#).starts_with("metadata_base64 is no Base64"));
        let other = format!(r#"{{"type":"A","stream":"s","stream_id":"{}"}}"#, Uuid::max());
        assert!(told(&other).contains("and stream_id is ffffffff"));
    }

    #[test]
    fn little_has_to_be_said() {
        let (stream, event) = EventLine::parse(br#"{"type":"A","stream":"s"}"#).unwrap().proposed().unwrap();
        assert_eq!((stream.to_string().as_str(), event), ("s", ProposedEvent::new("A", "")));
    }
}
