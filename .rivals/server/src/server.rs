//! The servers, each in a process of its own and as it is where nothing is set.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use eventfold_db::EventfoldDb;
use eventfold_server::{Server, ServerOptions};
use tempfile::TempDir;

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Eventfold,
    Umadb,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Eventfold => "eventfold",
            Self::Umadb => "umadb",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        let kind = [Self::Eventfold, Self::Umadb].into_iter().find(|kind| kind.name() == name);
        kind.unwrap_or_else(|| panic!("there is no server {name}"))
    }
}

/// Serves a store in the directory until the process is ended, or the one that started it.
pub(crate) fn serve(kind: Kind, directory: &Path, address: SocketAddr) {
    std::thread::spawn(|| {
        // Nothing is ever written there, so this returns when nobody can any more.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
    match kind {
        Kind::Eventfold => {
            // As the command `eventfold serve` does.
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
            runtime.block_on(async {
                let db = EventfoldDb::open(directory).expect("a new store");
                let server = Server::bind(&ServerOptions::default().address(address), &db).await.expect("a free port");
                server.serve(std::future::pending()).await;
            });
        }
        Kind::Umadb => {
            // What the command `umadb` is made of.
            let directory = directory.to_str().expect("a directory whose name is UTF-8");
            let arguments = ["umadb", "--listen", &address.to_string(), "--db-path", directory];
            let options = umadb::parse_cli_options(arguments).expect("its options");
            umadb::start_server_with_cli_options(options).expect("a new store and a free port");
        }
    }
}

/// A server that runs until this is dropped, and its store with it.
pub(crate) struct Running {
    pub(crate) kind: Kind,
    address: SocketAddr,
    process: Child,
    // Gone once the process is.
    _directory: TempDir,
}

impl Running {
    pub(crate) fn start(kind: Kind, parent: &Path) -> Self {
        let directory = tempfile::tempdir_in(parent).expect("a directory can be made");
        let address = free_address();
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args(["serve", kind.name()]).arg(directory.path()).arg(address.to_string());
        // Both would take settings from the environment.
        let process = command.env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        let mut running = Self { kind, address, process, _directory: directory };
        running.wait();
        running
    }

    fn wait(&mut self) {
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.process.try_wait().expect("it was started");
            assert!(ended.is_none(), "the server {} has ended: {ended:?}", self.kind.name());
            assert!(begun.elapsed() < START_MAX, "the server {} does not listen", self.kind.name());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

const START_MAX: Duration = Duration::from_secs(30);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended by itself is no matter here: its clients have told.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One of them can't tell which port it was given, so both are told one.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it listens")
}
