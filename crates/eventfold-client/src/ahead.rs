//! Requests that say with their last message that it is the last.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

/// A body that looks one frame ahead. The end of a request that comes behind its message is a packet of its own, which wakes the
/// server once more; known ahead, it goes with the message.
pub(crate) struct Ahead<B: Body> {
    body: B,
    next: Option<Result<Frame<B::Data>, B::Error>>,
    is_over: bool,
}

impl<B: Body> Ahead<B> {
    pub(crate) fn new(body: B) -> Self {
        Self { body, next: None, is_over: false }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Ahead<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = if let Some(frame) = self.next.take() {
            frame
        } else if self.is_over {
            return Poll::Ready(None);
        } else if let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) {
            frame
        } else {
            self.is_over = true;
            return Poll::Ready(None);
        };
        if let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(context) {
            self.is_over = next.is_none();
            self.next = next;
        }
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && (self.is_over || self.body.is_end_stream())
    }
}
