//! Connections, and what goes over them with every call.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

#[cfg(feature = "admin")]
use eventfold_proto::v1::admin_client::AdminClient;
use eventfold_proto::v1::event_store_client::EventStoreClient;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::BodyExt;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use crate::ahead::Ahead;
use crate::builder::{LANE_CALLS, Setup};

/// The largest message that is taken from a server: far more than one sends.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A connection that is made when it is needed and again when it broke, with the client's token on each call.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    channel: Channel,
    authorization: Option<HeaderValue>,
}

impl Transport {
    /// The calls of the service over this connection.
    pub(crate) fn calls(&self) -> EventStoreClient<Self> {
        EventStoreClient::new(self.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(usize::MAX)
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, tonic::transport::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), tonic::transport::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        let response = self.channel.call(request.map(|body| Body::new(Ahead::new(body))));
        Box::pin(async move {
            let mut response = response.await?;
            drop_unreadable_details(response.headers_mut());
            Ok(response.map(|body| Body::new(body.map_frame(readable))))
        })
    }
}

fn readable(frame: Frame<bytes::Bytes>) -> Frame<bytes::Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            drop_unreadable_details(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

const DETAILS: &str = "grpc-status-details-bin";

/// The library panics where a status' details are not what they have to be, and anybody may send them.
fn drop_unreadable_details(headers: &mut HeaderMap) {
    let Some(details) = headers.get(DETAILS) else { return };
    let alone =
        MetadataMap::from_headers(HeaderMap::from_iter([(header::HeaderName::from_static(DETAILS), details.clone())]));
    if alone.get_bin(DETAILS).is_none_or(|details| details.to_bytes().is_err()) {
        headers.remove(DETAILS);
    }
}

/// The connections of a client: one for calls that are soon answered, and others for those that stay open, each with at most
/// [`LANE_CALLS`] of them. So no number of subscriptions takes the place of an append, and who reads slowly holds up nobody else.
#[derive(Debug)]
pub(crate) struct Connections {
    endpoint: Endpoint,
    short: Transport,
    lanes: Mutex<Vec<Lane>>,
}

/// A connection for calls that stay open. The place is taken as long as this is kept.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    transport: Transport,
    place: Arc<()>,
}

impl Lane {
    pub(crate) fn calls(&self) -> EventStoreClient<Transport> {
        self.transport.calls()
    }

    #[cfg(feature = "admin")]
    pub(crate) fn admin(&self) -> AdminClient<Transport> {
        AdminClient::new(self.transport.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(usize::MAX)
    }

    fn has_room(&self) -> bool {
        // One place is that of the list.
        Arc::strong_count(&self.place) <= LANE_CALLS as usize
    }
}

impl Connections {
    pub(crate) fn new(setup: &Setup) -> Self {
        let short = Transport { channel: setup.endpoint.connect_lazy(), authorization: setup.authorization.clone() };
        Self { endpoint: setup.endpoint.clone(), short, lanes: Mutex::default() }
    }

    /// For a call that is soon answered.
    pub(crate) fn short(&self) -> &Transport {
        &self.short
    }

    /// For a call that stays open.
    pub(crate) fn lane(&self) -> Lane {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.iter().find(|lane| lane.has_room()) {
            return lane.clone();
        }
        let transport = Transport { channel: self.endpoint.connect_lazy(), ..self.short.clone() };
        let lane = Lane { transport, place: Arc::new(()) };
        lanes.push(lane.clone());
        lane
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{FutureExt, StreamExt, stream};
    use http_body::Body as _;
    use http_body_util::StreamBody;

    use super::*;

    #[test]
    fn the_last_message_is_known_to_be_the_last() {
        let frames = ["one", "two"].map(|text| Ok::<_, String>(Frame::data(Bytes::from_static(text.as_bytes()))));
        let mut ahead = Ahead::new(StreamBody::new(stream::iter(frames)));
        assert!(!ahead.is_end_stream());
        assert_eq!(ahead.frame().now_or_never().unwrap().unwrap().unwrap().into_data().unwrap(), "one");
        assert!(!ahead.is_end_stream());
        assert_eq!(ahead.frame().now_or_never().unwrap().unwrap().unwrap().into_data().unwrap(), "two");
        assert!(ahead.is_end_stream());
        assert!(ahead.frame().now_or_never().unwrap().is_none());
    }

    #[test]
    fn what_is_still_to_come_holds_nothing_up() {
        let one = stream::iter([Ok::<_, String>(Frame::data(Bytes::from_static(b"one")))]);
        let mut ahead = Ahead::new(StreamBody::new(one.chain(stream::pending())));
        assert_eq!(ahead.frame().now_or_never().unwrap().unwrap().unwrap().into_data().unwrap(), "one");
        assert!(!ahead.is_end_stream());
        assert!(ahead.frame().now_or_never().is_none());
    }

    #[test]
    fn details_that_are_no_base64_are_left_out() {
        let mut headers = HeaderMap::new();
        headers.insert(DETAILS, HeaderValue::from_static("not base64!"));
        headers.insert("grpc-status", HeaderValue::from_static("9"));
        drop_unreadable_details(&mut headers);
        assert!(!headers.contains_key(DETAILS) && headers.contains_key("grpc-status"));

        headers.insert(DETAILS, HeaderValue::from_static("CAk"));
        drop_unreadable_details(&mut headers);
        assert!(headers.contains_key(DETAILS));
    }

    #[tokio::test]
    async fn calls_that_stay_open_get_another_connection_when_one_is_full() {
        let setup = crate::Client::builder().connect_lazily().unwrap();
        let connections = setup.connections();
        let mut taken: Vec<Lane> = (0..LANE_CALLS).map(|_| connections.lane()).collect();
        let other = connections.lane();
        assert!(taken.iter().all(|lane| Arc::ptr_eq(&lane.place, &taken[0].place)));
        assert!(!Arc::ptr_eq(&other.place, &taken[0].place));
        taken.pop();
        assert!(Arc::ptr_eq(&connections.lane().place, &taken[0].place));
    }
}
