//! Which request goes where.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use eventfold_proto::FILE_DESCRIPTOR_SET;
use eventfold_proto::v1::admin_server::{self, AdminServer};
use eventfold_proto::v1::event_store_server::{self, EventStoreServer};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTOR_SET;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower_service::Service as TowerService;
use tracing::Instrument;

use crate::auth::{Auth, Peer};
use crate::body::{Counted, Ending, Holding};
use crate::connection::Active;
use crate::gate::{Charge, Place};
use crate::options::count;
use crate::service::{Call, Service};
use crate::{clock, deadline, metrics, trace, unread};

/// All that a server answers.
pub(crate) struct App {
    pub(crate) service: Arc<Service>,
    auth: Arc<Auth>,
    store: EventStoreServer<Service>,
    admin: AdminServer<Service>,
    health: Calls<Counted<Incoming>>,
    reflection: Calls<Ending<Counted<Incoming>>>,
    /// What clients of gRPC ask that are older than the first version of reflection.
    reflection_alpha: Calls<Ending<Counted<Incoming>>>,
    reporter: HealthReporter,
}

type GrpcRequest = Request<Counted<Incoming>>;

/// A service of gRPC that is not one of ours.
type Calls<B> = Box<dyn Fn(Request<B>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

fn calls<S, B>(server: S) -> Calls<B>
where
    S: TowerService<Request<B>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    Box::new(move |request| server.clone().call(request).map(|Ok(response)| response).boxed())
}

impl App {
    pub(crate) fn new(service: Service, auth: Arc<Auth>) -> Self {
        let service = Arc::new(service);
        let (message_bytes, small) = (count(service.limits.message_bytes), count(SMALL_MESSAGE_BYTES));
        let store = EventStoreServer::from_arc(service.clone())
            .max_decoding_message_size(message_bytes)
            .max_encoding_message_size(usize::MAX);
        let admin = AdminServer::from_arc(service.clone())
            .max_decoding_message_size(message_bytes)
            .max_encoding_message_size(usize::MAX);
        let reporter = HealthReporter::new();
        let health =
            HealthServer::new(HealthService::from_health_reporter(reporter.clone())).max_decoding_message_size(small);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(HEALTH_DESCRIPTOR_SET)
        };
        let made_by_a_compiler = "the descriptors were made by a compiler";
        let reflection_alpha = reflection().build_v1alpha().expect(made_by_a_compiler);
        let reflection = reflection().build_v1().expect(made_by_a_compiler);
        Self {
            service,
            auth,
            store,
            admin,
            health: calls(health),
            reflection: calls(reflection.max_decoding_message_size(small)),
            reflection_alpha: calls(reflection_alpha.max_decoding_message_size(small)),
            reporter,
        }
    }

    /// Tells whoever asks for the server's health.
    pub(crate) async fn report(&self, is_serving: bool) {
        let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", STORE] {
            self.reporter.set_service_status(service, status).await;
            if !is_serving {
                // Who watches is told so, and then that there is nothing more to see: nobody is to hold up the end.
                self.reporter.clone().clear_service_status(service).await;
            }
        }
    }

    /// Answers a request, which is active until the last byte of its answer is sent.
    pub(crate) async fn answer(&self, request: Request<Incoming>, peer: &Peer, active: Active) -> Response<Body> {
        let content_type = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_call = content_type.is_some_and(|value| value.starts_with(b"application/grpc"));
        if request.version() != Version::HTTP_2 {
            // Nothing would tell whether a peer is still there: it is not asked for signs of life while it takes what is answered
            // whole, and has no calls.
            return self.answer_plainly(&request);
        }
        if is_call {
            let response = self.answer_call(request, peer, active).await;
            if let Some(code) = response.headers().get(Status::GRPC_STATUS) {
                self.service.failures.count(Code::from_bytes(code.as_bytes()));
            }
            return response;
        }
        self.answer_plainly(&request).map(|body| Body::new(Holding::new(body, active)))
    }

    async fn answer_call(&self, request: Request<Incoming>, peer: &Peer, active: Active) -> Response<Body> {
        let uri = request.uri().clone();
        let called = uri.path().strip_prefix('/').and_then(|path| path.split_once('/'));
        let (service, method) = called.unwrap_or_default();
        let gate = &self.service.gate;
        let (places, bytes) = match called {
            // Anybody may ask.
            Some((HEALTH, "Check")) => (&gate.probes, &gate.probe_bytes),
            _ => (&gate.calls, &gate.request_bytes),
        };
        let place = match Place::take(places) {
            Ok(place) => place,
            Err(failed) => return Status::from(failed).into_http(),
        };
        let (message_bytes, has_one) = match (service, method) {
            (STORE | ADMIN, "AppendSession" | "Import") => (self.service.limits.message_bytes, false),
            (STORE | ADMIN, _) => (self.service.limits.message_bytes, true),
            (HEALTH, _) => (SMALL_MESSAGE_BYTES, true),
            _ => (SMALL_MESSAGE_BYTES, false),
        };
        let charge = Charge::new(bytes);
        let request = request.map(|body| Counted::new(body, charge.clone(), message_bytes).with_one(has_one));
        let span = trace::span(service, method, peer, request.headers());
        let (response, read) = self.answer_called(called, request, peer, &charge).instrument(span.clone()).await;
        if let Some(code) = response.headers().get(Status::GRPC_STATUS) {
            span.record("rpc.grpc.status_code", i32::from(Code::from_bytes(code.as_bytes())));
        }
        response.map(|body| Body::new(Holding::new(body, (active, place, read, charge, span))))
    }

    /// The answer, and the place that a read takes until it is sent.
    async fn answer_called(
        &self,
        called: Option<(&str, &str)>,
        mut request: GrpcRequest,
        peer: &Peer,
        charge: &Arc<Charge>,
    ) -> (Response<Body>, Option<Place>) {
        let admitted = match called {
            // What probes ask tells nothing of what is stored. Watching it stays open, and would take others' places.
            Some((HEALTH, "Check")) => None,
            _ => match self.auth.admit(request.headers(), peer) {
                Ok(admitted) => Some(admitted),
                Err(failed) => {
                    tracing::debug!(peer = %peer.address, ?called, why = failed.message, "a call was refused");
                    return (Status::from(failed).into_http(), None);
                }
            },
        };
        // What is read for a reader who does not take it is held all the same.
        let reads = &self.service.gate.reads;
        let read = match called {
            Some((STORE, "Read" | "ReadStream" | "ReadAll" | "ListStreams")) => match Place::take(reads) {
                Ok(place) => Some(place),
                Err(failed) => return (Status::from(failed).into_http(), None),
            },
            _ => None,
        };
        let response = match (called, admitted) {
            // Nobody has said who asks, so what is asked has to come in time.
            (Some((HEALTH, _)), _) => {
                let limit = deadline::of(request.headers(), Some(self.service.limits.request()));
                deadline::within(|| deadline::passed(false), limit, (self.health)(request).map(Ok)).await
            }
            (Some((service @ (STORE | ADMIN), method)), Some((access, standing))) => {
                // Reads, sessions and subscriptions have begun with what is waited for here, and then take as long as they do.
                // The others that are long have said by then what they ask. (An import says it bit by bit.)
                let is_long = service == ADMIN || method == "WaitUntil";
                let limit = (!is_long).then(|| self.service.limits.request());
                let deadline = deadline::of(request.headers(), limit);
                if is_long && method != "Import" {
                    let late = clock::sleep(self.service.limits.request());
                    request = request.map(|body| body.with_first_before(late.boxed()));
                }
                request.extensions_mut().insert(Call { access, standing, charge: charge.clone() });
                let late = || {
                    let is_append = method.starts_with("Append") || method == "Import";
                    self.service.failures.late_appends.fetch_add(u64::from(is_append), Ordering::Relaxed);
                    deadline::passed(is_append)
                };
                let answered = if service == ADMIN {
                    TowerService::call(&mut self.admin.clone(), request)
                } else {
                    TowerService::call(&mut self.store.clone(), request)
                };
                self.with_facts(deadline::within(late, deadline, answered).await)
            }
            (Some((service @ (REFLECTION | REFLECTION_ALPHA), _)), Some((_, standing))) => {
                let reflection = if service == REFLECTION { &self.reflection } else { &self.reflection_alpha };
                // It is answered for as long as somebody asks, and nobody is to hold up the end.
                let over = self.service.over(&standing).map(drop).boxed();
                reflection(request.map(|body| Ending::new(body, over))).await
            }
            _ => Status::from(unread::no_call(request.uri().path())).into_http(),
        };
        (response, read)
    }

    /// What is said of a message that could not be read, as of everything else that is.
    fn with_facts(&self, answer: Response<Body>) -> Response<Body> {
        match Status::from_header_map(answer.headers()) {
            Some(status) if status.code() != Code::Ok => unread::with_facts(status, &self.service.limits).into_http(),
            _ => answer,
        }
    }

    fn answer_plainly(&self, request: &Request<Incoming>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                "only GET is answered here, and gRPC by HTTP/2\n",
            );
        }
        match request.uri().path() {
            "/metrics" => {
                text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::render(&self.service))
            }
            "/health/live" => text(StatusCode::OK, "text/plain", "live\n"),
            "/health/ready" => match self.service.not_ready() {
                None => text(StatusCode::OK, "text/plain", "ready\n"),
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{why}\n")),
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "text/plain",
                "this is an eventfold server: gRPC, /metrics, /health/live, /health/ready\n",
            ),
        }
    }
}

const STORE: &str = event_store_server::SERVICE_NAME;
const ADMIN: &str = admin_server::SERVICE_NAME;
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// What the services beside ours take at the most in a message.
const SMALL_MESSAGE_BYTES: u32 = 64 << 10;

fn text(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(text.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
