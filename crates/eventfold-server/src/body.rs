//! Bodies that count what comes in, and that hold something until they are sent.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use crate::deadline;
use crate::framing::Framing;
use crate::gate::Charge;

/// A request's body, whose bytes count until they are answered. A message is passed on when all of it has come: whoever decodes it
/// takes as much memory as its head says, for which a peer's word is not enough.
pub(crate) struct Counted<B> {
    body: B,
    charge: Arc<Charge>,
    framing: Framing,
    /// Nothing is taken behind its first message.
    has_one: bool,
    /// Of messages that are whole.
    whole: VecDeque<Bytes>,
    /// Of the message after them.
    begun: Begun,
    /// Ready when the first message has to be there.
    late: Option<BoxFuture<'static, ()>>,
    /// All that is taken has come.
    is_over: bool,
}

/// A message as far as it has come.
#[derive(Default)]
struct Begun {
    parts: VecDeque<Bytes>,
    /// What came last in small pieces, in one: a peer may send a byte at a time, and each would take many to keep.
    small: BytesMut,
    /// Of all of it.
    bytes: u64,
}

/// From so many bytes on, keeping a piece costs little beside what it holds.
const PIECE_BYTES: usize = 4096;

/// So many bytes of small pieces are one of the parts.
const GATHERED_BYTES: usize = 16 << 10;

impl Begun {
    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len() as u64;
        if piece.len() < PIECE_BYTES {
            self.small.extend_from_slice(&piece);
            // Room is made for twice as much each time: not of all of it.
            if self.small.len() >= GATHERED_BYTES {
                self.gather();
            }
        } else {
            self.gather();
            self.parts.push_back(piece);
        }
    }

    fn gather(&mut self) {
        if !self.small.is_empty() {
            self.parts.push_back(std::mem::take(&mut self.small).freeze());
        }
    }

    /// It ends with this piece: all of it goes there, and another may begin.
    fn end(&mut self, last: Bytes, whole: &mut VecDeque<Bytes>) {
        self.gather();
        whole.append(&mut self.parts);
        whole.push_back(last);
        self.bytes = 0;
    }
}

impl<B> Counted<B> {
    /// With messages of up to so many bytes; larger ones are passed on for their head to be refused.
    pub(crate) fn new(body: B, charge: Arc<Charge>, message_bytes: u32) -> Self {
        let framing = Framing::new(message_bytes);
        Self {
            body,
            charge,
            framing,
            has_one: false,
            whole: VecDeque::new(),
            begun: Begun::default(),
            late: None,
            is_over: false,
        }
    }

    /// For a call that takes one message. Whoever is served waits for the request's end otherwise, which need not come.
    pub(crate) fn with_one(self, has_one: bool) -> Self {
        Self { has_one, ..self }
    }

    /// For a call that may take as long as it does once it is known what is asked.
    pub(crate) fn with_first_before(self, late: BoxFuture<'static, ()>) -> Self {
        Self { late: Some(late), ..self }
    }

    fn take(&mut self, mut data: Bytes) -> Result<(), Status> {
        let count = data.len() as u64;
        self.charge.take(count)?;
        if let Some(border) = self.framing.last_border(&data) {
            self.begun.end(data.split_to(border), &mut self.whole);
            self.late = None;
            if self.has_one {
                self.is_over = true;
                return Ok(());
            }
        }
        self.begun.push(data);
        self.charge.begin(self.begun.bytes);
        Ok(())
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B>
where
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(part) = self.whole.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                let Some(late) = &mut self.late else { return Poll::Pending };
                ready!(late.poll_unpin(context));
                self.is_over = true;
                return Poll::Ready(Some(Err(deadline::passed(false).into())));
            };
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(Box::new(error))))),
                None if self.begun.bytes == 0 => return Poll::Ready(None),
                None => {
                    self.begun = Begun::default();
                    let message = "the request ends within a message";
                    return Poll::Ready(Some(Err(Status::invalid_argument(message))));
                }
            };
            match frame.into_data() {
                Ok(data) => self.take(data)?,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.whole.is_empty() && (self.is_over || self.begun.bytes == 0 && self.body.is_end_stream())
    }
}

/// A response's body, and what is let go of when its last byte was handed to the system, or it was given up. Until a peer takes
/// them, its bytes wait in the memory of the connection, also when the body has no more.
pub(crate) struct Holding<B, H> {
    body: B,
    held: Arc<H>,
}

impl<B, H> Holding<B, H> {
    pub(crate) fn new(body: B, held: H) -> Self {
        Self { body, held: Arc::new(held) }
    }
}

/// Bytes that are to be sent.
struct Unsent<H> {
    bytes: Bytes,
    _held: Arc<H>,
}

impl<H> AsRef<[u8]> for Unsent<H> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<B: Body<Data = Bytes> + Unpin, H: Send + Sync + 'static> Body for Holding<B, H> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let held = |bytes| Bytes::from_owner(Unsent { bytes, _held: self.held.clone() });
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(held))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's body that ends with the server, though its caller would go on.
pub(crate) struct Ending<B> {
    body: B,
    /// Ready when the server ends.
    over: BoxFuture<'static, ()>,
    is_over: bool,
}

impl<B> Ending<B> {
    pub(crate) fn new(body: B, over: BoxFuture<'static, ()>) -> Self {
        Self { body, over, is_over: false }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Ending<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.is_over = self.is_over || self.over.poll_unpin(context).is_ready();
        if self.is_over { Poll::Ready(None) } else { Pin::new(&mut self.body).poll_frame(context) }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }
}
