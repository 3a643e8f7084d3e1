//! Segments in memory, built from a list of operations.

use eventfold_codec::recovery::{SegmentEnd, SegmentInfo};
use eventfold_codec::{
    Configuration, ExtensionArea, FIRST_FRAME_OFFSET, FrameHeader, FramePlace, Link, PreparedSegment, ProposedAppend,
    ProposedEvent, Section, SegmentKey, SegmentSummary, StreamSlot, SystemFrame, TAIL_ZEROES_LEN, encode_append,
    encode_footer, encode_system,
};
use uuid::Uuid;

use crate::shared::reader::Reader;
use crate::shared::sums;

/// The settings that every link names: no rule of recovery looks at them.
const SETTINGS: Configuration = Configuration { idempotency_window: 1024 };

/// What recovery has to make of a segment's end, where the operations that built it tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Built {
    Closed,
    Unproven,
    Torn,
    Corrupt,
    /// What the bytes say has to be read from them.
    Open,
}

/// A segment's file, and what is in it.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) info: SegmentInfo,
    /// Whether its header can be read. It stands in no file here: `info` is what it says.
    pub(super) readable: bool,
    pub(super) bytes: Vec<u8>,
    /// How it ends.
    pub(super) end: SegmentEnd,
    /// How it ended behind each of its frames, in the making.
    pub(super) ends: Vec<SegmentEnd>,
    pub(super) linked: bool,
    /// The salt that its last prepared frame names.
    pub(super) prepared: Option<u64>,
    /// Whether everything from its first frame on is zero.
    pub(super) is_empty: bool,
    pub(super) built: Built,
}

/// What was built so far.
struct Builder {
    salt: u64,
    /// The salt of the segment behind it.
    next_salt: u64,
    prepared: Option<u64>,
    key: SegmentKey,
    bytes: Vec<u8>,
    durable_through: u64,
    end: SegmentEnd,
    ends: Vec<SegmentEnd>,
    closed: bool,
}

impl Image {
    /// Segment `number` behind `before`, as the input says. `salts` are its own and that of the segment behind it.
    pub(super) fn build(input: &mut Reader<'_>, number: u32, before: SegmentEnd, salts: [u64; 2]) -> Self {
        let shape = input.u8();
        let [salt, next_salt] = salts;
        let capacity = FIRST_FRAME_OFFSET + [4096, 4608, 8192, 20_480][usize::from(shape & 3)];
        let mut builder = Builder {
            salt,
            next_salt,
            prepared: None,
            key: SegmentKey::new(salt),
            bytes: vec![0; to_usize(FIRST_FRAME_OFFSET)],
            durable_through: FIRST_FRAME_OFFSET,
            end: SegmentEnd { salt, offset: FIRST_FRAME_OFFSET, incarnation: before.incarnation.max(1), ..before },
            ends: Vec::new(),
            closed: false,
        };
        let (mut linked, mut built) = (false, Built::Open);
        match shape >> 2 & 7 {
            // Prepared: no frames at all.
            0 => {}
            // Frames without a link.
            1 => {
                builder.frame(SystemFrame::Watermark);
            }
            // A link that names another segment.
            2 => {
                let mut link = before.link();
                match input.u8() % 3 {
                    0 => link.salt ^= 1,
                    1 => link.end += 8,
                    _ => link.checksum ^= 1,
                }
                builder.frame(SystemFrame::Link(link, SETTINGS));
                built = Built::Corrupt;
            }
            _ => {
                builder.frame(SystemFrame::Link(before.link(), SETTINGS));
                linked = true;
            }
        }
        if linked {
            builder.frames(input);
            built = if builder.closed { Built::Closed } else { Built::Unproven };
        }
        let end = if linked { builder.end } else { before };

        // What stands behind the last frame.
        let mut tails = input.u8() % 4;
        let sole = tails == 1;
        while tails > 0 {
            let tail = builder.tail(input);
            if linked {
                built = if sole { tail } else { Built::Open };
            } else if built != Built::Corrupt {
                built = Built::Open;
            }
            tails -= 1;
        }
        let (prepared, ends) = (builder.prepared, builder.ends);
        let mut bytes = builder.bytes;
        let is_empty = bytes[to_usize(FIRST_FRAME_OFFSET)..].iter().all(|byte| *byte == 0);

        // A writer leaves zeroes; other lengths than a multiple of 8 are not its doing, and harmless.
        let least = capacity.max(bytes.len() as u64 + TAIL_ZEROES_LEN);
        let shape = input.u8();
        let mut file_len = least + u64::from(shape & 15);
        if shape >> 5 == 7 {
            file_len = match input.u8() % 3 {
                0 => input.u64() % (FIRST_FRAME_OFFSET + 256),
                1 => u64::from(input.u16()),
                _ => least - 1,
            };
            let needed = capacity.max(end.offset + TAIL_ZEROES_LEN);
            built = if linked && file_len < needed && end.offset <= file_len { Built::Corrupt } else { Built::Open };
        }
        bytes.resize(to_usize(file_len), 0);
        let info = SegmentInfo { number, salt, capacity, file_len };
        Self { info, readable: true, bytes, end, ends, linked, prepared, is_empty, built }
    }

    pub(super) fn key(&self) -> SegmentKey {
        SegmentKey::new(self.info.salt)
    }

    /// The bytes from the first frame on, as far as the file goes.
    pub(super) fn frames(&self) -> &[u8] {
        self.bytes.get(to_usize(FIRST_FRAME_OFFSET)..).unwrap_or_default()
    }
}

impl Builder {
    fn offset(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn place(&self) -> FramePlace {
        FramePlace {
            offset: self.offset(),
            incarnation: self.end.incarnation,
            durable_through: self.durable_through,
            first_position: self.end.position,
            recorded_at: 1_700_000_000_000,
        }
    }

    fn accept(&mut self, header: &FrameHeader) {
        self.closed = header.kind == 8;
        self.end.offset = self.offset();
        self.end.checksum = header.checksum;
        self.end.position = header.end_position();
        self.end.incarnation = header.incarnation;
        self.end.settled = false;
        self.ends.push(self.end);
    }

    fn frame(&mut self, frame: SystemFrame) {
        let place = self.place();
        let header = encode_system(frame, &self.key, &place, &mut self.bytes);
        self.accept(&header);
    }

    /// Frames that belong to the log.
    fn frames(&mut self, input: &mut Reader<'_>) {
        for _ in 0..input.u8() % 24 {
            // The writer synced up to here, at some point: a group may carry any such boundary.
            if input.u8() & 1 == 1 {
                self.durable_through = self.offset();
            }
            match input.u8() % 10 {
                0..=3 => {
                    let place = self.place();
                    let (header, bytes) = self.append(input, &place);
                    self.bytes.extend_from_slice(&bytes);
                    self.accept(&header);
                }
                4 => {
                    let settings = Configuration { idempotency_window: u32::from(input.u16()) };
                    self.frame(SystemFrame::Configuration(settings));
                }
                5 => self.frame(SystemFrame::Close),
                6 => self.frame(SystemFrame::Watermark),
                // The next segment's file stands, or is said to: the last such frame counts.
                shape @ (7 | 8) => {
                    let lie = if shape == 7 { 0 } else { 1 << (input.u8() % 64) };
                    let salt = self.next_salt ^ lie;
                    self.frame(SystemFrame::Prepared(PreparedSegment { salt }));
                    self.prepared = Some(salt);
                }
                _ => {
                    self.end.incarnation = match input.u8() {
                        255 => u32::MAX,
                        step => self.end.incarnation.saturating_add(u32::from(step)),
                    };
                    self.durable_through = self.offset();
                    self.frame(SystemFrame::Watermark);
                }
            }
        }
    }

    fn append(&self, input: &mut Reader<'_>, place: &FramePlace) -> (FrameHeader, Vec<u8>) {
        let append = super::frame::append(input).unwrap_or_else(|| {
            ProposedAppend::new()
                .events("plain", vec![ProposedEvent::new("Plain", "1")])
                .check(|| Uuid::from_u128(1))
                .expect("a plain append is valid")
        });
        let slot = StreamSlot { first_version: 0, with_name: true };
        let slots = vec![slot; append.streams().len()];
        let mut bytes = Vec::new();
        let plain = ExtensionArea::default();
        let header = encode_append(&append, &slots, &self.key, place, &plain, &mut bytes);
        (header, bytes)
    }

    /// Something that does not belong to the log, at the next offset or behind a gap. Says what it has to be taken for
    /// where it is the only such thing.
    fn tail(&mut self, input: &mut Reader<'_>) -> Built {
        let p = self.offset();
        let gap = 8 * (1 + input.below(300) as u64);
        let shape = input.u8() % 16;
        match shape {
            0 => {
                let place = self.place();
                let (_, mut bytes) = self.append(input, &place);
                let at = input.below(bytes.len());
                bytes[at] ^= input.u8().max(1);
                self.bytes.extend_from_slice(&bytes);
                Built::Torn
            }
            1 => {
                // Sectors at the end that were never written. Something of the header always is.
                let place = self.place();
                let (_, mut bytes) = self.append(input, &place);
                let cut = 1 + input.below(bytes.len() - 1);
                let whole = bytes.clone();
                bytes[cut..].fill(0);
                self.bytes.extend_from_slice(&bytes);
                if bytes == whole { Built::Open } else { Built::Torn }
            }
            2 if self.end.incarnation > 1 => {
                let place = FramePlace { incarnation: self.end.incarnation - 1, ..self.place() };
                let (_, bytes) = self.append(input, &place);
                self.bytes.extend_from_slice(&bytes);
                Built::Torn
            }
            3 => {
                let place = FramePlace { first_position: self.end.position + 1, ..self.place() };
                let (_, bytes) = self.append(input, &place);
                self.bytes.extend_from_slice(&bytes);
                Built::Corrupt
            }
            4 => {
                // A link where none belongs, and where it is the first frame, a foreign one.
                let place = self.place();
                let link = Link { salt: self.salt, end: p, checksum: self.end.checksum };
                let link = SystemFrame::Link(link, SETTINGS);
                encode_system(link, &self.key, &place, &mut self.bytes);
                Built::Corrupt
            }
            shape @ (5 | 6) => {
                self.bytes.resize(to_usize(p + gap), 0);
                let mut place = self.place();
                if shape == 6 {
                    place.durable_through = p + 8 * (1 + input.below(to_usize(gap) / 8) as u64);
                }
                let (_, bytes) = self.append(input, &place);
                self.bytes.extend_from_slice(&bytes);
                if shape == 6 { Built::Corrupt } else { Built::Torn }
            }
            7 => {
                if input.u8() & 1 == 1 {
                    self.bytes.resize(to_usize(p + gap), 0);
                }
                let summary = SegmentSummary {
                    data_end: self.offset(),
                    end_position: self.end.position,
                    ..SegmentSummary::default()
                };
                self.bytes.resize(to_usize(summary.footer_offset()), 0);
                let section = Section { kind: 9, required: false, bytes: input.bytes(40) };
                encode_footer(&summary, &[section], &self.key, &mut self.bytes);
                Built::Corrupt
            }
            _ => self.made_up(input, shape),
        }
        .aligned(&mut self.bytes)
    }

    /// Something that no writer of this version leaves, nor a crash of one, but for a torn announcement.
    fn made_up(&mut self, input: &mut Reader<'_>, shape: u8) -> Built {
        let p = self.offset();
        match shape {
            8 => {
                let len = input.below(512);
                self.bytes.extend_from_slice(input.bytes(len));
                Built::Open
            }
            9 => {
                self.bytes.resize(to_usize(p) + 8 * input.below(300), 0);
                let at = self.bytes.len();
                self.bytes.extend_from_slice(input.bytes(64));
                self.bytes.resize(at + 64, 0);
                let offset = at as u64;
                sums::repair_frame_header(&mut self.bytes[at..], self.salt, offset);
                Built::Open
            }
            10 => {
                self.bytes.resize(to_usize(p) + 8 * input.below(300), 0);
                let at = self.bytes.len();
                self.bytes.extend_from_slice(input.bytes(256));
                self.bytes.resize(at + 256, 0);
                let offset = at as u64;
                sums::repair_footer_header(&mut self.bytes[at..], self.salt, offset);
                Built::Open
            }
            11 => {
                // A frame of which all checksums are right, and a rule of the header is not kept.
                let place = self.place();
                let (_, mut bytes) = self.append(input, &place);
                let shape = input.u8();
                let stale = self.end.incarnation > 1 && shape >> 7 == 1;
                if stale {
                    bytes[40..44].copy_from_slice(&(self.end.incarnation - 1).to_le_bytes());
                }
                match shape % 4 {
                    0 => bytes[5] = 1,
                    1 => bytes[14] = 8,
                    // Not aligned, and past where the frame stands.
                    2 => bytes[32] |= 4,
                    _ => bytes[39] = 1,
                }
                sums::repair_frame(&mut bytes, self.salt, p);
                self.bytes.extend_from_slice(&bytes);
                if stale { Built::Torn } else { Built::Corrupt }
            }
            12 => {
                // A header whose frame reaches past the file's end, or is a leftover that does.
                let place = self.place();
                let (_, mut bytes) = self.append(input, &place);
                bytes.truncate(64 + input.below(bytes.len() - 64));
                bytes[8..12].copy_from_slice(&(1u32 << 20).to_le_bytes());
                let stale = self.end.incarnation > 1 && input.u8() & 1 == 1;
                if stale {
                    bytes[40..44].copy_from_slice(&(self.end.incarnation - 1).to_le_bytes());
                }
                sums::repair_frame_header(&mut bytes, self.salt, p);
                self.bytes.extend_from_slice(&bytes);
                if stale { Built::Torn } else { Built::Corrupt }
            }
            13 => {
                // A torn announcement announces nothing.
                let at = self.bytes.len();
                let place = self.place();
                let next = PreparedSegment { salt: self.next_salt ^ u64::from(input.u8()) };
                encode_system(SystemFrame::Prepared(next), &self.key, &place, &mut self.bytes);
                let len = self.bytes.len() - at;
                self.bytes[at + input.below(len)] ^= input.u8().max(1);
                Built::Torn
            }
            // A sound frame of which the input changes some fields, summed right again.
            _ => {
                let place = self.place();
                let (_, mut bytes) = self.append(input, &place);
                input.patch(&mut bytes);
                sums::repair_frame(&mut bytes, self.salt, p);
                self.bytes.extend_from_slice(&bytes);
                Built::Open
            }
        }
    }
}

impl Built {
    /// Fills up to the next place where a frame can stand.
    fn aligned(self, bytes: &mut Vec<u8>) -> Self {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        self
    }
}

pub(super) fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).expect("an image is in memory")
}
