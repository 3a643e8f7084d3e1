//! The calls.

mod admin;
mod append;
mod ask;
mod read;
mod session;
mod subscribe;

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventfold_db::{Error, EventfoldDb, ReadIndex, WriterHandle};
use eventfold_proto::convert::{Failed, failure_of};
use eventfold_proto::v1;
use eventfold_proto::v1::event_store_server::EventStore;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use crate::access::Access;
use crate::auth::Standing;
use crate::clock;
use crate::gate::{Charge, Failures, Gate};
use crate::options::Limits;

/// What all calls share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) writer: WriterHandle,
    pub(crate) reads: ReadIndex,
    pub(crate) limits: Limits,
    pub(crate) gate: Gate,
    pub(crate) failures: Failures,
    /// Becomes true when the server ends.
    pub(crate) ending: watch::Receiver<bool>,
    started: Instant,
    recovery: String,
}

/// What is known of one call besides its message.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) access: Access,
    pub(crate) standing: Standing,
    pub(crate) charge: Arc<Charge>,
}

impl Service {
    pub(crate) fn new(db: &EventfoldDb, limits: Limits, ending: watch::Receiver<bool>) -> Self {
        Self {
            writer: db.writer().clone(),
            reads: db.reads().clone(),
            gate: Gate::new(&limits),
            failures: Failures::default(),
            limits,
            ending,
            started: clock::now(),
            recovery: db.recovery_report().to_string(),
        }
    }
}

impl Service {
    pub(crate) fn uptime(&self) -> Duration {
        clock::now().duration_since(self.started)
    }

    /// Ready when a call that stays open has to end, with what it is told: the server ends, or its caller is not who may call.
    pub(crate) fn over(&self, standing: &Standing) -> BoxFuture<'static, Failed> {
        let (mut ending, standing) = (self.ending.clone(), standing.clone());
        let over = async move {
            tokio::select! {
                // Where nobody is left who could say that the server ends, it has ended.
                _ = ending.wait_for(|is_ending| *is_ending) => failure_of(&Error::Closed),
                failed = standing.lost() => failed,
            }
        };
        over.boxed()
    }

    /// Why no appends are to be sent here, if so.
    pub(crate) fn not_ready(&self) -> Option<String> {
        if *self.ending.borrow() {
            return Some("the server is shutting down".to_owned());
        }
        self.reads.log().poison().map(|poison| format!("the store takes no more appends: {poison}"))
    }
}

/// What the server knows of the call with this request.
fn call<T>(request: &Request<T>) -> Result<Call, Status> {
    request.extensions().get::<Call>().cloned().ok_or_else(|| Status::internal("the call did not come in by the door"))
}

#[tonic::async_trait]
impl EventStore for Service {
    async fn append(&self, request: Request<v1::AppendRequest>) -> Result<Response<v1::AppendResponse>, Status> {
        let call = call(&request)?;
        self.append_one(&call, request.into_inner()).await.map(Response::new).map_err(Status::from)
    }

    type AppendSessionStream = session::Session;

    async fn append_session(
        &self,
        request: Request<Streaming<v1::AppendRequest>>,
    ) -> Result<Response<session::Session>, Status> {
        let call = call(&request)?;
        Ok(Response::new(session::Session::new(self, call, request.into_inner())))
    }

    type ReadStream = read::Reading;

    async fn read(&self, request: Request<v1::ReadRequest>) -> Result<Response<read::Reading>, Status> {
        let call = call(&request)?;
        self.start_reading(&call, request.into_inner()).await.map(Response::new).map_err(Status::from)
    }

    async fn read_stream(
        &self,
        request: Request<v1::ReadStreamRequest>,
    ) -> Result<Response<v1::ReadPageResponse>, Status> {
        let call = call(&request)?;
        self.stream_page(&call, request.into_inner()).await.map(Response::new).map_err(Status::from)
    }

    async fn read_all(&self, request: Request<v1::ReadAllRequest>) -> Result<Response<v1::ReadPageResponse>, Status> {
        let call = call(&request)?;
        self.log_page(&call, request.into_inner()).await.map(Response::new).map_err(Status::from)
    }

    type SubscribeStream = subscribe::Following;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<subscribe::Following>, Status> {
        let call = call(&request)?;
        self.start_following(&call, request.into_inner()).await.map(Response::new).map_err(Status::from)
    }

    async fn stream_info(
        &self,
        request: Request<v1::StreamInfoRequest>,
    ) -> Result<Response<v1::StreamInfoResponse>, Status> {
        let call = call(&request)?;
        self.info(&call, request.into_inner()).await.map(Response::new).map_err(Status::from)
    }

    async fn list_streams(
        &self,
        request: Request<v1::ListStreamsRequest>,
    ) -> Result<Response<v1::ListStreamsResponse>, Status> {
        let call = call(&request)?;
        self.list(&call, request.into_inner()).await.map(Response::new).map_err(Status::from)
    }

    async fn head(&self, request: Request<v1::HeadRequest>) -> Result<Response<v1::HeadResponse>, Status> {
        call(&request)?.access.check_any()?;
        Ok(Response::new(v1::HeadResponse { position: self.reads.global_position() }))
    }

    async fn wait_until(
        &self,
        request: Request<v1::WaitUntilRequest>,
    ) -> Result<Response<v1::WaitUntilResponse>, Status> {
        let call = call(&request)?;
        call.access.check_any()?;
        let position = tokio::select! {
            position = self.reads.wait_until(request.into_inner().position) => position.map_err(|error| failure_of(&error)),
            failed = self.over(&call.standing) => Err(failed),
        }?;
        Ok(Response::new(v1::WaitUntilResponse { position }))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        call(&request)?.access.check_any()?;
        Ok(Response::new(self.describe()))
    }
}
