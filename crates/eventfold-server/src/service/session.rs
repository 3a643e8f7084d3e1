//! Many appends over one stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use eventfold_db::{AppendRequest as Request, PendingAppend, ReadIndex, Sequence, WriterHandle};
use eventfold_proto::convert::{Failed, failure_of};
use eventfold_proto::v1::{AppendRequest, AppendSessionResponse, append_session_response::Answer};
use futures_util::future::BoxFuture;
use futures_util::stream::Stream;
use futures_util::{FutureExt, StreamExt};
use prost::Message;
use tonic::{Status, Streaming};

use super::append::{Asked, Shape};
use super::{Call, Service};
use crate::access::Access;
use crate::options::{Limits, count};
use crate::unread;

/// The answers of a session, in the order of its appends. Polling it takes appends in, as far as there is room.
pub(crate) struct Session {
    requests: Streaming<AppendRequest>,
    writer: WriterHandle,
    sequence: Sequence,
    reads: ReadIndex,
    access: Access,
    limits: Limits,
    charge: Arc<crate::gate::Charge>,
    over: BoxFuture<'static, Failed>,
    /// Those that are not answered yet, in their order, and their bytes.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// An append whose caller's rights are looked up.
    checking: Option<(BoxFuture<'static, Result<Asked, Failed>>, usize)>,
    /// No more come, and why, if it is not that the client is done.
    ended: Option<Result<(), Status>>,
}

struct Waiting {
    answer: Pending,
    bytes: usize,
}

enum Pending {
    Known(Result<eventfold_proto::v1::AppendResponse, Failed>),
    Appending(PendingAppend, Shape),
}

impl Session {
    pub(super) fn new(service: &Service, call: Call, requests: Streaming<AppendRequest>) -> Self {
        Self {
            requests,
            writer: service.writer.clone(),
            sequence: Sequence::new(),
            reads: service.reads.clone(),
            limits: service.limits.clone(),
            over: service.over(&call.standing),
            access: call.access,
            charge: call.charge,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            checking: None,
            ended: None,
        }
    }

    fn has_room(&self) -> bool {
        // What is read for one has to be found before the next is decided.
        let in_order = |waiting: &Waiting| match &waiting.answer {
            Pending::Appending(append, _) => !append.reads_first(),
            Pending::Known(_) => true,
        };
        self.waiting.len() < count(self.limits.session_requests)
            && self.waiting_bytes < count(self.limits.session_bytes)
            && self.waiting.back().is_none_or(in_order)
    }

    /// Takes in what there is and what there is room for.
    fn take_in(&mut self, context: &mut Context<'_>) {
        while self.ended.is_none() && self.has_room() {
            if let Some((checking, bytes)) = &mut self.checking {
                let Poll::Ready(checked) = checking.poll_unpin(context) else { return };
                let bytes = *bytes;
                self.checking = None;
                self.hand_over(checked, bytes);
                continue;
            }
            if let Poll::Ready(failed) = self.over.poll_unpin(context) {
                self.ended = Some(Err(failed.into()));
                return;
            }
            match self.requests.poll_next_unpin(context) {
                Poll::Pending => return,
                Poll::Ready(None) => self.ended = Some(Ok(())),
                Poll::Ready(Some(Err(status))) => self.ended = Some(Err(unread::with_facts(status, &self.limits))),
                Poll::Ready(Some(Ok(request))) => self.take(request),
            }
        }
    }

    fn take(&mut self, request: AppendRequest) {
        let bytes = request.encoded_len() + MESSAGE_HEAD;
        let asked = Asked::of(request, &self.limits);
        if self.access.is_everything() {
            return self.hand_over(asked, bytes);
        }
        let (access, reads) = (self.access.clone(), self.reads.clone());
        let check = async move {
            let asked = asked?;
            access.check_append(&asked.append, &reads).await?;
            Ok(asked)
        };
        self.checking = Some((check.boxed(), bytes));
    }

    fn hand_over(&mut self, asked: Result<Asked, Failed>, bytes: usize) {
        let handed_over = asked.and_then(|Asked { append, shape }| {
            let append = self
                .writer
                .hand_over(Request::new(append).in_sequence(self.sequence.clone()))
                .map_err(|error| failure_of(&error))?;
            Ok(Pending::Appending(append, shape))
        });
        let answer = handed_over.unwrap_or_else(|failed| Pending::Known(Err(failed)));
        self.waiting_bytes += bytes;
        self.waiting.push_back(Waiting { answer, bytes });
    }

    /// The answer to the oldest append.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Option<AppendSessionResponse>> {
        let Some(first) = self.waiting.front_mut() else { return Poll::Ready(None) };
        let bytes = first.bytes;
        if let Pending::Appending(append, shape) = &mut first.answer {
            let answer = std::task::ready!(append.poll_unpin(context));
            let answer = answer.map(|events| shape.answer(&events)).map_err(|error| failure_of(&error));
            first.answer = Pending::Known(answer);
        }
        let answer = match self.waiting.pop_front().map(|first| first.answer) {
            Some(Pending::Known(Ok(appended))) => Answer::Appended(appended),
            Some(Pending::Known(Err(failed))) => Answer::Refused(failed.into_refused()),
            _ => unreachable!("the first was made known above"),
        };
        self.waiting_bytes -= bytes;
        self.charge.give_back(bytes as u64);
        Poll::Ready(Some(AppendSessionResponse { answer: Some(answer) }))
    }
}

impl Stream for Session {
    type Item = Result<AppendSessionResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.take_in(context);
        match self.poll_answer(context) {
            Poll::Ready(Some(answer)) => Poll::Ready(Some(Ok(answer))),
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => match &mut self.ended {
                None => {
                    // Nothing waits, so no message is held, however it was written.
                    if self.checking.is_none() {
                        self.charge.give_back_whole();
                    }
                    Poll::Pending
                }
                Some(ended) => Poll::Ready(std::mem::replace(ended, Ok(())).err().map(Err)),
            },
        }
    }
}

/// What stands before each message of gRPC: whether it is compressed, and its length.
pub(super) const MESSAGE_HEAD: usize = 5;
