//! What a server tells of itself: the log, and traces of its calls.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};
use crate::exit::{Failure, code};

/// From when it is told to until this is dropped.
#[derive(Debug)]
pub(crate) struct Telemetry {
    #[cfg(feature = "otlp")]
    traces: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

impl Telemetry {
    /// Whether it could begin.
    pub(crate) fn check(config: &Config) -> Result<(), Failure> {
        filter("log.filter", &config.log.filter)?;
        filter("traces.filter", &config.traces.filter).map(drop)
    }

    /// Begins to tell. To be called within tokio's runtime, where traces are sent.
    pub(crate) fn begin(config: &Config) -> Result<Self, Failure> {
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let log = match config.log.format {
            LogFormat::Text => log.boxed(),
            LogFormat::Json => log.json().boxed(),
        };
        let log = log.with_filter(filter("log.filter", &config.log.filter)?);
        let registry = tracing_subscriber::registry().with(log);
        #[cfg(feature = "otlp")]
        if !config.traces.otlp.is_empty() {
            let (layer, traces) = otlp::layer(&config.traces.otlp)?;
            registry.with(layer.with_filter(filter("traces.filter", &config.traces.filter)?)).init();
            return Ok(Self { traces: Some(traces) });
        }
        registry.init();
        Ok(Self {
            #[cfg(feature = "otlp")]
            traces: None,
        })
    }
}

#[cfg(feature = "otlp")]
impl Drop for Telemetry {
    /// Sends what was not sent yet.
    fn drop(&mut self) {
        if let Some(traces) = self.traces.take()
            && let Err(error) = tokio::task::block_in_place(|| traces.shutdown())
        {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// Tells on standard error what the client does by itself, as when it loses its server.
pub(crate) fn tell_of_client() {
    let told = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let told = told.without_time().with_level(false).with_target(false).with_ansi(false);
    let told = told.with_filter(Targets::new().with_target("eventfold_client", LevelFilter::INFO));
    tracing_subscriber::registry().with(told).init();
}

fn filter(setting: &str, filter: &str) -> Result<EnvFilter, Failure> {
    let parsed = EnvFilter::try_new(filter);
    parsed.map_err(|error| Failure::new(code::USAGE, format!("{setting} {filter:?}: {error}")))
}

#[cfg(feature = "otlp")]
mod otlp {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_otlp::{SpanExporter, WithExportConfig};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
    use tracing::Subscriber;
    use tracing_opentelemetry::OpenTelemetryLayer;
    use tracing_subscriber::registry::LookupSpan;

    use crate::exit::{Failure, code};

    /// What hands spans to a collector.
    pub(super) fn layer<S>(endpoint: &str) -> Result<(OpenTelemetryLayer<S, SdkTracer>, SdkTracerProvider), Failure>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build();
        let exporter =
            exporter.map_err(|error| Failure::new(code::USAGE, format!("traces.otlp {endpoint:?}: {error}")))?;
        let traces = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(Resource::builder().with_service_name("eventfold").build())
            .build();
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer("eventfold"));
        Ok((layer, traces))
    }
}
