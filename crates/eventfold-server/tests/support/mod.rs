//! A server with files of its own, and who calls it.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]
#![expect(clippy::disallowed_methods, reason = "a server runs beside its clients, and has files")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use eventfold_db::EventfoldDb;
use eventfold_proto::FILE_DESCRIPTOR_SET;
use eventfold_proto::v1;
use eventfold_proto::v1::event_store_client::EventStoreClient;
use eventfold_server::{AuthOptions, Grant, Reload, Role, Server, ServerOptions, TokenEntry, TokenFile};
use prost::Message;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// Nothing here takes as long as this.
pub(crate) const HANGS: Duration = Duration::from_mins(2);

/// What it comes to, which has to come.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANGS, what).await.expect("it does not hang")
}

/// A server of a store in memory.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) db: EventfoldDb,
    pub(crate) reload: Reload,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(options: ServerOptions) -> Self {
        Self::start_on(options, EventfoldDb::in_memory().expect("memory is there")).await
    }

    /// A server of this store.
    pub(crate) async fn start_on(options: ServerOptions, db: EventfoldDb) -> Self {
        let options = options.address(SocketAddr::from(([127, 0, 0, 1], 0)));
        let server = Server::bind(&options, &db).await.expect("a free port, and files that are right");
        let (address, reload) = (server.local_addr(), server.reload());
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(server.serve(async { drop(stopped.await) }));
        Self { address, db, reload, stop, ended }
    }

    /// A client without TLS.
    pub(crate) async fn client(&self) -> EventStoreClient<Channel> {
        EventStoreClient::new(self.channel().await)
    }

    pub(crate) async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// A number of `/metrics`.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let page = plain(self.address, "/metrics").await;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is in {page}")).parse().unwrap()
    }

    pub(crate) async fn stop(self) {
        self.stop_serving().await.close().await.expect("memory can be closed");
    }

    /// The server ends, and leaves the store open.
    pub(crate) async fn stop_serving(self) -> EventfoldDb {
        self.stop.send(()).expect("the server runs");
        soon(self.ended).await.expect("the server does not panic");
        self.db
    }
}

/// What is answered to a plain request.
pub(crate) async fn plain(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(socket.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// A directory with a file of tokens.
pub(crate) struct Issuer {
    pub(crate) directory: TempDir,
    pub(crate) file: TokenFile,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let issuer = Self { directory: tempfile::tempdir().unwrap(), file: TokenFile::default() };
        issuer.write();
        issuer
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("tokens.toml")
    }

    /// A new token with these grants, which is not in the file before it is written.
    pub(crate) fn issue(&mut self, grants: &[(Role, &str)], expires: Option<u64>) -> String {
        let number = self.file.tokens.len();
        let random = [u8::try_from(number).unwrap(); 32];
        let grants = grants.iter().map(|(role, prefix)| Grant { role: *role, prefix: (*prefix).to_owned() }).collect();
        let (token, entry) = TokenEntry::new(format!("token-{number}"), random, grants, expires);
        self.file.tokens.push(entry);
        token
    }

    pub(crate) fn revoke(&mut self, token: &str) {
        self.file.tokens.retain(|entry| !token.starts_with(&format!("{}.", entry.name)));
        self.write();
    }

    pub(crate) fn write(&self) {
        std::fs::write(self.path(), self.file.to_text()).unwrap();
    }

    pub(crate) fn options(&self) -> ServerOptions {
        ServerOptions::default().auth(AuthOptions::default().tokens(self.path()))
    }
}

/// A message of somebody who shows a token.
pub(crate) fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

pub(crate) fn stream(name: &str) -> v1::StreamRef {
    v1::StreamRef { stream: Some(v1::stream_ref::Stream::Name(name.to_owned())) }
}

/// One event to a stream.
pub(crate) fn append(stream: v1::StreamRef) -> v1::AppendRequest {
    let event = v1::ProposedEvent { r#type: "Happened".into(), payload: "{}".into(), ..Default::default() };
    let write = v1::StreamEvents { stream: Some(stream), events: vec![event] };
    v1::AppendRequest { conditions: Vec::new(), writes: vec![write] }
}

/// All events.
pub(crate) fn everything() -> v1::Query {
    v1::Query { all: true, items: Vec::new() }
}

/// The calls of the definition, as `Service/Method`.
pub(crate) fn methods() -> Vec<String> {
    let files = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    let ours = files.into_iter().filter(|file| file.package() == "eventfold.v1");
    let services = ours.flat_map(|file| file.service);
    let methods = services.flat_map(|service| {
        let name = service.name().to_owned();
        service.method.into_iter().map(move |method| format!("{name}/{}", method.name()))
    });
    methods.collect()
}
