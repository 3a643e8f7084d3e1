//! Reading a segment's bytes for the judge.

use super::{Broken, Judge, ResumePoint, Ruling, SegmentEnd, SegmentFacts, SegmentInfo, Successor};
use crate::checksum::SegmentKey;
use crate::error::{FrameError, Unsupported};
use crate::footer::{FOOTER_HEADER_LEN, FOOTER_MAGIC, FooterHeader};
use crate::frame::{FRAME_MAGIC, Frame, FrameHeader, VerifiedFrame};
use crate::limits::{FIRST_FRAME_OFFSET, FRAME_HEADER_LEN};

/// The link frame at the start of a segment's frames, if a sound one stands there. `bytes` start at
/// [`FIRST_FRAME_OFFSET`]; what there is of the first 8 KiB is enough, whatever extensions the frame has.
///
/// # Errors
///
/// [`Unsupported`] where the frame needs a newer version.
pub fn find_successor(bytes: &[u8], key: &SegmentKey) -> Result<Option<Successor>, Unsupported> {
    let frame = match Frame::open(bytes, key, FIRST_FRAME_OFFSET).and_then(|frame| frame.verify()) {
        Ok(frame) => frame,
        Err(FrameError::Unsupported(newer)) => return Err(newer),
        Err(_) => return Ok(None),
    };
    let header = frame.frame().header();
    Ok(frame.fields().link.map(|link| Successor {
        link,
        position: header.first_position,
        incarnation: header.incarnation,
    }))
}

/// Whether `bytes`, which start at `offset`, are sound frames from their first byte to their last: what recovery has to know
/// of bytes that it read again in order to write them again.
pub fn holds_frames(bytes: &[u8], key: &SegmentKey, mut offset: u64) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let Ok(frame) = Frame::open(rest, key, offset).and_then(|frame| frame.verify()) else { return false };
        let len = frame.frame().bytes().len();
        rest = &rest[len..];
        offset += len as u64;
    }
    true
}

/// Reads one segment, frame by frame, then what stands beyond its last frame.
///
/// The caller brings the bytes, in windows as large as it likes: a step that needs others says which. What is allocated
/// is small beside them: a few words a stream of the frame being verified, and two a frame of the last group.
///
/// What a scan has accepted stands in the caller's memory, and there it has to stay where the plan says to
/// [write it again](super::Step::Rewrite): read a second time, the page cache may show something else.
///
/// ```
/// use eventfold_codec::recovery::{Progress, SegmentEnd, SegmentFacts, SegmentInfo, SegmentScan};
/// use eventfold_codec::{SegmentHeader, Unsupported};
///
/// /// Scans a segment that is in memory whole.
/// fn scan(file: &[u8], header: &SegmentHeader, before: SegmentEnd) -> Result<SegmentFacts, Unsupported> {
///     let info = SegmentInfo::new(header, file.len() as u64);
///     let mut scan = SegmentScan::new(info, before, None);
///     loop {
///         match scan.step(0, file)? {
///             Progress::Frame(frame) => println!("{:?} at {}", frame.frame().kind(), frame.frame().offset()),
///             Progress::Need { .. } => unreachable!("the window is the whole file"),
///             Progress::Done => return Ok(scan.finish()),
///         }
///     }
/// }
/// # let header = SegmentHeader::new(uuid::Uuid::nil(), 0, 1);
/// # let facts = scan(&vec![0; 1 << 20], &header, SegmentEnd::GENESIS).unwrap();
/// # assert!(!facts.linked);
/// ```
#[derive(Clone, Debug)]
pub struct SegmentScan {
    judge: Judge,
    key: SegmentKey,
    file_len: u64,
    /// The next offset to look at.
    offset: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Frame after frame.
    Forward,
    /// Behind the last frame, at every multiple of 8.
    Beyond,
    Done,
}

/// What a step of a [`SegmentScan`] came to.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'w> {
    /// An accepted frame.
    Frame(VerifiedFrame<'w>),
    /// The next step needs a window that starts at or before `offset` and holds the `len` bytes from there. It never
    /// asks for bytes behind the file's end, nor for more than one frame.
    Need {
        /// Where the bytes start.
        offset: u64,
        /// How many are needed.
        len: u64,
    },
    /// All was seen.
    Done,
}

impl SegmentScan {
    /// A scan of the segment `info`, which follows `before`. `successor` is what [`find_successor`] found in the next
    /// segment.
    pub fn new(info: SegmentInfo, before: SegmentEnd, successor: Option<Successor>) -> Self {
        Self::from_judge(info, Judge::new(info, before, successor))
    }

    /// A scan that goes on at `from`, as one does that has accepted every frame below. It reads nothing below, takes all of it
    /// as synced, so that recovery writes none of it again, and comes to the same facts.
    ///
    /// Whoever resumes vouches for that: a close frame that was synced, and that ends where the log's frames did when its
    /// checkpoint was written, does.
    ///
    /// # Panics
    ///
    /// If no frame can end at [`from.offset`](ResumePoint::offset).
    pub fn resume(info: SegmentInfo, before: SegmentEnd, successor: Option<Successor>, from: ResumePoint) -> Self {
        Self::from_judge(info, Judge::resume(info, before, successor, from))
    }

    fn from_judge(info: SegmentInfo, judge: Judge) -> Self {
        Self {
            key: SegmentKey::new(info.salt),
            file_len: info.file_len,
            offset: judge.end(),
            phase: Phase::Forward,
            judge,
        }
    }

    /// Up to where the frames accepted so far are known to have been synced. What stands from there on has to be kept, or
    /// read and verified anew, to be written again.
    pub fn proven(&self) -> u64 {
        self.judge.proven().offset
    }

    /// Reads on in `window`, which starts at `window_offset` of the file.
    ///
    /// # Errors
    ///
    /// [`Unsupported`] where a sound frame needs a newer version: this is no end of the log, and nothing of it may be
    /// touched.
    pub fn step<'w>(&mut self, window_offset: u64, window: &'w [u8]) -> Result<Progress<'w>, Unsupported> {
        let view = Window { offset: window_offset, bytes: window, file_len: self.file_len };
        if self.phase == Phase::Forward {
            match self.next_frame(&view)? {
                Forward::Frame(frame) => return Ok(Progress::Frame(frame)),
                Forward::Need(len) => {
                    return Ok(Progress::Need { offset: self.offset, len });
                }
                Forward::Whole => self.phase = Phase::Done,
                Forward::Ended => self.phase = Phase::Beyond,
            }
        }
        if self.phase == Phase::Beyond {
            if let Some(len) = self.look_on(&view) {
                return Ok(Progress::Need { offset: self.offset, len });
            }
            self.phase = Phase::Done;
        }
        Ok(Progress::Done)
    }

    /// What was found.
    ///
    /// # Panics
    ///
    /// If no step has said [`Progress::Done`] yet: what is not known to be zero may prove that the log went on.
    pub fn finish(self) -> SegmentFacts {
        assert_eq!(self.phase, Phase::Done, "the scan has not seen all there is");
        self.judge.finish()
    }

    fn next_frame<'w>(&mut self, window: &Window<'w>) -> Result<Forward<'w>, Unsupported> {
        if self.judge.is_whole() {
            return Ok(Forward::Whole);
        }
        let Some(bytes) = window.from(self.offset, FRAME_HEADER_LEN as u64) else {
            return Ok(Forward::Need(window.wanted(self.offset, FRAME_HEADER_LEN as u64)));
        };
        let frame = match Frame::open(bytes, &self.key, self.offset) {
            // The header is sound and the window too small: the rest may be in the file.
            Err(FrameError::Truncated { needed, .. }) if window.wanted(self.offset, needed) > bytes.len() as u64 => {
                return Ok(Forward::Need(window.wanted(self.offset, needed)));
            }
            frame => frame.and_then(|frame| frame.verify()),
        };
        match frame {
            Ok(frame) => {
                let header = frame.frame().header();
                if self.judge.frame(header, frame.fields()) == Ruling::Ended {
                    return Ok(Forward::Ended);
                }
                self.offset += u64::from(header.frame_len);
                Ok(Forward::Frame(frame))
            }
            Err(FrameError::Unsupported(newer)) => Err(newer),
            Err(error) => {
                let header = FrameHeader::read_valid(bytes, &self.key, self.offset).ok();
                self.judge.broken(Broken::Frame(error), header.as_ref());
                Ok(Forward::Ended)
            }
        }
    }

    /// Looks at every multiple of 8 from the end of the frames to the end of the file. Says how many bytes it needs where
    /// the window has no more.
    fn look_on(&mut self, window: &Window<'_>) -> Option<u64> {
        const LARGEST: u64 = FOOTER_HEADER_LEN as u64;
        while self.offset < self.file_len {
            let Some(bytes) = window.from(self.offset, LARGEST) else {
                return Some(window.wanted(self.offset, LARGEST));
            };
            // Headers are looked for as long as the window holds a whole one, or the file ends with it.
            let ends_file = self.offset + bytes.len() as u64 == self.file_len;
            // Whole words are searched; what is left of the file's last one ends the search.
            let searched = if ends_file { bytes.len() } else { (bytes.len() - (FOOTER_HEADER_LEN - 8)) & !7 };
            self.search(bytes, searched);
            self.offset += searched as u64;
        }
        None
    }

    /// Looks at the multiples of 8 below `len` in `bytes`, which start at the scan's offset.
    fn search(&mut self, bytes: &[u8], len: usize) {
        let mut at = 0;
        while at < len {
            // Most of what follows a log is zeroes: whole blocks of them are passed over.
            if let Some(block) = bytes[at..len].first_chunk::<64>()
                && *block == [0; 64]
            {
                at += 64;
                continue;
            }
            let word = &bytes[at..len.min(at + 8)];
            if let Some(last) = word.iter().rposition(|byte| *byte != 0) {
                let offset = self.offset + at as u64;
                self.judge.content(offset + last as u64 + 1);
                if word.starts_with(&FRAME_MAGIC) && offset > self.judge.end() {
                    if let Ok(header) = FrameHeader::read_valid(&bytes[at..], &self.key, offset) {
                        self.judge.header_beyond(offset, &header);
                    }
                } else if *word == FOOTER_MAGIC
                    && let Some(position) = FooterHeader::end_position_at(&bytes[at..], &self.key, offset)
                {
                    self.judge.footer_beyond(offset, position);
                }
            }
            at += 8;
        }
    }
}

enum Forward<'w> {
    Frame(VerifiedFrame<'w>),
    Need(u64),
    Whole,
    Ended,
}

/// A part of a file that is in memory.
struct Window<'w> {
    offset: u64,
    bytes: &'w [u8],
    file_len: u64,
}

impl<'w> Window<'w> {
    /// The window's bytes from `offset` on, if they are at least `len`, or all that the file has.
    fn from(&self, offset: u64, len: u64) -> Option<&'w [u8]> {
        let wanted = self.wanted(offset, len);
        if wanted == 0 {
            // The file ends at or before `offset`, so no window can hold more than this one.
            return Some(&[]);
        }
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        let bytes = self.bytes.get(start..)?;
        (bytes.len() as u64 >= wanted).then_some(bytes)
    }

    /// `len`, or what the file has from `offset` on, if that is less.
    fn wanted(&self, offset: u64, len: u64) -> u64 {
        len.min(self.file_len.saturating_sub(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Configuration, FramePlace, SystemFrame, encode_system, tables::frame_header};
    use crate::recovery::{Proof, SegmentEnd};

    const LINK_END: u64 = FIRST_FRAME_OFFSET + 96;
    const FILE_LEN: usize = 16_384;

    fn key() -> SegmentKey {
        SegmentKey::new(11)
    }

    fn put(file: &mut [u8], frame: SystemFrame, offset: u64, incarnation: u32, durable_through: u64) {
        let place = FramePlace { offset, incarnation, durable_through, first_position: 0, recorded_at: 0 };
        let mut bytes = Vec::new();
        encode_system(frame, &key(), &place, &mut bytes);
        file[usize::try_from(offset).unwrap()..][..bytes.len()].copy_from_slice(&bytes);
    }

    fn linked_file() -> Vec<u8> {
        let mut file = vec![0; FILE_LEN];
        let link = SystemFrame::Link(SegmentEnd::GENESIS.link(), Configuration { idempotency_window: 9 });
        put(&mut file, link, FIRST_FRAME_OFFSET, 1, FIRST_FRAME_OFFSET);
        file
    }

    fn scan(file: &[u8]) -> SegmentFacts {
        let info = SegmentInfo { number: 0, salt: 11, capacity: 12_288, file_len: file.len() as u64 };
        let mut scan = SegmentScan::new(info, SegmentEnd::GENESIS, None);
        loop {
            match scan.step(0, file).unwrap() {
                Progress::Frame(_) => {}
                Progress::Need { offset, len } => panic!("{len} bytes at {offset} of {}", file.len()),
                Progress::Done => return scan.finish(),
            }
        }
    }

    #[test]
    fn a_file_that_ends_before_its_first_frame_is_read_without_asking_for_more() {
        // Preparing a segment can be cut between the two copies of its header.
        for len in [0, 4096, 8191, 8192, 8193, 8200] {
            let facts = scan(&vec![0; len]);
            assert!(!facts.linked);
            assert_eq!(facts.content_end, None);
        }
    }

    #[test]
    fn a_valid_header_with_reserved_bytes_set_proves_what_was_synced() {
        let mut file = linked_file();
        let offset = LINK_END + 64;
        put(&mut file, SystemFrame::Watermark, offset, 1, offset);
        let header = &mut file[usize::try_from(offset).unwrap()..][..FRAME_HEADER_LEN];
        frame_header::RESERVED_B.set_u16(header, 1);
        let checksum = key().frame_header(offset, &header[..frame_header::HEADER_CHECKSUM.offset]);
        frame_header::HEADER_CHECKSUM.set_u32(header, checksum);
        let facts = scan(&file);
        assert_eq!(facts.frames_end, LINK_END);
        assert!(matches!(facts.proof, Some(Proof::DurableThrough { header, .. }) if header == offset));
    }

    #[test]
    fn the_incarnation_of_a_torn_frame_at_the_end_is_not_used_again() {
        let mut file = linked_file();
        let configuration = SystemFrame::Configuration(Configuration { idempotency_window: 5 });
        put(&mut file, configuration, LINK_END, 7, LINK_END);
        let body = usize::try_from(LINK_END).unwrap() + FRAME_HEADER_LEN;
        file[body..body + 8].fill(0);
        let facts = scan(&file);
        assert_eq!(facts.frames_end, LINK_END);
        assert_eq!(facts.highest_incarnation, 7);
        assert_eq!((facts.proof, facts.next_valid), (None, None));
    }
}
