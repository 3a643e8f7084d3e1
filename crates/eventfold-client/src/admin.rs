//! Looking after the store behind a server.

use std::ops::Range;

use eventfold_backup::{Chunk, ExportedEvent, ImportReport, Manifest};
use eventfold_proto::convert::{
    chunk_from_wire, consequence_from_wire, exported_from_wire, exported_to_wire, manifest_from_wire, report_from_wire,
    sealed_to_wire,
};
use eventfold_proto::v1::admin_client::AdminClient;
use eventfold_proto::v1::{self, backup_response, verify_response};
use eventfold_store::{Consequence, SealedFile};
use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use tonic::{Status, Streaming};

use crate::client::{Client, read_error};
use crate::error::Error;
use crate::transport::{Lane, Transport};

/// Looking after the store behind a server: see [`Client::admin`].
///
/// What breaks on the way is an error and is not tried again by itself: a backup is begun again and shares what it has, an import
/// passes over what is there.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

/// What verifying tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verified {
    /// How far it is.
    Progress {
        /// Bytes that were read.
        bytes: u64,
        /// Bytes there are.
        total: u64,
    },
    /// Something is damaged.
    Finding(VerifyFinding),
    /// The end, and what was read.
    Summary(verify_response::Summary),
}

/// Something that is wrong with a file of a server's store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyFinding {
    /// The file.
    pub file: String,
    /// Where in it, where that can be told.
    pub offset: Option<u64>,
    /// What is wrong, in a sentence.
    pub what: String,
    /// The positions of the events that can't be read for it, where there are any and that can be told.
    pub positions: Option<Range<u64>>,
    /// What it costs; `None` where only a newer version knows.
    pub consequence: Option<Consequence>,
}

impl From<verify_response::Finding> for VerifyFinding {
    fn from(finding: verify_response::Finding) -> Self {
        let consequence = consequence_from_wire(finding.consequence());
        let positions = finding.from.zip(finding.to).map(|(from, to)| from..to);
        let verify_response::Finding { what, file, offset, .. } = finding;
        Self { file, offset, what, positions, consequence }
    }
}

/// Events of one message of an import, at the most: well below what a server takes.
const IMPORT_EVENTS: usize = 1000;

/// Bytes of them: the event that reaches this is the last.
const IMPORT_BYTES: usize = 256 << 10;

impl Client {
    /// Looking after the store: backups, exports, imports, verifying. It needs the role `admin` on all streams.
    pub fn admin(&self) -> Admin {
        Admin { client: self.clone() }
    }
}

impl Admin {
    fn calls(&self) -> (AdminClient<Transport>, Lane) {
        let lane = self.client.lane();
        (lane.admin(), lane)
    }

    fn error(&self, status: &Status) -> Error {
        read_error(self.client.trouble(status).error)
    }

    /// The answers of a call, which keeps its place among the connection's calls.
    fn answers<T: Send + 'static>(&self, answers: Streaming<T>, lane: Lane) -> BoxStream<'static, Result<T, Error>> {
        let admin = self.clone();
        let answers = stream::unfold((answers, lane), |(mut answers, lane)| async move {
            let answer = answers.message().await.transpose()?;
            Some((answer, (answers, lane)))
        });
        answers.map_err(move |status| admin.error(&status)).boxed()
    }

    /// Begins a backup of the store as it stands: which files it has, and then their parts. Sealed segments that are held already are
    /// not sent. `eventfold_backup` makes a directory of it, and looks at all that comes.
    ///
    /// # Errors
    ///
    /// [`Error`], also yielded.
    pub async fn backup(
        &self,
        held: &[SealedFile],
    ) -> Result<(Manifest, BoxStream<'static, Result<Chunk, Error>>), Error> {
        let (mut calls, lane) = self.calls();
        let request = v1::BackupRequest { held: held.iter().map(sealed_to_wire).collect() };
        let answers = calls.backup(request).await.map_err(|status| self.error(&status))?.into_inner();
        let mut answers = self.answers(answers, lane);
        let first = answers.try_next().await?.and_then(|answer| answer.part);
        let Some(backup_response::Part::Manifest(manifest)) = first else {
            return Err(Error::protocol(&"a backup begins with its manifest"));
        };
        let manifest = manifest_from_wire(manifest).map_err(|wrong| Error::protocol(&wrong))?;
        let chunks = answers.map(|answer| match answer?.part {
            Some(backup_response::Part::Chunk(chunk)) => Ok(chunk_from_wire(chunk)),
            _ => Err(Error::protocol(&"a backup has one manifest, and then chunks")),
        });
        Ok((manifest, chunks.boxed()))
    }

    /// The events from a position on, with all that belongs to them, up to the one before `to`, or as far as the log goes now.
    ///
    /// # Errors
    ///
    /// [`Error`], also yielded.
    pub async fn export(
        &self,
        from: u64,
        to: Option<u64>,
    ) -> Result<BoxStream<'static, Result<ExportedEvent, Error>>, Error> {
        let (mut calls, lane) = self.calls();
        let answers = calls.export(v1::ExportRequest { from, to }).await.map_err(|status| self.error(&status))?;
        let events = self.answers(answers.into_inner(), lane).map_ok(|answer| {
            let events = answer.events.into_iter().map(exported_from_wire);
            stream::iter(events.map(|event| event.map_err(|wrong| Error::protocol(&wrong))))
        });
        Ok(events.try_flatten().boxed())
    }

    /// Appends what another store has exported. See `eventfold_backup::Import` for what that means.
    ///
    /// # Errors
    ///
    /// [`Error`]: what came before in the export may stand then, and importing it again passes over that.
    pub async fn import(
        &self,
        events: impl Stream<Item = ExportedEvent> + Send + 'static,
    ) -> Result<ImportReport, Error> {
        let (mut calls, _lane) = self.calls();
        let messages = stream::unfold(Box::pin(events.fuse()), |mut events| async move {
            let (mut message, mut bytes) = (v1::ImportRequest::default(), 0);
            while message.events.len() < IMPORT_EVENTS && bytes < IMPORT_BYTES {
                let Some(event) = events.next().await else { break };
                bytes += event.event.size();
                message.events.push(exported_to_wire(event));
            }
            (!message.events.is_empty()).then_some((message, events))
        });
        let report = calls.import(messages).await.map_err(|status| self.error(&status))?;
        Ok(report_from_wire(&report.into_inner()))
    }

    /// Verifies the store, while the server goes on: how far that is, then what is damaged, and in the end a summary.
    ///
    /// # Errors
    ///
    /// [`Error`], also yielded.
    pub async fn verify(&self) -> Result<BoxStream<'static, Result<Verified, Error>>, Error> {
        let (mut calls, lane) = self.calls();
        let answers = calls.verify(v1::VerifyRequest {}).await.map_err(|status| self.error(&status))?;
        let told = self.answers(answers.into_inner(), lane).map(|answer| match answer?.part {
            Some(verify_response::Part::Progress(at)) => Ok(Verified::Progress { bytes: at.bytes, total: at.total }),
            Some(verify_response::Part::Finding(finding)) => Ok(Verified::Finding(finding.into())),
            Some(verify_response::Part::Summary(summary)) => Ok(Verified::Summary(summary)),
            None => Err(Error::protocol(&"an answer says nothing")),
        });
        Ok(told.boxed())
    }
}
