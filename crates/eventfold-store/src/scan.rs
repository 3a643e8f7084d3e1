//! Reading the log as it stands in the files, one append after the other, without a copy of any event.

use std::ops::ControlFlow;

use eventfold_codec::{EventRef, Events, FrameError, FrameHeader};

use crate::error::{Error, ReadError};
use crate::event_reader::EventReader;
use crate::frames::FrameWalk;
use crate::log::Snapshot;
use crate::segment::Segment;
use crate::storage::DataFile;

impl Snapshot {
    /// All events from position `from` on, up to the [head](Self::head), borrowed and one append after the other: the
    /// fastest way to read much of a log. Files are read in large pieces and past the cache, which a scan would only sweep.
    ///
    /// ```
    /// use eventfold_store::{ExpectedVersion, ProposedEvent, Store};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path();
    /// let mut store = Store::open(path)?;
    /// let deposits = [500, 250].map(|cents: u32| ProposedEvent::new("Deposited", cents.to_string())).to_vec();
    /// store.append("account-7", ExpectedVersion::NoStream, deposits)?;
    ///
    /// let snapshot = store.log().snapshot();
    /// let mut scan = snapshot.scan(0);
    /// let mut payload_bytes = 0;
    /// while let Some(events) = scan.next_append()? {
    ///     for event in events {
    ///         payload_bytes += event?.payload.len();
    ///     }
    /// }
    /// assert_eq!((payload_bytes, scan.position()), (6, 2));
    /// # store.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scan(&self, from: u64) -> Scan<'_> {
        Scan { snapshot: self, current: None, position: from }
    }
}

/// A scan of a snapshot. See [`Snapshot::scan`].
#[derive(Debug)]
pub struct Scan<'a> {
    snapshot: &'a Snapshot,
    /// The segment that is read, and its frames.
    current: Option<(Segment<'a>, FrameWalk)>,
    /// The next position to read.
    position: u64,
}

impl Scan<'_> {
    /// The position of the first event that was not handed out yet: where another scan would go on. The events of an append
    /// count as handed out when the append is.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The events of the next append; `None` at the snapshot's head. Where the scan begins within an append, it is those from
    /// there on.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the disk fails or a frame is damaged. Calling it again tries the same append again.
    pub fn next_append(&mut self) -> Result<Option<AppendEvents<'_>>, Error> {
        if self.position >= self.snapshot.head {
            return Ok(None);
        }
        if let Err(error) = self.seek() {
            self.current = None;
            return Err(error.into());
        }
        let Some((segment, walk)) = self.current.as_ref() else { return Ok(None) };
        let (file, position) = (segment.file(), self.position);
        let frame = walk.frame(file)?;
        self.position = frame.header().end_position();
        let events = frame.events_from(skipped(frame.header(), position));
        Ok(Some(AppendEvents { events, file, offset: frame.offset() }))
    }

    /// Hands every event from here on to `each`, up to the snapshot's head or until it breaks. Where appends are small, this is
    /// faster than going through them.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the disk fails or an event is damaged. Calling it again tries the same event again.
    #[inline]
    pub fn for_each(&mut self, mut each: impl FnMut(EventRef<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        while self.position < self.snapshot.head {
            if let Err(error) = self.seek() {
                self.current = None;
                return Err(error.into());
            }
            let Some((segment, walk)) = self.current.as_mut() else { return Ok(()) };
            // Going on from frame to frame in here, with all of it in one loop, takes half as long as seeking each.
            let mut frames = walk.in_window();
            let after = loop {
                let offset = frames.offset();
                let frame = match frames.next() {
                    Some(Ok(frame)) if frame.header().first_position <= self.position => frame,
                    // Where the window ends, and for what is wrong, `seek` knows what to do.
                    _ => break offset,
                };
                for event in frame.events_from(skipped(frame.header(), self.position)) {
                    let Ok(event) = event else { return Err(damaged(event, segment.file(), offset)) };
                    self.position += 1;
                    if each(event).is_break() {
                        return Ok(());
                    }
                }
                if self.position >= self.snapshot.head {
                    return Ok(());
                }
            };
            walk.go_to(after);
        }
        Ok(())
    }

    /// Goes on to the frame that has the next event.
    #[inline]
    fn seek(&mut self) -> Result<(), ReadError> {
        if let Some((_, walk)) = &self.current
            && walk.header().is_some_and(|header| header.end_position() > self.position)
        {
            return Ok(());
        }
        let storage = &self.snapshot.shared.storage;
        loop {
            if let Some((segment, walk)) = &mut self.current {
                let file = segment.file();
                while let Some(header) = walk.advance(storage, file)? {
                    if header.first_position > self.position {
                        return Err(missing(file));
                    }
                    // Frames without events end where they begin.
                    if header.end_position() > self.position {
                        return Ok(());
                    }
                }
            }
            let before = self.current.take().map(|(segment, _)| segment.number());
            let (segment, walk) = self.snapshot.frames_at(self.position)?;
            if before == Some(segment.number()) {
                return Err(missing(segment.file()));
            }
            self.current = Some((segment, walk));
        }
    }
}

impl Snapshot {
    /// The frames from the one on that has the event at this position, or from one before it.
    fn frames_at(&self, position: u64) -> Result<(Segment<'_>, FrameWalk), ReadError> {
        let segment = self.parts.segment(self.parts.find(position)).expect("a position below the head is in a segment");
        let offset = EventReader::locate(segment, position)?;
        Ok((segment, FrameWalk::new(*segment.key(), offset, segment.end())))
    }
}

/// How many events of a frame come before a position.
#[inline]
fn skipped(header: &FrameHeader, position: u64) -> u32 {
    u32::try_from(position.saturating_sub(header.first_position)).expect("the frame has the position")
}

#[cold]
#[inline(never)]
fn damaged(event: Result<EventRef<'_>, FrameError>, file: &DataFile, offset: u64) -> Error {
    let source = event.expect_err("it is called for what is damaged");
    ReadError::Frame { file: file.name().to_owned(), offset, source }.into()
}

#[cold]
fn missing(file: &DataFile) -> ReadError {
    ReadError::Index { file: file.name().to_owned(), what: "no frame has the position that comes next" }
}

/// The events of an append, each verified as it is reached. See [`Scan::next_append`].
#[derive(Clone, Debug)]
pub struct AppendEvents<'a> {
    events: Events<'a>,
    file: &'a DataFile,
    offset: u64,
}

impl<'a> Iterator for AppendEvents<'a> {
    type Item = Result<EventRef<'a>, Error>;

    #[expect(
        clippy::inline_always,
        reason = "a call per event hands it over in memory, which costs as much as decoding"
    )]
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        match self.events.next()? {
            Ok(event) => Some(Ok(event)),
            Err(source) => Some(Err(self.damaged(source))),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.events.size_hint()
    }
}

impl ExactSizeIterator for AppendEvents<'_> {}

impl AppendEvents<'_> {
    #[cold]
    #[inline(never)]
    fn damaged(&self, source: FrameError) -> Error {
        ReadError::Frame { file: self.file.name().to_owned(), offset: self.offset, source }.into()
    }
}
