//! Which store a command is about: a directory, or a server. Behind either is the same trait, so that each command is written once.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eventfold_client::{Client, ClientBuilder, EventStore, EventfoldDb, Tls};
use eventfold_db::{Error, IoErrorKind, Operation, RecoveryReport, Store, WriterHandle};

use crate::args::Where;
use crate::exit::{Failure, code};
use crate::output::note;

/// The directory where nothing else is said.
pub(crate) const DEFAULT_DATA: &str = "./eventfold-data";

/// What a command does with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It reads. A directory is opened without changing anything in it.
    Read,
    /// It appends. A directory is made where there is none.
    Append,
    /// It is about the files of a directory as they are, which no server can be asked for.
    Files,
    /// It copies a directory, which is opened as it would be to be served, so that all is there that was acknowledged.
    Copy,
}

/// A store, as an option says which.
#[derive(Debug)]
pub(crate) enum Place {
    Directory(PathBuf),
    Server(Box<ClientBuilder>),
}

/// A store that is open.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) store: Arc<dyn EventStore>,
    /// Of a directory, what closes it.
    writer: Option<WriterHandle>,
}

/// How long it may take to reach a server: a mistyped address should not keep anybody waiting.
const REACH: Duration = Duration::from_secs(5);

impl Where {
    /// The store that is meant: a server where one is named, on the command line or in the environment; a directory that is
    /// named on the command line is stronger than the environment.
    pub(crate) fn place(&self) -> Result<Place, Failure> {
        let server = match (&self.server, &self.data) {
            (Some(server), _) => Some(server.clone()),
            (None, Some(_)) => None,
            (None, None) => variable("EVENTFOLD_SERVER")?,
        };
        let Some(server) = server else {
            let of_server = [&self.token_file, &self.ca, &self.cert].into_iter().any(Option::is_some);
            if of_server {
                let message = "--token-file, --ca, --cert and --key are for a server: --server says which";
                return Err(Failure::new(code::USAGE, message));
            }
            return Ok(Place::Directory(directory(self.data.as_deref())?));
        };
        let mut client = Client::builder().endpoint(server).deadline(Duration::from_secs(self.timeout));
        let token = match &self.token_file {
            Some(file) => Some(token_in(file)?),
            None => variable("EVENTFOLD_TOKEN")?,
        };
        if let Some(token) = token {
            client = client.token(token);
        }
        if self.ca.is_some() || self.cert.is_some() {
            let mut tls = Tls::new();
            if let Some(ca) = &self.ca {
                tls = tls.roots_pem(text_file(ca)?);
            }
            if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
                tls = tls.identity_pem(text_file(cert)?, text_file(key)?);
            }
            client = client.tls(tls);
        }
        Ok(Place::Server(Box::new(client)))
    }

    /// Opens the store.
    pub(crate) async fn open(&self, access: Access) -> Result<Target, Failure> {
        match self.place()? {
            Place::Directory(directory) => {
                let (db, report) = open_directory(&directory, access)?;
                if access == Access::Append && report.created {
                    note(&format!("made a store in {}", directory.display()));
                }
                let writer = Some(db.writer().clone());
                Ok(Target { store: Arc::new(db), writer })
            }
            Place::Server(client) => Ok(Target { store: Arc::new(connect(*client).await?), writer: None }),
        }
    }
}

impl Target {
    /// Lets go of the store. What was done to it stands also where this fails.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self.writer {
            Some(writer) => Ok(writer.close().await?),
            None => Ok(()),
        }
    }
}

/// A client of a server that answers.
pub(crate) async fn connect(client: ClientBuilder) -> Result<Client, Failure> {
    // Another client's, so that how long reaching it may take says nothing of how long appends and reads may.
    client.clone().deadline(REACH).connect().await?;
    Ok(client.connect_lazily()?)
}

/// Opens a directory.
pub(crate) fn open_directory(directory: &Path, access: Access) -> Result<(EventfoldDb, RecoveryReport), Failure> {
    let read_only = access == Access::Read;
    let options = Store::builder().read_only(read_only).create_if_missing(access == Access::Append);
    let db = EventfoldDb::builder().store(options).open(directory);
    let db = db.map_err(|error| of_directory(directory, access, error))?;
    let report = db.recovery_report().clone();
    if read_only && report.unproven_events() > 0 {
        note(&format!(
            "the store was not closed: {} at its end not shown before opening it to append, or to serve, decides on them",
            match report.unproven_events() {
                1 => "1 event is".to_owned(),
                events => format!("{events} events are"),
            }
        ));
    }
    Ok((db, report))
}

/// What opening a directory has failed for, and what leads on.
pub(crate) fn of_directory(directory: &Path, access: Access, error: Error) -> Failure {
    let directory = directory.display();
    match error {
        Error::Locked { .. } if access == Access::Files => {
            let message =
                format!("the store in {directory} is open elsewhere: stop what has it open, a server for example");
            Failure::new(code::RETRY, message)
        }
        Error::Locked { .. } => Failure::new(
            code::RETRY,
            format!(
                "the store in {directory} is open elsewhere. If a server has it, ask that: --server http://127.0.0.1:2113"
            ),
        ),
        Error::NoStore { what } => no_store(&directory, what),
        Error::Io(io) if io.kind() == IoErrorKind::NotFound && io.operation() == Operation::OpenDirectory => {
            no_store(&directory, "there is no such directory")
        }
        Error::Corrupt(damage) if access != Access::Files => Failure::new(
            code::DAMAGED,
            format!(
                "{directory} is damaged: {damage}. `eventfold verify` tells all that is, `eventfold repair` what can be kept"
            ),
        ),
        error => Failure::from(error).with_context(&directory),
    }
}

fn no_store(directory: &impl std::fmt::Display, what: &str) -> Failure {
    Failure::new(
        code::NOT_FOUND,
        format!(
            "there is no store in {directory}: {what}. --data names another; `eventfold append` and `serve` make one"
        ),
    )
}

/// The directory that is meant: the one that is named, that of the environment, or the one here.
pub(crate) fn directory(named: Option<&Path>) -> Result<PathBuf, Failure> {
    Ok(match named {
        Some(named) => named.to_owned(),
        None => variable("EVENTFOLD_DATA")?.unwrap_or_else(|| DEFAULT_DATA.to_owned()).into(),
    })
}

/// A variable of the environment; an empty one counts as none.
fn variable(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Failure::new(code::USAGE, format!("{name} has to be UTF-8"))),
    }
}

/// Tokens and certificates are far shorter.
const TEXT_FILE_BYTES_MAX: usize = 1 << 20;

fn token_in(path: &Path) -> Result<String, Failure> {
    match text_file(path)?.trim() {
        "" => Err(Failure::new(code::USAGE, format!("there is no token in {}", path.display()))),
        token => Ok(token.to_owned()),
    }
}

fn text_file(path: &Path) -> Result<String, Failure> {
    let bytes = read_file(path, TEXT_FILE_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|_| Failure::new(code::USAGE, format!("{}: it has to be text", path.display())))
}

/// A file that is not the store's, if it is no longer than that.
#[expect(clippy::disallowed_methods, reason = "what is read is not the store's")]
pub(crate) fn read_file(path: &Path, max: usize) -> Result<Vec<u8>, Failure> {
    let name = path.display();
    let file = std::fs::File::open(path);
    let file = file.map_err(|error| Failure::new(code::USAGE, format!("could not read {name}: {error}")))?;
    read_up_to(file, max, &name.to_string())
}

/// All that there is to read, if it is no longer than that.
pub(crate) fn read_up_to(from: impl Read, max: usize, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = from.take(max as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::new(code::FAILED, format!("could not read {name}: {error}")))?;
    if bytes.len() > max {
        return Err(Failure::new(code::USAGE, format!("{name} has more than {max} bytes, the most that is taken")));
    }
    Ok(bytes)
}
