//! Events whose payload is JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event::{ProposedEvent, RecordedEvent};
use crate::text::EventType;

impl ProposedEvent {
    /// An event whose payload is a value as JSON.
    ///
    /// ```
    /// use eventfold_codec::ProposedEvent;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Deposited {
    ///     cents: u64,
    /// }
    ///
    /// let event = ProposedEvent::json("Deposited", &Deposited { cents: 500 })?;
    /// assert_eq!(event.payload, r#"{"cents":500}"#);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Where the value can't be JSON: a map whose keys are not text, or its own `Serialize` that fails.
    pub fn json(event_type: impl Into<EventType>, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::new(event_type, serde_json::to_vec(value)?))
    }
}

impl RecordedEvent {
    /// The payload as a value, read from JSON.
    ///
    /// # Errors
    ///
    /// Where the payload is not JSON, or not that of such a value.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.payload)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_value_comes_back() {
        let event = ProposedEvent::json("Type", &("text", [1u8, 2], Option::<u8>::None)).unwrap();
        let recorded = RecordedEvent {
            event_id: Uuid::nil(),
            stream_id: Uuid::nil(),
            stream_version: 0,
            global_position: 0,
            recorded_at: 0,
            event_type: event.event_type,
            tags: Vec::new(),
            metadata: Bytes::new(),
            payload: event.payload,
        };
        let value: (String, [u8; 2], Option<u8>) = recorded.json().unwrap();
        assert_eq!(value, ("text".to_owned(), [1, 2], None));
        assert!(recorded.json::<u64>().is_err());
        assert!(RecordedEvent { payload: Bytes::from_static(b"{"), ..recorded }.json::<()>().is_err());
    }
}
