//! Where a read or a subscription stands, so that it can go on after a break: pure.

use eventfold_proto::convert::{query_to_wire, stream_to_wire};
use eventfold_proto::v1;
use eventfold_store::{Direction, RecordedEvent, Uuid};

use crate::request::Source;

/// Which events are asked for, and which of them come next.
#[derive(Debug)]
pub(crate) struct Place {
    source: Source,
    /// The stream, where it is one.
    stream_id: Option<Uuid>,
    direction: Direction,
    /// The next version or position.
    next: Option<u64>,
    has_begun: bool,
    is_over: bool,
}

impl Place {
    pub(crate) fn new(source: Source, from: Option<u64>, direction: Direction) -> Self {
        let stream_id = match &source {
            Source::Stream(stream) => stream.resolve().ok().map(|resolved| resolved.id),
            Source::Query(_) => None,
        };
        Self { source, stream_id, direction, next: from, has_begun: false, is_over: false }
    }

    /// From where on to ask.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next
    }

    /// Whether nothing can come any more: a backward read has come to the first event.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes an event, if it is one that can come next.
    pub(crate) fn take(&mut self, event: &RecordedEvent) -> Result<(), &'static str> {
        let place = match self.stream_id {
            Some(id) if event.stream_id != id => return Err("an event of another stream came"),
            Some(_) => event.stream_version,
            None => event.global_position,
        };
        let is_next = match (self.next, self.direction) {
            (None, _) => true,
            // Versions are contiguous; only the first of a read may lie beyond what was asked for.
            (Some(next), _) if self.stream_id.is_some() && self.has_begun => place == next,
            (Some(next), Direction::Forward) => place >= next,
            (Some(next), Direction::Backward) => place <= next,
        };
        if !is_next || self.is_over {
            return Err("an event came twice, or out of order");
        }
        self.has_begun = true;
        self.next = match self.direction {
            Direction::Forward => place.checked_add(1),
            Direction::Backward => place.checked_sub(1),
        };
        self.is_over = self.next.is_none();
        Ok(())
    }

    /// Takes that everything below a position of the log was told.
    pub(crate) fn told(&mut self, position: u64) {
        if self.stream_id.is_none() && self.next < Some(position) {
            self.next = Some(position);
        }
    }

    pub(crate) fn read_source(&self) -> v1::read_request::Source {
        match &self.source {
            Source::Query(query) => v1::read_request::Source::Query(query_to_wire(query)),
            Source::Stream(stream) => v1::read_request::Source::Stream(stream_to_wire(stream)),
        }
    }

    pub(crate) fn subscribe_source(&self) -> v1::subscribe_request::Source {
        match &self.source {
            Source::Query(query) => v1::subscribe_request::Source::Query(query_to_wire(query)),
            Source::Stream(stream) => v1::subscribe_request::Source::Stream(stream_to_wire(stream)),
        }
    }
}

#[cfg(test)]
mod tests {
    use eventfold_store::{Bytes, Query};

    use super::*;

    const STREAM: Uuid = Uuid::from_u128(7);

    fn event(version: u64, position: u64) -> RecordedEvent {
        RecordedEvent {
            event_id: Uuid::nil(),
            stream_id: STREAM,
            stream_version: version,
            global_position: position,
            recorded_at: 0,
            event_type: "T".into(),
            tags: Vec::new(),
            metadata: Bytes::new(),
            payload: Bytes::new(),
        }
    }

    fn of_log(from: Option<u64>, direction: Direction) -> Place {
        Place::new(Source::Query(Query::all()), from, direction)
    }

    fn of_stream(from: Option<u64>, direction: Direction) -> Place {
        Place::new(Source::Stream(STREAM.into()), from, direction)
    }

    #[test]
    fn the_log_goes_on_behind_what_came_or_was_told() {
        let mut place = of_log(Some(3), Direction::Forward);
        assert!(place.take(&event(0, 2)).is_err());
        assert!(place.take(&event(0, 5)).is_ok());
        assert_eq!(place.next(), Some(6));
        place.told(4);
        assert_eq!(place.next(), Some(6));
        place.told(9);
        assert_eq!(place.next(), Some(9));
        assert!(place.take(&event(1, 8)).is_err());
        assert!(place.take(&event(1, 9)).is_ok());
    }

    #[test]
    fn a_stream_goes_on_with_the_next_version_whatever_position_was_told() {
        let mut place = of_stream(Some(3), Direction::Forward);
        place.told(100);
        assert_eq!(place.next(), Some(3));
        assert!(place.take(&event(3, 100)).is_ok());
        place.told(200);
        assert_eq!(place.next(), Some(4));
        assert!(place.take(&event(5, 101)).is_err(), "a version is left out");
        assert!(place.take(&event(3, 101)).is_err(), "a version comes again");
        let other = RecordedEvent { stream_id: Uuid::from_u128(8), ..event(4, 101) };
        assert!(place.take(&other).is_err());
        assert!(place.take(&event(4, 101)).is_ok());
    }

    #[test]
    fn backward_it_is_over_with_the_first() {
        let mut place = of_stream(None, Direction::Backward);
        for version in [2, 1, 0] {
            assert!(!place.is_over());
            assert!(place.take(&event(version, 50)).is_ok());
        }
        assert!(place.is_over());
        let mut place = of_log(Some(9), Direction::Backward);
        assert!(place.take(&event(0, 10)).is_err());
        assert!(place.take(&event(0, 4)).is_ok());
        assert_eq!(place.next(), Some(3));
        assert!(place.take(&event(0, 4)).is_err());
    }
}
