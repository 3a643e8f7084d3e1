//! Connections that are encrypted: who trusts whom, and what becomes of new certificates.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]
#![expect(clippy::disallowed_methods, reason = "certificates are files")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::path::PathBuf;
use std::sync::Arc;

use eventfold_db::EventfoldDb;
use eventfold_proto::v1;
use eventfold_proto::v1::event_store_client::EventStoreClient;
use eventfold_proto::v1::subscribe_response::Event;
use eventfold_server::{AuthOptions, BindError, ClientEntry, Grant, Limits, Role, Server, ServerOptions, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use support::{Issuer, Running, append, everything, soon, stream, with};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

/// Somebody who makes certificates.
struct Authority {
    issuer: rcgen::Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    fn pair(&self, name: &str) -> Pair {
        self.pair_of(&CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    fn expired(&self, name: &str) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        self.pair_of(&params)
    }

    fn pair_of(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair { certificate: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// The files of a server.
struct Files(TempDir);

impl Files {
    fn new(pair: &Pair) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(pair);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, pair: &Pair) {
        std::fs::write(self.path("certificate.pem"), &pair.certificate).unwrap();
        std::fs::write(self.path("key.pem"), &pair.key).unwrap();
    }

    fn tls(&self) -> TlsFiles {
        TlsFiles::new(self.path("certificate.pem"), self.path("key.pem"))
    }

    /// Where clients have to have a certificate of this authority.
    fn mutual(&self, authority: &Authority) -> TlsFiles {
        std::fs::write(self.path("client-ca.pem"), &authority.pem).unwrap();
        self.tls().client_ca(self.path("client-ca.pem"))
    }
}

/// A client that trusts an authority, with a certificate of its own or without.
async fn client(running: &Running, trusted: &str, own: Option<&Pair>) -> Result<EventStoreClient<Channel>, Status> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trusted)).domain_name("server.test");
    if let Some(own) = own {
        tls = tls.identity(Identity::from_pem(&own.certificate, &own.key));
    }
    let endpoint = Endpoint::from_shared(format!("https://{}", running.address)).unwrap().tls_config(tls).unwrap();
    let unreachable = |error| Status::unavailable(format!("{error:?}"));
    Ok(EventStoreClient::new(soon(endpoint.connect()).await.map_err(unreachable)?))
}

/// Whether a call is answered.
async fn head(running: &Running, trusted: &str, own: Option<&Pair>) -> Result<(), Status> {
    soon(client(running, trusted, own).await?.head(v1::HeadRequest {})).await.map(drop)
}

#[tokio::test]
async fn a_client_and_a_server_that_trust_each_other_talk_and_others_do_not() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let files = Files::new(&ours.pair("server.test"));
    let running = Running::start(ServerOptions::default().tls(files.tls())).await;
    head(&running, &ours.pem, None).await.unwrap();
    assert!(head(&running, &other.pem, None).await.is_err());
    let plain = Endpoint::from_shared(format!("http://{}", running.address)).unwrap();
    let mut plain = EventStoreClient::new(plain.connect_lazy());
    assert!(soon(plain.head(v1::HeadRequest {})).await.is_err());

    files.write(&ours.pair("another.test"));
    running.reload.now();
    assert!(head(&running, &ours.pem, None).await.is_err(), "the certificate is for another name");
    files.write(&ours.expired("server.test"));
    running.reload.now();
    assert!(head(&running, &ours.pem, None).await.is_err(), "it has expired");
    running.stop().await;
}

#[tokio::test]
async fn probes_are_answered_over_http_1_and_what_is_spoken_is_agreed_on() {
    let ours = Authority::new("ours");
    let files = Files::new(&ours.pair("server.test"));
    let running = Running::start(ServerOptions::default().tls(files.tls())).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ours.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    for (offered, agreed) in [(&["http/1.1"][..], "http/1.1"), (&["h2"], "h2"), (&["http/1.1", "h2"], "h2")] {
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = TcpStream::connect(running.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config.clone()));
        let mut tls = soon(connector.connect(ServerName::try_from("server.test").unwrap(), socket)).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(agreed.as_bytes()));
        if agreed == "http/1.1" {
            let request = b"GET /health/ready HTTP/1.1\r\nhost: server.test\r\nconnection: close\r\n\r\n";
            tls.write_all(request).await.unwrap();
            let mut answer = Vec::new();
            let _ = soon(tls.read_to_end(&mut answer)).await;
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn where_clients_need_a_certificate_only_a_good_one_lets_them_in() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let files = Files::new(&ours.pair("server.test"));
    let running = Running::start(ServerOptions::default().tls(files.mutual(&theirs))).await;
    head(&running, &ours.pem, Some(&theirs.pair("client.test"))).await.unwrap();
    for (own, what) in [
        (None, "none"),
        (Some(ours.pair("client.test")), "one of another authority"),
        (Some(theirs.expired("client.test")), "one that has expired"),
    ] {
        assert!(head(&running, &ours.pem, own.as_ref()).await.is_err(), "{what}");
    }
    // Health and metrics are behind the same door.
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    socket.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(socket.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"));
    running.stop().await;
}

#[tokio::test]
async fn a_client_is_known_by_a_name_of_its_certificate() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let files = Files::new(&ours.pair("server.test"));
    let mut issuer = Issuer::new();
    let token = issuer.issue(&[(Role::Append, "users-")], None);
    let grants = vec![Grant { role: Role::Admin, prefix: "orders-".to_owned() }];
    issuer.file.clients.push(ClientEntry { dns: "Orders.clients.test".to_owned(), grants });
    issuer.write();
    let options = issuer.options().tls(files.mutual(&theirs));
    let running = Running::start(options).await;
    let code = |answer: Result<tonic::Response<v1::AppendResponse>, Status>| match answer {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    };
    let own = theirs.pair("orders.clients.test");
    let mut known = client(&running, &ours.pem, Some(&own)).await.unwrap();
    assert_eq!(code(soon(known.append(append(stream("orders-1")))).await), Code::Ok);
    assert_eq!(code(soon(known.append(append(stream("users-1")))).await), Code::PermissionDenied);
    let mut any = client(&running, &ours.pem, Some(&theirs.pair("*.clients.test"))).await.unwrap();
    assert_eq!(code(soon(any.append(append(stream("orders-1")))).await), Code::Ok);
    // A token says who calls where there is one, be it right or wrong.
    assert_eq!(code(soon(known.append(with(&token, append(stream("users-1"))))).await), Code::Ok);
    assert_eq!(code(soon(known.append(with(&token, append(stream("orders-1"))))).await), Code::PermissionDenied);
    assert_eq!(code(soon(known.append(with("token-9.x", append(stream("orders-1"))))).await), Code::Unauthenticated);
    for name in ["users.clients.test", "orders.clients.test.example", "a.orders.clients.test"] {
        let mut unknown = client(&running, &ours.pem, Some(&theirs.pair(name))).await.unwrap();
        assert_eq!(code(soon(unknown.append(append(stream("orders-1")))).await), Code::Unauthenticated, "{name}");
    }
    // Who is not known any more is let go, although the certificate is as good as before.
    let source = Some(v1::subscribe_request::Source::Query(everything()));
    let request = v1::SubscribeRequest { source, ..Default::default() };
    let mut events = soon(known.subscribe(request)).await.unwrap().into_inner();
    issuer.file.clients.clear();
    issuer.write();
    running.reload.now();
    let status = loop {
        match soon(events.message()).await {
            Ok(message) => assert!(message.is_some()),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unauthenticated);
    running.stop().await;
}

#[tokio::test]
async fn new_certificates_are_shown_to_new_connections_and_open_ones_go_on() {
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let files = Files::new(&before.pair("server.test"));
    let running = Running::start(ServerOptions::default().tls(files.tls())).await;
    let mut open = client(&running, &before.pem, None).await.unwrap();
    let source = Some(v1::subscribe_request::Source::Query(everything()));
    let mut events = open.subscribe(v1::SubscribeRequest { source, ..Default::default() }).await.unwrap().into_inner();

    // What is wrong is not taken: a key alone, a certificate alone, half a file, none.
    let new = after.pair("server.test");
    std::fs::write(files.path("key.pem"), &new.key).unwrap();
    running.reload.now();
    head(&running, &before.pem, None).await.unwrap();
    for broken in [&new.certificate[..100], "", "\u{0}"] {
        std::fs::write(files.path("certificate.pem"), broken).unwrap();
        running.reload.now();
        head(&running, &before.pem, None).await.unwrap();
    }
    std::fs::remove_file(files.path("key.pem")).unwrap();
    running.reload.now();
    head(&running, &before.pem, None).await.unwrap();

    files.write(&new);
    running.reload.now();
    head(&running, &after.pem, None).await.unwrap();
    assert!(head(&running, &before.pem, None).await.is_err());
    soon(open.append(append(stream("orders-1")))).await.unwrap();
    loop {
        match soon(events.message()).await.unwrap().unwrap().event.unwrap() {
            Event::CaughtUp(1) => break,
            Event::Ended(_) => panic!("the connection goes on"),
            _ => {}
        }
    }
    drop((events, open));
    running.stop().await;
}

#[tokio::test]
async fn other_client_certificates_are_asked_for_when_the_file_says_so() {
    let (ours, old, new) = (Authority::new("ours"), Authority::new("old"), Authority::new("new"));
    let files = Files::new(&ours.pair("server.test"));
    let running = Running::start(ServerOptions::default().tls(files.mutual(&old))).await;
    head(&running, &ours.pem, Some(&old.pair("client.test"))).await.unwrap();
    let _ = files.mutual(&new);
    running.reload.now();
    assert!(head(&running, &ours.pem, Some(&old.pair("client.test"))).await.is_err());
    head(&running, &ours.pem, Some(&new.pair("client.test"))).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_peer_that_does_not_get_on_with_it_is_let_go() {
    let ours = Authority::new("ours");
    let files = Files::new(&ours.pair("server.test"));
    let mut limits = Limits::default();
    limits.handshake_ms = 300;
    let running = Running::start(ServerOptions::default().tls(files.tls()).limits(limits)).await;
    // One that says nothing, and one that begins a message of TLS and does not end it.
    for begins in [&[][..], &[22, 3, 1, 2, 0, 1]] {
        let mut silent = TcpStream::connect(running.address).await.unwrap();
        silent.write_all(begins).await.unwrap();
        assert_eq!(soon(silent.read(&mut [0])).await.unwrap_or(0), 0);
    }
    // One that agrees on TLS, and then says nothing.
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ours.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let socket = TcpStream::connect(running.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut tls = soon(connector.connect(ServerName::try_from("server.test").unwrap(), socket)).await.unwrap();
    assert_eq!(soon(tls.read(&mut [0])).await.unwrap_or(0), 0);
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_can_not_be_used_is_named_when_the_server_starts() {
    let ours = Authority::new("ours");
    let pair = ours.pair("server.test");
    let db = EventfoldDb::in_memory().unwrap();
    let told = async |options: ServerOptions| {
        let checked = options.check().unwrap_err().to_string();
        let options = options.address(([127, 0, 0, 1], 0).into());
        match Server::bind(&options, &db).await.unwrap_err() {
            BindError::File(error) => assert_eq!(error.to_string(), checked),
            other => panic!("{other}"),
        }
        checked
    };
    let with = |tls: TlsFiles| ServerOptions::default().tls(tls);
    let files = Files::new(&pair);
    let missing = TlsFiles::new(files.path("none.pem"), files.path("key.pem"));
    assert!(told(with(missing)).await.contains("none.pem: "));
    let swapped = TlsFiles::new(files.path("key.pem"), files.path("certificate.pem"));
    assert!(told(with(swapped)).await.contains("key.pem: there is no certificate in it"));
    let no_key = TlsFiles::new(files.path("certificate.pem"), files.path("certificate.pem"));
    assert!(told(with(no_key)).await.contains("certificate.pem: "));
    std::fs::write(files.path("key.pem"), ours.pair("server.test").key).unwrap();
    assert!(told(with(files.tls())).await.contains("certificate.pem: "), "the key of another certificate");
    files.write(&pair);
    std::fs::write(files.path("empty.pem"), "").unwrap();
    let no_roots = files.tls().client_ca(files.path("empty.pem"));
    assert!(told(with(no_roots)).await.contains("empty.pem: there is no certificate in it"));
    let auth = AuthOptions::default().tokens(files.path("none.toml"));
    assert!(told(ServerOptions::default().auth(auth)).await.contains("none.toml: "));
    db.close().await.unwrap();
}
