//! The reads of an index, for those who must not block.

use eventfold_store::{Direction, Error, Query, RecordedEvent, StreamInfo, StreamRef};

use crate::index::ReadIndex;
use crate::pool::Offload;

/// The reads of a [`ReadIndex`] as futures: the same names, arguments and errors. [`ReadIndex::in_background`] gives it.
///
/// Each is a call of [`ReadIndex::offload`], and reads the log as it is when its turn comes.
#[derive(Clone, Copy, Debug)]
pub struct AsyncReads<'a> {
    index: &'a ReadIndex,
}

impl<'a> AsyncReads<'a> {
    pub(crate) fn new(index: &'a ReadIndex) -> Self {
        Self { index }
    }

    /// See [`ReadIndex::read_all`].
    pub fn read_all(self, from: u64, max_count: u64) -> Offload<Vec<RecordedEvent>> {
        self.index.offload(move |log| log.read_all(from, max_count, Direction::Forward))
    }

    /// See [`ReadIndex::read_all_backward`].
    pub fn read_all_backward(self, from: u64, max_count: u64) -> Offload<Vec<RecordedEvent>> {
        self.index.offload(move |log| log.read_all(from, max_count, Direction::Backward))
    }

    /// See [`ReadIndex::read_stream`].
    pub fn read_stream(
        self,
        stream: impl Into<StreamRef>,
        from_version: u64,
        max_count: u64,
    ) -> Offload<Vec<RecordedEvent>> {
        let stream = stream.into();
        self.index.offload(move |log| log.read_stream(stream, from_version, max_count, Direction::Forward))
    }

    /// See [`ReadIndex::read_stream_backward`].
    pub fn read_stream_backward(
        self,
        stream: impl Into<StreamRef>,
        from_version: u64,
        max_count: u64,
    ) -> Offload<Vec<RecordedEvent>> {
        let stream = stream.into();
        self.index.offload(move |log| log.read_stream(stream, from_version, max_count, Direction::Backward))
    }

    /// See [`ReadIndex::query`].
    pub fn query(self, query: impl Into<Query>, from: u64, max_count: u64) -> Offload<Vec<RecordedEvent>> {
        let query = query.into();
        self.index.offload(move |log| log.query(query, from, max_count, Direction::Forward))
    }

    /// See [`ReadIndex::query_backward`].
    pub fn query_backward(self, query: impl Into<Query>, from: u64, max_count: u64) -> Offload<Vec<RecordedEvent>> {
        let query = query.into();
        self.index.offload(move |log| log.query(query, from, max_count, Direction::Backward))
    }

    /// See [`ReadIndex::event`].
    pub fn event(self, position: u64) -> Offload<Option<RecordedEvent>> {
        self.index.offload(move |log| log.event(position))
    }

    /// See [`ReadIndex::stream_version`].
    pub fn stream_version(self, stream: impl Into<StreamRef>) -> Offload<Option<u64>> {
        let stream = stream.into();
        self.index.offload(move |log| Ok(log.stream_info(stream)?.map(|info| info.version)))
    }

    /// See [`ReadIndex::stream_info`].
    pub fn stream_info(self, stream: impl Into<StreamRef>) -> Offload<Option<StreamInfo>> {
        let stream = stream.into();
        self.index.offload(move |log| log.stream_info(stream))
    }

    /// See [`ReadIndex::streams`].
    pub fn streams(self, prefix: impl Into<String>, after: Option<&str>, max_count: usize) -> Offload<Vec<StreamInfo>> {
        let (prefix, after) = (prefix.into(), after.map(ToOwned::to_owned));
        self.index.offload(move |log| -> Result<_, Error> { log.streams(&prefix, after.as_deref(), max_count) })
    }
}
