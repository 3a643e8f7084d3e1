//! TLS.

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
