//! What is told of a call, to who traces calls.

use http::HeaderMap;
use tracing::Span;
use tracing::field::Empty;

use crate::auth::Peer;

/// A call, from its headers to the end of its answer.
pub(crate) fn span(service: &str, method: &str, peer: &Peer, headers: &HeaderMap) -> Span {
    let span = tracing::debug_span!(
        "call",
        otel.name = %format_args!("{service}/{method}"),
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
        client.address = %peer.address,
    );
    #[cfg(feature = "otlp")]
    remote::follow(&span, headers);
    #[cfg(not(feature = "otlp"))]
    let _ = headers;
    span
}

#[cfg(feature = "otlp")]
mod remote {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use opentelemetry::propagation::Extractor;
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    struct Headers<'a>(&'a HeaderMap);

    impl Extractor for Headers<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key).and_then(|value: &HeaderValue| value.to_str().ok())
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(HeaderName::as_str).collect()
        }
    }

    /// Makes the span a part of the trace that the caller has named.
    pub(super) fn follow(span: &Span, headers: &HeaderMap) {
        let parent = opentelemetry::global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
        // Where nobody traces, there is nothing to be a part of.
        let _ = span.set_parent(parent);
    }
}
