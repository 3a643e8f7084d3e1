//! Reading.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use bytes::Bytes;
use eventfold_db::{
    BatchLimits, Direction, Error, Offload, Pages, Query, ReadIndex, RecordedEvent, Snapshot, StreamRef,
};
use eventfold_proto::convert::{
    EncodedEvents, Failed, Malformed, events_to_wire, failure_of, query_from_wire, stream_from_wire,
};
use eventfold_proto::v1;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::Stream;
use tonic::Status;

use super::{Call, Service};
use crate::access::Role;
use crate::options::count;

/// The events of a read, in messages of many. The next are read while one is sent.
pub(crate) struct Reading {
    index: ReadIndex,
    limits: BatchLimits,
    left: u64,
    /// Pages that were read and are still to be sent.
    pages: vec::IntoIter<Vec<Bytes>>,
    next: Option<Offload<(Walk, Vec<Vec<Bytes>>)>>,
    over: BoxFuture<'static, Failed>,
}

/// Where a read stands.
enum Walk {
    /// The whole log, forward: its segments are read through.
    Log { snapshot: Snapshot, at: u64 },
    /// What the index finds.
    Index(Pages),
}

impl Walk {
    fn is_done(&self) -> bool {
        match self {
            Self::Log { snapshot, at } => *at >= snapshot.head(),
            Self::Index(pages) => pages.is_done(),
        }
    }

    /// The next pages, with up to `left` events. What comes before an event that can't be read is told first.
    fn read(&mut self, limits: &BatchLimits, left: u64) -> Result<Vec<Vec<Bytes>>, Error> {
        let (snapshot, at) = match self {
            Self::Log { snapshot, at } => (snapshot, at),
            Self::Index(pages) => {
                let events = limits.events.min(usize::try_from(left).unwrap_or(usize::MAX));
                let page = pages.next_page(&BatchLimits { events, ..*limits })?;
                return Ok(if page.is_empty() { Vec::new() } else { vec![events_to_wire(&page)] });
            }
        };
        let mut pages = Vec::with_capacity(SCANNED_PAGES);
        let room = || EncodedEvents::with_capacity(limits.bytes + limits.bytes / 8);
        let (mut page, mut left) = (room(), left);
        let mut scan = snapshot.scan(*at);
        let scanned = scan.for_each(|event| {
            page.push_ref(&event);
            left -= 1;
            if page.size() >= limits.bytes || page.count() >= limits.events || left == 0 {
                pages.push(std::mem::replace(&mut page, room()).finish());
            }
            if pages.len() == SCANNED_PAGES || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        *at = scan.position();
        if page.count() > 0 {
            pages.push(page.finish());
        }
        if pages.is_empty() { scanned.map(|()| pages) } else { Ok(pages) }
    }
}

/// A scan reads a mebibyte at a time; this many pages make good use of it.
const SCANNED_PAGES: usize = 4;

impl Reading {
    fn new(service: &Service, call: &Call, walk: Walk, max_count: u64) -> Self {
        let mut reading = Self {
            index: service.reads.clone(),
            limits: service.page_limits(),
            left: max_count,
            pages: Vec::new().into_iter(),
            next: None,
            over: service.over(&call.standing),
        };
        reading.read_on(walk);
        reading
    }

    fn read_on(&mut self, mut walk: Walk) {
        if walk.is_done() || self.left == 0 {
            return;
        }
        let (limits, left) = (self.limits, self.left);
        self.next = Some(self.index.offload(move |_| {
            let pages = walk.read(&limits, left)?;
            Ok((walk, pages))
        }));
    }
}

impl Stream for Reading {
    type Item = Result<v1::ReadResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(events) = self.pages.next() {
                return Poll::Ready(Some(Ok(v1::ReadResponse { events })));
            }
            if self.next.is_none() {
                return Poll::Ready(None);
            }
            // A read can be long; whoever wants the rest asks again, be it another server.
            if let Poll::Ready(failed) = self.over.poll_unpin(context) {
                self.next = None;
                return Poll::Ready(Some(Err(failed.into())));
            }
            let Some(next) = &mut self.next else { return Poll::Ready(None) };
            let read = ready!(next.poll_unpin(context));
            self.next = None;
            match read {
                Err(error) => return Poll::Ready(Some(Err(failure_of(&error).into()))),
                Ok((walk, pages)) => {
                    self.left -= pages.iter().map(|page| page.len() as u64).sum::<u64>();
                    self.read_on(walk);
                    self.pages = pages.into_iter();
                }
            }
        }
    }
}

/// What is read: what a caller has asked for, and may read.
pub(super) enum Source {
    Query(Query),
    Stream(StreamRef),
}

impl Service {
    /// What may be read of what was asked for.
    pub(super) async fn source(&self, call: &Call, asked: Source) -> Result<Source, Failed> {
        match asked {
            Source::Query(query) => Ok(Source::Query(call.access.narrow(&query, &self.reads).await?)),
            Source::Stream(stream) => {
                call.access.check_stream(&[Role::Read], &stream, &self.reads).await?;
                Ok(Source::Stream(stream))
            }
        }
    }

    async fn pages(&self, source: Source, from: Option<u64>, direction: i32) -> Result<Pages, Failed> {
        let direction = match v1::Direction::try_from(direction) {
            Ok(v1::Direction::Forward) => Direction::Forward,
            Ok(v1::Direction::Backward) => Direction::Backward,
            Err(_) => return Err(Malformed::new("direction", "is none that this server knows").into()),
        };
        let pages = match source {
            Source::Query(query) => self.reads.pages(query, from, direction),
            Source::Stream(stream) => {
                let index = self.reads.clone();
                self.reads.offload(move |_| index.stream_pages(stream, from, direction)).await
            }
        };
        pages.map_err(|error| failure_of(&error))
    }

    fn page_limits(&self) -> BatchLimits {
        BatchLimits { events: 4096, bytes: count(self.limits.page_bytes), positions: 1 << 20 }
    }

    pub(super) async fn start_reading(&self, call: &Call, request: v1::ReadRequest) -> Result<Reading, Failed> {
        use v1::read_request::Source as Wire;
        let asked = match request.source {
            None => return Err(Malformed::missing("source").into()),
            Some(Wire::Query(query)) => Source::Query(query_from_wire(Some(query), "query")?),
            Some(Wire::Stream(stream)) => Source::Stream(stream_from_wire(Some(stream), "stream")?),
        };
        let walk = match self.source(call, asked).await? {
            Source::Query(Query { all: true, .. }) if request.direction == i32::from(v1::Direction::Forward) => {
                Walk::Log { snapshot: self.reads.snapshot(), at: request.from.unwrap_or(0) }
            }
            source => Walk::Index(self.pages(source, request.from, request.direction).await?),
        };
        let max_count = request.max_count.unwrap_or(u64::MAX);
        Ok(Reading::new(self, call, walk, max_count))
    }

    pub(super) async fn stream_page(
        &self,
        call: &Call,
        request: v1::ReadStreamRequest,
    ) -> Result<v1::ReadPageResponse, Failed> {
        let asked = Source::Stream(stream_from_wire(request.stream, "stream")?);
        let source = self.source(call, asked).await?;
        let pages = self.pages(source, request.from_version, request.direction).await?;
        self.page(pages, request.max_count, |event| event.stream_version, request.direction).await
    }

    pub(super) async fn log_page(
        &self,
        call: &Call,
        request: v1::ReadAllRequest,
    ) -> Result<v1::ReadPageResponse, Failed> {
        let asked = match request.query {
            None => Query::all(),
            query => query_from_wire(query, "query")?,
        };
        let source = self.source(call, Source::Query(asked)).await?;
        let pages = self.pages(source, request.from, request.direction).await?;
        self.page(pages, request.max_count, |event| event.global_position, request.direction).await
    }

    async fn page(
        &self,
        mut pages: Pages,
        max_count: Option<u64>,
        place: impl Fn(&RecordedEvent) -> u64,
        direction: i32,
    ) -> Result<v1::ReadPageResponse, Failed> {
        let mut limits = self.page_limits();
        if let Some(max_count) = max_count {
            limits.events = limits.events.min(usize::try_from(max_count).unwrap_or(usize::MAX));
        }
        if limits.events == 0 {
            return Ok(v1::ReadPageResponse::default());
        }
        let read = self.reads.offload(move |_| {
            let mut events = Vec::new();
            while events.is_empty() && !pages.is_done() {
                events = pages.next_page(&limits)?;
            }
            Ok::<_, Error>((events, pages.is_done()))
        });
        let (events, is_done) = read.await.map_err(|error| failure_of(&error))?;
        let last = events.last().map(place).filter(|_| !is_done);
        let next = last.and_then(|last| match direction {
            0 => last.checked_add(1),
            _ => last.checked_sub(1),
        });
        Ok(v1::ReadPageResponse { events: events_to_wire(&events), next })
    }
}
