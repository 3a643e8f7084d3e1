//! What one unit of the tiny disk holds, packed so that millions of disks fit into memory.

use std::fmt;

/// What a frame is. The model needs no configuration frames: for recovery they are watermarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Append,
    Link,
    Watermark,
    Close,
}

/// A frame, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) incarnation: u8,
    /// The unit in its segment below which all was synced. In a link, which always says unit 0, the end that it names.
    pub(crate) durable_through: u8,
    pub(crate) position: u8,
    pub(crate) events: u8,
    /// Tells it from every other frame that stands, or is expected, at the same unit.
    pub(crate) serial: u8,
    /// The serial and incarnation of the frame that a link names.
    pub(crate) names: (u8, u8),
}

/// Zeroes, garbage, a frame, or a frame of which only the header is whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content(u32);

const STATE: (u32, u32) = (0, 2);
const KIND: (u32, u32) = (2, 2);
const INCARNATION: (u32, u32) = (4, 4);
const DURABLE_THROUGH: (u32, u32) = (8, 4);
const POSITION: (u32, u32) = (12, 5);
const EVENTS: (u32, u32) = (17, 2);
const SERIAL: (u32, u32) = (19, 3);
const NAMED_SERIAL: (u32, u32) = (22, 3);
const NAMED_INCARNATION: (u32, u32) = (25, 4);

const HEADER: u8 = 2;
const WHOLE: u8 = 3;

fn put((shift, width): (u32, u32), value: u8) -> u32 {
    assert!(u32::from(value) < 1 << width, "the model's bounds outgrow its packing");
    u32::from(value) << shift
}

impl Content {
    pub(crate) const ZERO: Self = Self(0);
    pub(crate) const GARBAGE: Self = Self(1);

    pub(crate) fn frame(frame: Frame) -> Self {
        let kind = match frame.kind {
            Kind::Append => 0,
            Kind::Link => 1,
            Kind::Watermark => 2,
            Kind::Close => 3,
        };
        Self(
            put(STATE, WHOLE)
                | put(KIND, kind)
                | put(INCARNATION, frame.incarnation)
                | put(DURABLE_THROUGH, frame.durable_through)
                | put(POSITION, frame.position)
                | put(EVENTS, frame.events)
                | put(SERIAL, frame.serial)
                | put(NAMED_SERIAL, frame.names.0)
                | put(NAMED_INCARNATION, frame.names.1),
        )
    }

    fn get(self, (shift, width): (u32, u32)) -> u8 {
        ((self.0 >> shift) & ((1 << width) - 1)).to_le_bytes()[0]
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// The frame whose header can be read here, whether its body is whole or not.
    pub(crate) fn header(self) -> Option<Frame> {
        let kind = match (self.get(STATE), self.get(KIND)) {
            (HEADER | WHOLE, 0) => Kind::Append,
            (HEADER | WHOLE, 1) => Kind::Link,
            (HEADER | WHOLE, 2) => Kind::Watermark,
            (HEADER | WHOLE, _) => Kind::Close,
            _ => return None,
        };
        Some(Frame {
            kind,
            incarnation: self.get(INCARNATION),
            durable_through: self.get(DURABLE_THROUGH),
            position: self.get(POSITION),
            events: self.get(EVENTS),
            serial: self.get(SERIAL),
            names: (self.get(NAMED_SERIAL), self.get(NAMED_INCARNATION)),
        })
    }

    /// The frame that stands here whole.
    pub(crate) fn whole(self) -> Option<Frame> {
        if self.get(STATE) == WHOLE { self.header() } else { None }
    }

    /// The same frame with its body torn. Watermarks and closes are headers alone: they have no body to tear.
    pub(crate) fn torn(self) -> Option<Self> {
        let frame = self.whole()?;
        matches!(frame.kind, Kind::Append | Kind::Link).then_some(Self(self.0 & !0b11 | put(STATE, HEADER)))
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(frame) = self.header() else {
            return f.write_str(if *self == Self::ZERO { "0" } else { "garbage" });
        };
        let name = match frame.kind {
            Kind::Append => "append",
            Kind::Link => "link",
            Kind::Watermark => "mark",
            Kind::Close => "close",
        };
        let torn = if self.whole().is_some() { "" } else { "torn " };
        write!(f, "{torn}{name} i{}", frame.incarnation)?;
        match frame.kind {
            Kind::Link => Ok(()),
            Kind::Append => write!(f, " p{} <{}", frame.position, frame.durable_through),
            Kind::Watermark | Kind::Close => write!(f, " <{}", frame.durable_through),
        }
    }
}
