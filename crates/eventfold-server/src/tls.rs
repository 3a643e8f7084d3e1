//! TLS: whose certificate the server shows, and whose it asks for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::files::{FileError, Reloaded};

/// The files that TLS is made of, each as PEM. They are read again when they change: connections that are open keep what they
/// began with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The server's certificate, and behind it those that lead to one that clients trust.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Whose certificates clients have to have one of. Without it they need none.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// TLS with this certificate and its key.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: certificate.into(), key: key.into(), client_ca: None }
    }

    /// Clients have to have a certificate of one of these.
    #[must_use]
    pub fn client_ca(mut self, client_ca: impl Into<PathBuf>) -> Self {
        self.client_ca = Some(client_ca.into());
        self
    }
}

/// What a server has to say when a connection is made.
#[derive(Debug)]
pub(crate) struct Tls(Reloaded<ServerConfig>);

impl Tls {
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, FileError> {
        let mut paths = vec![files.certificate.clone(), files.key.clone()];
        paths.extend(files.client_ca.clone());
        let files = files.clone();
        Ok(Self(Reloaded::load(paths, move |contents| config(&files, contents))?))
    }

    pub(crate) fn reload(&self) -> bool {
        self.0.reload()
    }

    /// The connection, once both sides know what they have asked for.
    pub(crate) async fn accept<I>(&self, io: I) -> io::Result<TlsStream<I>>
    where
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.0.current()).accept(io).await
    }
}

fn config(files: &TlsFiles, contents: &[Vec<u8>]) -> Result<ServerConfig, FileError> {
    let chain = certificates(&files.certificate, &contents[0])?;
    let key = PrivateKeyDer::from_pem_slice(&contents[1]).map_err(|error| FileError::new(&files.key, &error))?;
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let config = config.map_err(|error| FileError::new(&files.certificate, &error))?;
    let config = match &files.client_ca {
        None => config.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path, &contents[2])? {
                roots.add(root).map_err(|error| FileError::new(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            config.with_client_cert_verifier(verifier.map_err(|error| FileError::new(path, &error))?)
        }
    };
    let config = config.with_single_cert(chain, key);
    let mut config = config.map_err(|error| FileError::new(&files.certificate, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A connection that is resumed would not be asked for its certificate again, however long ago that was looked at. Connections
    // last, so that little would be saved.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The certificates of a file, at least one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|error| FileError::new(path, &error))?;
    if certificates.is_empty() {
        return Err(FileError::new(path, "there is no certificate in it"));
    }
    Ok(certificates)
}
