//! Reading frames in a row, in large windows, past the cache.

use eventfold_codec::{FRAME_HEADER_LEN, Frame, FrameError, FrameHeader, SegmentKey};

use crate::error::ReadError;
use crate::storage::{DataFile, Storage, usize_of};

/// What is read at once: large enough that a read costs little beside what it brings.
const WINDOW_LEN: u64 = 1 << 20;

/// The frames of a segment between two offsets, one after the other, from a window that it owns.
#[derive(Debug)]
pub(crate) struct FrameWalk {
    key: SegmentKey,
    /// The frame that it stands at: its offset and verified header.
    current: Option<(u64, FrameHeader)>,
    /// The next frame's offset.
    offset: u64,
    end: u64,
    window: Vec<u8>,
    /// The offset at which the window starts.
    window_start: u64,
}

impl FrameWalk {
    /// The frames from `offset`, where one starts, to `end`, where one ends.
    pub(crate) fn new(key: SegmentKey, offset: u64, end: u64) -> Self {
        Self { key, current: None, offset, end, window: Vec::new(), window_start: offset }
    }

    /// The next frame, of which the header is verified; `None` at the end.
    pub(crate) fn next<'a>(&'a mut self, storage: &Storage, file: &DataFile) -> Result<Option<Frame<'a>>, ReadError> {
        if self.advance(storage, file)?.is_none() {
            return Ok(None);
        }
        self.frame(file).map(Some)
    }

    /// Goes on to the next frame and has all of it in the window. Returns its verified header; `None` at the end.
    #[inline]
    pub(crate) fn advance(&mut self, storage: &Storage, file: &DataFile) -> Result<Option<FrameHeader>, ReadError> {
        if self.offset >= self.end {
            return Ok(None);
        }
        let offset = self.offset;
        let damaged = |source: FrameError| ReadError::Frame { file: file.name().to_owned(), offset, source };
        if !self.has(FRAME_HEADER_LEN as u64) {
            self.fetch(storage, file, FRAME_HEADER_LEN as u64).map_err(|error| error.unwrap_or_else(damaged))?;
        }
        let header = FrameHeader::read(self.at(offset), &self.key, offset).map_err(damaged)?;
        header.check(offset).map_err(damaged)?;
        if !self.has(header.frame_len.into()) {
            self.fetch(storage, file, header.frame_len.into()).map_err(|error| error.unwrap_or_else(damaged))?;
        }
        self.current = Some((offset, header));
        self.offset += u64::from(header.frame_len);
        Ok(Some(header))
    }

    /// The header of that frame; `None` before the first.
    pub(crate) fn header(&self) -> Option<&FrameHeader> {
        self.current.as_ref().map(|(_, header)| header)
    }

    /// The frame that the walk has [gone on](Self::advance) to.
    #[inline]
    pub(crate) fn frame(&self, file: &DataFile) -> Result<Frame<'_>, ReadError> {
        let (offset, header) = self.current.expect("the walk has gone on to a frame");
        Frame::with_header(header, self.at(offset), &self.key, offset).map_err(|source| ReadError::Frame {
            file: file.name().to_owned(),
            offset,
            source,
        })
    }

    /// The frames from the one on that the walk has [gone on](Self::advance) to, as far as they are in the window.
    #[inline]
    pub(crate) fn in_window(&self) -> WindowFrames<'_> {
        let offset = self.current.map_or(self.offset, |(offset, _)| offset);
        WindowFrames { key: &self.key, bytes: self.at(offset), offset }
    }

    /// Goes on to before the frame at this offset, one that [`in_window`](Self::in_window) came to.
    pub(crate) fn go_to(&mut self, offset: u64) {
        (self.current, self.offset) = (None, offset);
    }

    #[inline]
    fn at(&self, offset: u64) -> &[u8] {
        &self.window[usize_of(offset - self.window_start)..]
    }

    #[inline]
    fn has(&self, len: u64) -> bool {
        self.offset + len <= self.end.min(self.window_start + self.window.len() as u64)
    }

    /// Has at least `len` bytes from the next frame on in the window.
    #[cold]
    fn fetch(&mut self, storage: &Storage, file: &DataFile, len: u64) -> Result<(), Fetch> {
        let available = self.end - self.offset;
        if len > available {
            return Err(Fetch::Damaged(FrameError::Truncated { needed: len, available }));
        }
        if self.offset + len > self.window_start + self.window.len() as u64 {
            self.window.resize(usize_of(len.max(WINDOW_LEN).min(available)), 0);
            self.window_start = self.offset;
            storage.read_into(file, self.offset, &mut self.window).map_err(|error| Fetch::Failed(error.into()))?;
        }
        Ok(())
    }
}

/// See [`FrameWalk::in_window`].
pub(crate) struct WindowFrames<'a> {
    key: &'a SegmentKey,
    /// The window from the next frame on.
    bytes: &'a [u8],
    offset: u64,
}

impl<'a> WindowFrames<'a> {
    /// The next frame; `None` where the window ends before it does.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Result<Frame<'a>, FrameError>> {
        match Frame::open(self.bytes, self.key, self.offset) {
            Ok(frame) => {
                self.bytes = &self.bytes[frame.bytes().len()..];
                self.offset += frame.bytes().len() as u64;
                Some(Ok(frame))
            }
            Err(FrameError::Truncated { .. }) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// The next frame's offset.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }
}

enum Fetch {
    Failed(ReadError),
    Damaged(FrameError),
}

impl Fetch {
    fn unwrap_or_else(self, damaged: impl FnOnce(FrameError) -> ReadError) -> ReadError {
        match self {
            Self::Failed(error) => error,
            Self::Damaged(error) => damaged(error),
        }
    }
}
