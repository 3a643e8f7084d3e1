//! The eventfold event store as a service: gRPC, metrics and health on one port.
//!
//! A [`Server`] is given a store that is open and serves it until it is told to stop. What its calls mean is said in
//! `docs/PROTOCOL.md`, how it is run in `docs/OPERATIONS.md`. The command `eventfold serve` is this with a configuration
//! file; a program that has a store of its own can serve it too:
//!
//! ```
//! use eventfold_db::EventfoldDb;
//! use eventfold_server::{Server, ServerOptions};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path();
//! let db = EventfoldDb::open(path)?;
//! let server = Server::bind(&ServerOptions::default().address("127.0.0.1:0".parse()?), &db).await?;
//! println!("listening on {}", server.local_addr());
//! server.serve(async { /* until a signal comes */ }).await;
//! db.close().await?;
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod app;
mod auth;
mod body;
mod clock;
mod connection;
mod deadline;
mod files;
mod framing;
mod gate;
mod heard;
mod metrics;
mod options;
mod security;
mod server;
mod service;
mod tls;
mod trace;
mod unread;

pub use access::{Grant, Role};
pub use auth::{
    Algorithm, AuthOptions, ClientEntry, DEFAULT_CLAIM, InvalidTokens, JwtOptions, TokenEntry, TokenFile, TokenHash,
};
pub use files::FileError;
pub use options::{DEFAULT_PORT, Limits, ServerOptions};
pub use security::Reload;
pub use server::{BindError, Server};
pub use tls::TlsFiles;
