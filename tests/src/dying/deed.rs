//! Appends that two processes know by a number alone.

use std::fmt;
use std::str::FromStr;

use eventfold_db::{ExpectedVersion, ProposedEvent};
use uuid::Uuid;

use crate::asked::{Asked, Condition, Criteria};
use crate::random::Random;

/// Streams that all clients write to.
const SHARED_STREAMS: u64 = 8;

/// An append. Which events it has, and for which streams, follows from its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deed(u64);

/// The condition that a client appends under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// None.
    Any,
    /// No event has this append's tag.
    Fresh,
    /// The client's own stream, which comes first, is at this version; `None`: it has no events.
    At(Option<u64>),
}

impl Deed {
    /// The types of its events.
    pub const TYPES: [&str; 3] = ["Opened", "Changed", "Closed"];

    /// At least as many clients as any life has.
    pub const CLIENTS: u8 = 4;

    /// What a client asks for in this turn of its life.
    pub fn new(life: u32, client: u8, turn: u16) -> Self {
        Self((u64::from(life) << 32) | (u64::from(turn) << 16) | u64::from(client))
    }

    /// Whose event has this id.
    pub fn of_event(event_id: Uuid) -> Self {
        Self(event_id.as_u64_pair().0)
    }

    /// The client that asks for it.
    pub fn client(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// The stream that nobody but this client writes to.
    pub fn own_stream(client: u8) -> String {
        format!("own-{client}")
    }

    /// The tag of all events of a client.
    pub fn client_tag(client: u8) -> String {
        format!("client:{client}")
    }

    /// Its terms, where the client's own stream is at this version.
    pub fn terms(self, own_version: Option<u64>) -> Terms {
        match Random::new(self.0).below(100) {
            0..45 => Terms::At(own_version),
            45..60 => Terms::Fresh,
            _ => Terms::Any,
        }
    }

    /// The whole append.
    pub fn asked(self, terms: Terms) -> Asked {
        let mut random = Random::new(!self.0);
        let mut runs = Vec::new();
        if let Terms::At(_) = terms {
            runs.push(Self::own_stream(self.client()));
        }
        let more = if random.percent(25) { random.below(3) } else { 0 };
        while runs.is_empty() || (runs.len() as u64) < more {
            runs.push(format!("shared-{}", random.below(SHARED_STREAMS)));
        }
        let mut index = 0;
        let runs = runs.into_iter().map(|stream| {
            let count = if random.percent(4) { 1 + random.below(30) } else { 1 + random.below(3) };
            let events = (0..count).map(|_| {
                index += 1;
                self.event(index, &mut random)
            });
            (stream, events.collect())
        });
        let runs = runs.collect();
        Asked { runs, conditions: self.conditions(terms) }
    }

    fn conditions(self, terms: Terms) -> Vec<Condition> {
        match terms {
            Terms::Any => Vec::new(),
            Terms::Fresh => {
                let criteria = Criteria { tags: vec![self.tag()], ..Criteria::default() };
                vec![Condition::NoMatch(vec![criteria], None)]
            }
            Terms::At(version) => {
                let expected = version.map_or(ExpectedVersion::NoStream, ExpectedVersion::Exact);
                vec![Condition::Version(Self::own_stream(self.client()), expected)]
            }
        }
    }

    fn tag(self) -> String {
        format!("deed:{self}")
    }

    fn event(self, index: u64, random: &mut Random) -> ProposedEvent {
        // Small ones mostly; some that take many pages, so that a write can be cut within; a few for which a segment of
        // 64 KiB is too small.
        let size = match random.below(1000) {
            0..3 => 66_000 + random.below(9_000),
            3..40 => random.below(20_000),
            40..200 => random.below(4_000),
            _ => random.below(300),
        };
        let size = usize::try_from(size).expect("it is small");
        let mut payload = Vec::with_capacity(size + 8);
        while payload.len() < size {
            payload.extend_from_slice(&random.bits().to_le_bytes());
        }
        payload.truncate(size);
        let mut tags = vec![Self::client_tag(self.client())];
        if index == 1 {
            tags.push(self.tag());
        }
        let event = ProposedEvent::new(random.pick(&Self::TYPES), payload)
            .with_id(Uuid::from_u64_pair(self.0, index))
            .with_tags(tags);
        if random.percent(30) { event.with_metadata(format!("by {self}")) } else { event }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Deed {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Fresh => f.write_str("fresh"),
            Self::At(None) => f.write_str("none"),
            Self::At(Some(version)) => write!(f, "{version}"),
        }
    }
}

impl FromStr for Terms {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "any" => Self::Any,
            "fresh" => Self::Fresh,
            "none" => Self::At(None),
            version => Self::At(Some(version.parse()?)),
        })
    }
}
