//! A store of the program's own.

use eventfold_db::{EventfoldDb, Offload, Pages, ReadIndex, Subscription, SubscriptionOptions};
use eventfold_read::SubscriptionEvent;
use eventfold_store::{Append, BatchLimits, Error as StoreError, RecordedEvent, StreamInfo, StreamRef};
use futures_util::future::{BoxFuture, FutureExt, TryFutureExt};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};

use crate::error::Error;
use crate::request::{Read, Source, Subscribe};
use crate::store::EventStore;

/// What is read at once.
const PAGE: BatchLimits = BatchLimits { events: 512, bytes: 1 << 20, positions: 1 << 20 };

impl EventStore for EventfoldDb {
    fn append_request(&self, append: Append) -> BoxFuture<'_, Result<Vec<RecordedEvent>, Error>> {
        self.writer().append_request(append).map_err(Error::from).boxed()
    }

    fn read(&self, read: Read) -> BoxStream<'static, Result<RecordedEvent, Error>> {
        let (index, left) = (self.reads().clone(), read.max_count.unwrap_or(u64::MAX));
        // `None` before it has begun.
        let pages = stream::try_unfold((None, left), move |(pages, left)| {
            let (index, read) = (index.clone(), read.clone());
            async move {
                let (pages, events) = next_page(&index, pages, read, left).await?;
                if events.is_empty() && (pages.is_done() || left == 0) {
                    return Ok::<_, StoreError>(None);
                }
                let left = left - events.len() as u64;
                let events = stream::iter(events.into_iter().map(Ok::<_, StoreError>));
                Ok(Some((events, (Some(pages), left))))
            }
        });
        pages.try_flatten().map_err(Error::from).boxed()
    }

    fn subscribe(&self, subscribe: Subscribe) -> BoxStream<'static, Result<SubscriptionEvent, Error>> {
        match following(self.reads(), subscribe) {
            // Asked again, it would begin anew where it failed.
            Ok(subscription) => stream::unfold(Some(subscription), |subscription| async {
                let mut subscription = subscription?;
                let item = subscription.next().await?;
                let goes_on = item.is_ok();
                Some((item.map_err(Error::from), goes_on.then_some(subscription)))
            })
            .boxed(),
            Err(error) => stream::iter([Err(error.into())]).boxed(),
        }
    }

    fn stream_info(&self, stream: StreamRef) -> BoxFuture<'_, Result<Option<StreamInfo>, Error>> {
        self.reads().in_background().stream_info(stream).map_err(Error::from).boxed()
    }

    fn streams(
        &self,
        prefix: String,
        after: Option<String>,
        max_count: usize,
    ) -> BoxFuture<'_, Result<Vec<StreamInfo>, Error>> {
        self.reads().in_background().streams(prefix, after.as_deref(), max_count).map_err(Error::from).boxed()
    }

    fn global_position(&self) -> BoxFuture<'_, Result<u64, Error>> {
        let position = self.reads().global_position();
        async move { Ok(position) }.boxed()
    }

    fn wait_until(&self, position: u64) -> BoxFuture<'_, Result<u64, Error>> {
        self.reads().wait_until(position).map_err(Error::from).boxed()
    }
}

fn next_page(index: &ReadIndex, pages: Option<Pages>, read: Read, left: u64) -> Offload<(Pages, Vec<RecordedEvent>)> {
    let of = index.clone();
    index.offload(move |_| {
        let Read { source, from, direction, .. } = read;
        let mut pages = match (pages, source) {
            (Some(pages), _) => pages,
            (None, Source::Query(query)) => of.pages(query, from, direction)?,
            (None, Source::Stream(stream)) => of.stream_pages(stream, from, direction)?,
        };
        let events = usize::try_from(left).unwrap_or(usize::MAX).min(PAGE.events);
        let page = if events == 0 { Vec::new() } else { pages.next_page(&BatchLimits { events, ..PAGE })? };
        Ok((pages, page))
    })
}

fn following(index: &ReadIndex, subscribe: Subscribe) -> Result<Subscription, StoreError> {
    let subscription = match subscribe.source {
        Source::Query(query) => index.subscribe(query, subscribe.from),
        Source::Stream(stream) => index.subscribe_stream(stream, subscribe.from),
    }?;
    let options = SubscriptionOptions::default();
    let interval = subscribe.checkpoint_interval.unwrap_or(options.checkpoint_interval);
    Ok(subscription.with_options(options.checkpoint_interval(interval)))
}
