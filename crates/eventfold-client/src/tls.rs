//! TLS.

use std::error::Error as StdError;
use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// How a connection is encrypted, whom it trusts, and who the client is.
///
/// ```
/// use eventfold_client::Tls;
///
/// # let (ca, certificate, key) = ("", "", "");
/// let tls = Tls::new().roots_pem(ca).identity_pem(certificate, key);
/// # let _ = tls;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Tls {
    config: ClientTlsConfig,
    roots: Roots,
}

/// Whom to trust.
#[derive(Clone, Copy, Debug, Default)]
enum Roots {
    /// Whom the system trusts, with the feature for that.
    #[default]
    Native,
    Given,
    /// What was given is no certificate.
    None,
}

/// What a certificate begins with. Where there is none, the library would trust nobody, and only connecting would tell.
const PEM_CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

impl Tls {
    /// Trusting nobody; with the feature `native-roots`, whom the system trusts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusting these certificates alone: one or more, as PEM.
    pub fn roots_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        let pem = pem.as_ref();
        let has_some = pem.windows(PEM_CERTIFICATE.len()).any(|window| window == PEM_CERTIFICATE);
        self.roots = if has_some { Roots::Given } else { Roots::None };
        self.config = self.config.ca_certificate(Certificate::from_pem(pem));
        self
    }

    /// With a certificate of the client's own, and its key, as PEM: where the server asks for one.
    pub fn identity_pem(mut self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.config = self.config.identity(Identity::from_pem(certificate, key));
        self
    }

    /// Where the server's certificate is for another name than the endpoint's.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.config = self.config.domain_name(name);
        self
    }

    /// What the library takes, if there is somebody to trust.
    pub(crate) fn trusting(self) -> Option<ClientTlsConfig> {
        match self.roots {
            Roots::Given => Some(self.config),
            #[cfg(feature = "native-roots")]
            Roots::Native => Some(self.config.with_native_roots()),
            _ => None,
        }
    }
}

/// What of a cause is in the way of a connection and stays there, in words; `None` where the next try may do better.
pub(crate) fn in_the_way(cause: &(dyn StdError + 'static)) -> Option<String> {
    let within = cause.downcast_ref::<io::Error>().and_then(|error| error.get_ref()?.downcast_ref::<Error>());
    let what = match within {
        Some(error) => of_this_end(error),
        None => None,
    };
    // What the other end says comes later, and HTTP/2 keeps no more of it than its words.
    let what = what.or_else(|| of_that_end(&cause.to_string()))?;
    Some(format!("{what} ({cause})"))
}

fn of_this_end(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is not for the name that it was called by"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet, by the clock of this machine"
            }
            _ => "its certificate is not from anybody who is trusted here",
        },
        Error::InvalidMessage(_) => "what answers there does not speak TLS: is it http:// instead of https://?",
        Error::PeerIncompatible(_) => "the two have no version of TLS in common",
        _ => return None,
    })
}

fn of_that_end(said: &str) -> Option<&'static str> {
    use AlertDescription as Alert;
    let (_, alert) = said.split_once("received fatal alert: ")?;
    let is = |alerts: &[Alert]| alerts.iter().any(|known| format!("{known:?}") == alert);
    // What may also end a connection that was sound is none of these: an append may be under way on it.
    if is(&[
        Alert::CertificateRequired,
        Alert::BadCertificate,
        Alert::UnsupportedCertificate,
        Alert::CertificateUnknown,
        Alert::UnknownCA,
    ]) {
        Some("it asks for a certificate of the client's, or does not take the one it has")
    } else if is(&[Alert::ProtocolVersion, Alert::HandshakeFailure]) {
        Some("the two have no version of TLS in common, or no cipher")
    } else {
        None
    }
}
