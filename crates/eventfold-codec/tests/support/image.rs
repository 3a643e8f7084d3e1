//! Segments built in memory.

use eventfold_codec::recovery::{Progress, SegmentEnd, SegmentFacts, SegmentInfo, SegmentScan, Successor};
use eventfold_codec::{
    Configuration, ExtensionArea, FIRST_FRAME_OFFSET, FrameHeader, FramePlace, MIN_SEGMENT_SIZE, SegmentHeader,
    SegmentKey, StreamSlot, SystemFrame, TAIL_ZEROES_LEN, Unsupported, ValidAppend, encode_append, encode_system,
};
use uuid::Uuid;

/// A segment's file in the making, and what its writer knows.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) header: SegmentHeader,
    pub(crate) key: SegmentKey,
    pub(crate) before: SegmentEnd,
    /// Header and frames, without the zeroes that follow.
    pub(crate) bytes: Vec<u8>,
    /// Where each frame starts, and its header.
    pub(crate) frames: Vec<(u64, FrameHeader)>,
    pub(crate) position: u64,
    pub(crate) incarnation: u32,
    pub(crate) group_start: u64,
}

impl Image {
    /// A segment with its header and its link frame, behind `before`.
    pub(crate) fn new(number: u32, salt: u64, before: SegmentEnd) -> Self {
        let header =
            SegmentHeader { segment_size: MIN_SEGMENT_SIZE, ..SegmentHeader::new(Uuid::from_u128(0xE5), number, salt) };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        let mut image = Self {
            key: header.key(),
            header,
            before,
            bytes,
            frames: Vec::new(),
            position: before.position,
            incarnation: before.incarnation.max(1),
            group_start: FIRST_FRAME_OFFSET,
        };
        let settings = Configuration { idempotency_window: header.idempotency_window };
        image.system(SystemFrame::Link(before.link(), settings));
        image
    }

    /// The first segment of a log.
    pub(crate) fn first(salt: u64) -> Self {
        Self::new(0, salt, SegmentEnd::GENESIS)
    }

    pub(crate) fn end(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// From here on, all that was written is synced.
    pub(crate) fn next_group(&mut self) {
        self.group_start = self.end();
    }

    pub(crate) fn place(&self) -> FramePlace {
        FramePlace {
            offset: self.end(),
            incarnation: self.incarnation,
            durable_through: self.group_start,
            first_position: self.position,
            recorded_at: 1_700_000_000_000 + self.position,
        }
    }

    pub(crate) fn system(&mut self, frame: SystemFrame) -> FrameHeader {
        let place = self.place();
        let header = encode_system(frame, &self.key, &place, &mut self.bytes);
        self.frames.push((place.offset, header));
        header
    }

    /// Appends a frame whose streams all start at version 0; versions don't matter to a scan.
    pub(crate) fn append(&mut self, append: &ValidAppend) -> FrameHeader {
        let place = self.place();
        let slots = vec![StreamSlot { first_version: 0, with_name: true }; append.streams().len()];
        let header = encode_append(append, &slots, &self.key, &place, &ExtensionArea::default(), &mut self.bytes);
        self.frames.push((place.offset, header));
        self.position = header.end_position();
        header
    }

    /// The whole file: as long as the segment's capacity, or longer where it has to be.
    pub(crate) fn file(&self) -> Vec<u8> {
        let mut file = self.bytes.clone();
        let len = self.header.capacity().max(self.end() + TAIL_ZEROES_LEN);
        file.resize(usize::try_from(len).expect("a small segment"), 0);
        file
    }

    /// How the segment ends, for the next to link to.
    pub(crate) fn segment_end(&self) -> SegmentEnd {
        let (_, last) = self.frames.last().expect("there is a link frame");
        SegmentEnd {
            salt: self.header.salt,
            offset: self.end(),
            checksum: last.checksum,
            position: self.position,
            incarnation: self.incarnation,
            settled: false,
        }
    }

    /// Scans `file` as this segment.
    pub(crate) fn scan(&self, file: &[u8], successor: Option<Successor>) -> Result<SegmentFacts, Unsupported> {
        scan_all(&self.header, file, self.before, successor).map(|(facts, _)| facts)
    }
}

/// Scans a segment that is in memory whole. Also returns where each accepted frame starts.
pub(crate) fn scan_all(
    header: &SegmentHeader,
    file: &[u8],
    before: SegmentEnd,
    successor: Option<Successor>,
) -> Result<(SegmentFacts, Vec<u64>), Unsupported> {
    let info = SegmentInfo::new(header, file.len() as u64);
    let mut scan = SegmentScan::new(info, before, successor);
    let mut accepted = Vec::new();
    loop {
        match scan.step(0, file)? {
            Progress::Frame(frame) => accepted.push(frame.frame().offset()),
            Progress::Need { offset, len } => {
                panic!("the window is the whole file, yet {len} at {offset} are needed")
            }
            Progress::Done => return Ok((scan.finish(), accepted)),
        }
    }
}
