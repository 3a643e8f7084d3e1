//! How a client is set up.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderValue, Uri};
use tonic::transport::Endpoint;

use crate::client::Client;
use crate::error::Error;
use crate::tls::Tls;

/// Why a client can't be set up so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The endpoint is no `http://host:port` or `https://host:port`.
    #[error("{endpoint} is no endpoint: it needs to be http://host:port or https://host:port")]
    Endpoint {
        /// As it was given.
        endpoint: String,
    },
    /// A token would go over the network for everybody to read. With TLS it does not; where something else protects the
    /// connection, [`allow_plaintext_token`](ClientBuilder::allow_plaintext_token) says so.
    #[error("a token is not sent to {endpoint} without TLS")]
    PlaintextToken {
        /// Where it would be sent.
        endpoint: String,
    },
    /// A token has characters that a header can't have.
    #[error("the token has characters that a header can't have")]
    Token,
    /// TLS was set up for an endpoint that does without.
    #[error("TLS was set up, and {endpoint} is http")]
    TlsUnused {
        /// The endpoint.
        endpoint: String,
    },
    /// TLS needs certificates to trust, and there are none: [`Tls`] says which, or the feature `native-roots` takes the system's.
    #[error("nothing says which certificates to trust for {endpoint}")]
    NoRoots {
        /// The endpoint.
        endpoint: String,
    },
    /// A certificate or key can't be used.
    #[error("TLS can't be set up: {what}")]
    Tls {
        /// What is wrong.
        what: String,
    },
    /// A client runs on tokio, and there is no runtime where it was asked for.
    #[error("a client is set up within tokio's runtime")]
    NoRuntime,
}

/// How long is waited for an answer where nothing else is said.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// Where a client finds a server where nothing else is said: on this machine, at the port that servers take.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:2113";

/// How a [`Client`] is set up: see [`Client::builder`].
#[derive(Clone)]
#[must_use]
pub struct ClientBuilder {
    endpoint: String,
    token: Option<String>,
    plaintext_token: bool,
    tls: Option<Tls>,
    deadline: Duration,
    resume_for: Option<Duration>,
}

impl std::fmt::Debug for ClientBuilder {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut builder = f.debug_struct("ClientBuilder");
        builder.field("endpoint", &self.endpoint).field("deadline", &self.deadline);
        builder.field("resume_for", &self.resume_for).finish_non_exhaustive()
    }
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            token: None,
            plaintext_token: false,
            tls: None,
            deadline: DEFAULT_DEADLINE,
            resume_for: None,
        }
    }
}

/// What a client is made of.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// For errors.
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) deadline: Duration,
    pub(crate) resume_for: Option<Duration>,
}

impl ClientBuilder {
    /// Where the server is: `http://host:port`, or `https://host:port` with TLS.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
        self
    }

    /// With this token, by which the server knows who asks.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The token may go over the network as it is: something else protects the connection. To this machine itself it always may.
    pub fn allow_plaintext_token(mut self) -> Self {
        self.plaintext_token = true;
        self
    }

    /// With TLS that is set up so. An `https` endpoint has TLS without that too, with the feature `native-roots`.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How long to wait for an answer, trying again included; of a read or a subscription, for its beginning, and of a read, for
    /// each next message. [`DEFAULT_DEADLINE`] otherwise.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// For how long a subscription tries to go on after its connection broke, before it ends with the error. For ever otherwise.
    pub fn resume_for(mut self, time: Duration) -> Self {
        self.resume_for = Some(time);
        self
    }

    /// The client. It connects when it is first asked for something, and again whenever it has to.
    ///
    /// # Errors
    ///
    /// [`Error::Config`].
    pub fn connect_lazily(self) -> Result<Client, Error> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(ConfigError::NoRuntime.into());
        }
        Ok(Client::new(self.setup()?))
    }

    /// The client, once it has asked the server for something: where it is, that it answers, and that it knows who asks.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]; [`Error::Unreachable`] and [`Error::DeadlineExceeded`] where it does not answer before the deadline;
    /// [`Error::Unauthenticated`] and [`Error::Forbidden`].
    pub async fn connect(self) -> Result<Client, Error> {
        let client = self.connect_lazily()?;
        client.head().await?;
        Ok(client)
    }

    fn setup(self) -> Result<Setup, ConfigError> {
        let name = self.endpoint;
        let wrong = || ConfigError::Endpoint { endpoint: name.clone() };
        let uri: Uri = name.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong());
        }
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authorization = self.token.map(|token| authorization(&token)).transpose()?;
        if authorization.is_some() && !is_tls && !self.plaintext_token && !is_this_machine(host) {
            return Err(ConfigError::PlaintextToken { endpoint: name });
        }
        let mut endpoint = Endpoint::from(uri)
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE);
        match (is_tls, self.tls) {
            (false, None) => {}
            (false, Some(_)) => return Err(ConfigError::TlsUnused { endpoint: name }),
            (true, tls) => {
                let config = tls.unwrap_or_default().trusting();
                let config = config.ok_or_else(|| ConfigError::NoRoots { endpoint: name.clone() })?;
                endpoint = endpoint.tls_config(config).map_err(|error| ConfigError::Tls { what: causes(&error) })?;
            }
        }
        Ok(Setup { name, endpoint, authorization, deadline: self.deadline, resume_for: self.resume_for })
    }
}

/// How long a connection may take: another may be made faster.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A peer that shows no sign of life for so long, and not for so long again when it is asked for one, is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// What may wait here of one call, and of all calls of a connection: as much as that of the most calls that one has, so that who
/// takes what it asked for slowly is no hindrance to the others.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * LANE_CALLS;

/// The most calls that stay open on one connection, below what servers allow.
pub(crate) const LANE_CALLS: u32 = 64;

fn authorization(token: &str) -> Result<HeaderValue, ConfigError> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ConfigError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether what is sent there never leaves this machine.
fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(builder: ClientBuilder) -> Option<ConfigError> {
        builder.setup().err()
    }

    fn to(endpoint: &str) -> ClientBuilder {
        ClientBuilder::default().endpoint(endpoint)
    }

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for right in ["http://127.0.0.1:2113", "http://[::1]:2113/", "http://events.example", DEFAULT_ENDPOINT] {
            assert_eq!(error(to(right)), None, "{right}");
        }
        for wrong in
            ["", "127.0.0.1:2113", "ftp://a:1", "http://", "http://a:1/path", "http://a:1?b", "http://a b", "/a"]
        {
            assert_eq!(error(to(wrong)), Some(ConfigError::Endpoint { endpoint: wrong.to_owned() }));
        }
    }

    #[test]
    fn a_token_does_not_go_over_the_network_for_everybody_to_read() {
        for here in ["http://127.0.0.1:1", "http://127.8.8.8:1", "http://localhost:1", "http://[::1]:1"] {
            assert_eq!(error(to(here).token("t")), None, "{here}");
        }
        for away in ["http://10.0.0.1:1", "http://events.example:1", "http://localhost.example:1", "http://[fe80::1]:1"]
        {
            let refused = Some(ConfigError::PlaintextToken { endpoint: away.to_owned() });
            assert_eq!(error(to(away).token("t")), refused);
            assert_eq!(error(to(away).token("t").allow_plaintext_token()), None);
            assert_eq!(error(to(away)), None);
        }
        assert_eq!(error(to(DEFAULT_ENDPOINT).token("a\nb")), Some(ConfigError::Token));
    }

    #[test]
    fn tls_is_for_https_and_trusts_somebody() {
        let endpoint = "https://events.example".to_owned();
        let expected = if cfg!(feature = "native-roots") { None } else { Some(ConfigError::NoRoots { endpoint }) };
        assert_eq!(error(to("https://events.example")), expected);
        let endpoint = "http://events.example".to_owned();
        assert_eq!(error(to(&endpoint).tls(Tls::new())), Some(ConfigError::TlsUnused { endpoint }));
        let tls = |pem: &str| to("https://events.example").tls(Tls::new().roots_pem(pem));
        assert!(matches!(error(tls("nothing of the kind")), Some(ConfigError::NoRoots { .. })));
        let roots = "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n";
        assert_eq!(error(tls(roots)), None);
        let identity = to("https://events.example").tls(Tls::new().roots_pem(roots).identity_pem("no", "key"));
        assert!(matches!(error(identity), Some(ConfigError::Tls { .. })));
    }

    #[test]
    fn a_token_is_not_shown() {
        let builder = to(DEFAULT_ENDPOINT).token("secret-token");
        assert!(!format!("{builder:?} {:?}", builder.clone().setup()).contains("secret-token"));
    }
}
