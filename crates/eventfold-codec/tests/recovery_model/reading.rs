//! Reading the tiny disk for the judge, as a scan reads real segments.

use eventfold_codec::recovery::{
    Broken, Judge, Recovery, RecoveryError, Ruling, SegmentEnd, SegmentFacts, SegmentInfo, Successor, decide,
};
use eventfold_codec::{
    FIRST_FRAME_OFFSET, FRAME_HEADER_LEN, FrameError, FrameHeader, FrameKind, KnownFields, Link, TAIL_ZEROES_LEN,
};

use crate::content::{Content, Frame, Kind};
use crate::scope::{Rule, Scope};
use crate::state::{A, B, State, unit};

const UNIT_LEN: u32 = 64;

/// A frame of the new incarnation fills a unit, as every frame does.
const _: () = assert!(UNIT_LEN as usize == FRAME_HEADER_LEN);

pub(crate) fn offset(index: u8) -> u64 {
    FIRST_FRAME_OFFSET + u64::from(index) * u64::from(UNIT_LEN)
}

/// The unit that starts at an offset, or ends just before it.
pub(crate) fn index(offset: u64) -> u8 {
    let units = (offset - FIRST_FRAME_OFFSET).div_ceil(u64::from(UNIT_LEN));
    u8::try_from(units).expect("the disk is tiny")
}

/// What was read and decided.
pub(crate) struct Reading {
    /// How many frames of each segment were accepted.
    pub(crate) accepted: [u8; 2],
    pub(crate) decision: Result<Recovery, RecoveryError>,
}

pub(crate) fn read(scope: &Scope, state: &State) -> Reading {
    let reader = Reader { scope, state };
    let first = reader.segment(A, SegmentEnd::GENESIS, reader.successor());
    let second = reader.segment(B, first.end, None);
    let len = |facts: &SegmentFacts| if facts.linked { index(facts.frames_end) } else { 0 };
    let accepted = [len(&first), len(&second)];
    let mut facts = vec![first, second];
    if accepted[B] == 0 && !scope.rules.keep(Rule::LaterSegments) {
        facts.pop();
    }
    let pending = state.side_file && scope.rules.keep(Rule::SideFileMark);
    Reading { accepted, decision: decide(&facts, pending) }
}

struct Reader<'a> {
    scope: &'a Scope,
    state: &'a State,
}

impl Reader<'_> {
    fn content(&self, segment: usize, index: u8) -> Content {
        self.state.disk.read(unit(self.scope, segment, index))
    }

    fn successor(&self) -> Option<Successor> {
        let link = self.content(B, 0).whole()?;
        (link.kind == Kind::Link).then(|| Successor {
            link: self.link(B, link),
            position: link.position.into(),
            incarnation: self.incarnation(link),
        })
    }

    fn segment(&self, segment: usize, before: SegmentEnd, successor: Option<Successor>) -> SegmentFacts {
        let size = self.scope.sizes[segment];
        let file_len = offset(size) + TAIL_ZEROES_LEN;
        let info = SegmentInfo {
            number: u32::try_from(segment).expect("there are two"),
            salt: salt(segment),
            capacity: file_len,
            file_len,
        };
        let mut judge = Judge::new(info, before, successor);
        while !judge.is_whole() {
            let at = index(judge.end());
            let frame = (at < size).then(|| self.content(segment, at).whole()).flatten();
            let Some(frame) = frame else {
                let content = if at < size { self.content(segment, at) } else { Content::ZERO };
                let header = content.header().map(|frame| self.header(segment, at, frame));
                judge.broken(Broken::Frame(FrameError::NoMagic), header.as_ref());
                break;
            };
            let link = (frame.kind == Kind::Link).then(|| self.link(segment, frame));
            let fields = KnownFields { link, ..KnownFields::default() };
            if judge.frame(&self.header(segment, at, frame), &fields) == Ruling::Ended {
                break;
            }
        }
        if !judge.is_whole() {
            self.look_on(segment, &mut judge);
        }
        judge.finish()
    }

    fn look_on(&self, segment: usize, judge: &mut Judge) {
        let first = index(judge.end());
        let last = if self.scope.rules.keep(Rule::LookingOn) {
            self.scope.sizes[segment]
        } else {
            self.scope.sizes[segment].min(first + 1)
        };
        for at in first..last {
            let content = self.content(segment, at);
            if content == Content::ZERO {
                continue;
            }
            judge.content(offset(at + 1));
            if at > first
                && let Some(frame) = content.header()
            {
                let mut header = self.header(segment, at, frame);
                if !self.scope.rules.keep(Rule::Evidence) {
                    header.durable_through = FIRST_FRAME_OFFSET;
                }
                judge.header_beyond(offset(at), &header);
            }
        }
    }

    fn incarnation(&self, frame: Frame) -> u32 {
        if self.scope.rules.keep(Rule::IncarnationCheck) { frame.incarnation.into() } else { 1 }
    }

    fn header(&self, segment: usize, at: u8, frame: Frame) -> FrameHeader {
        let kind = match frame.kind {
            Kind::Append => FrameKind::Append,
            Kind::Link => FrameKind::Link,
            Kind::Watermark => FrameKind::Watermark,
            Kind::Close => FrameKind::Close,
        };
        let durable_through = match frame.kind {
            Kind::Link => 0,
            _ => frame.durable_through,
        };
        FrameHeader {
            kind: kind.number(),
            flags: 0,
            frame_len: UNIT_LEN,
            ext_len: 0,
            first_position: frame.position.into(),
            recorded_at: 0,
            durable_through: offset(durable_through),
            incarnation: self.incarnation(frame),
            stream_count: frame.events.min(1).into(),
            event_count: frame.events.into(),
            body_checksum: 0,
            checksum: checksum(unit(self.scope, segment, at), frame.serial, frame.incarnation),
        }
    }

    fn link(&self, segment: usize, frame: Frame) -> Link {
        if segment == A {
            return SegmentEnd::GENESIS.link();
        }
        let (serial, incarnation) = frame.names;
        let last = unit(self.scope, A, frame.durable_through - 1);
        Link { salt: salt(A), end: offset(frame.durable_through), checksum: checksum(last, serial, incarnation) }
    }
}

fn salt(segment: usize) -> u64 {
    [0xA, 0xB][segment]
}

/// Stands for a frame's bytes: two frames that differ never have the same one at the same time.
fn checksum(at: usize, serial: u8, incarnation: u8) -> u32 {
    let at = u8::try_from(at).expect("the disk is tiny");
    u32::from_le_bytes([at, serial, incarnation, 1])
}
