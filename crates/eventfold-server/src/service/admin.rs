//! Looking after the store: backups, exports, imports, verifying. All read much and take long, so that few go on at once.

use std::collections::VecDeque;

use eventfold_backup::{Exports, Import, ImportError, Source};
use eventfold_db::{Error, Finding, Offload, VerifyReport};
use eventfold_proto::convert::{
    Failed, chunk_to_wire, consequence_to_wire, exported_from_wire, exported_to_wire, failure_of, manifest_to_wire,
    report_to_wire, sealed_from_wire,
};
use eventfold_proto::v1::admin_server::Admin;
use eventfold_proto::v1::backup_response::Part;
use eventfold_proto::v1::failure::Cause;
use eventfold_proto::v1::verify_response::{self, Part as Verified};
use eventfold_proto::v1::{self, Advice};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use prost::Message;
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status, Streaming};

use super::session::MESSAGE_HEAD;
use super::{Call, Service, call};
use crate::gate::Place;
use crate::options::count;

/// A call of an administrator, until it ends.
struct Work {
    call: Call,
    /// Ready when it has to end.
    over: BoxFuture<'static, Failed>,
    place: Option<Place>,
}

impl Work {
    /// What comes, unless the call has to end before.
    async fn unless_over<T>(&mut self, coming: impl Future<Output = Result<T, Error>>) -> Result<T, Status> {
        tokio::select! {
            biased;
            failed = &mut self.over => Err(failed.into()),
            come = coming => come.map_err(|error| failure_of(&error).into()),
        }
    }
}

impl Service {
    fn work<T>(&self, request: &Request<T>) -> Result<Work, Status> {
        let call = call(request)?;
        call.access.check_admin()?;
        let bound = &self.gate.admin_calls;
        let place = Place::take(bound)?;
        Ok(Work { over: self.over(&call.standing), call, place: Some(place) })
    }
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl Admin for Service {
    type BackupStream = Answers<v1::BackupResponse>;

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let mut work = self.work(&request)?;
        let held = request.get_ref().held.iter().map(sealed_from_wire).collect::<Result<Vec<_>, _>>();
        let held = held.map_err(|wrong| Failed::from(wrong.within("held")))?;
        let (log, reads) = (self.reads.log().clone(), self.reads.clone());
        let source = reads.offload(move |_| Source::new(&log));
        let mut source = work.unless_over(source).await?;
        source.leave_out(&held);
        let manifest = Part::Manifest(manifest_to_wire(source.manifest()));
        let chunks = stream::try_unfold((work, source), move |(mut work, mut source)| {
            let chunk = reads.offload(move |_| Ok((source.next_chunk()?, source)));
            async move {
                let (chunk, source) = work.unless_over(chunk).await?;
                Ok(chunk.map(|chunk| (Part::Chunk(chunk_to_wire(chunk)), (work, source))))
            }
        });
        let parts = stream::once(async { Ok::<_, Status>(manifest) }).chain(chunks);
        Ok(Response::new(parts.map(|part| Ok(v1::BackupResponse { part: Some(part?) })).boxed()))
    }

    type ExportStream = Answers<v1::ExportResponse>;

    async fn export(&self, request: Request<v1::ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        let work = self.work(&request)?;
        let v1::ExportRequest { from, to } = request.into_inner();
        let exports = Exports::new(self.reads.snapshot(), from, to);
        let (reads, bytes) = (self.reads.clone(), count(self.limits.page_bytes));
        let pages = stream::try_unfold((work, exports), move |(mut work, mut exports)| {
            let page = reads.offload(move |_| Ok((exports.next_events(bytes)?, exports)));
            async move {
                let (events, exports) = work.unless_over(page).await?;
                let events: Vec<_> = events.into_iter().map(exported_to_wire).collect();
                Ok((!events.is_empty()).then_some((v1::ExportResponse { events }, (work, exports))))
            }
        });
        Ok(Response::new(pages.boxed()))
    }

    async fn import(
        &self,
        request: Request<Streaming<v1::ImportRequest>>,
    ) -> Result<Response<v1::ImportResponse>, Status> {
        let mut work = self.work(&request)?;
        let mut requests = request.into_inner();
        let mut import = Import::new(self.writer.clone(), self.reads.clone());
        loop {
            let message = tokio::select! {
                failed = &mut work.over => return Err(failed.into()),
                message = requests.message() => message?,
            };
            let Some(message) = message else { break };
            let bytes = message.encoded_len() + MESSAGE_HEAD;
            for (index, event) in message.events.into_iter().enumerate() {
                let event = exported_from_wire(event);
                let event = event.map_err(|wrong| Failed::from(wrong.within(format_args!("events[{index}]"))))?;
                import.push(event).await.map_err(|error| import_failure(&error))?;
            }
            work.call.charge.give_back(bytes as u64);
        }
        let report = import.finish().await.map_err(|error| import_failure(&error))?;
        Ok(Response::new(report_to_wire(&report)))
    }

    type VerifyStream = Answers<v1::VerifyResponse>;

    async fn verify(&self, request: Request<v1::VerifyRequest>) -> Result<Response<Self::VerifyStream>, Status> {
        let mut work = self.work(&request)?;
        let (tell, told) = watch::channel((0, 0));
        // It is read to its end, whether anybody waits for that or not.
        let place = work.place.take();
        let report = self.reads.offload(move |snapshot| {
            let _place = place;
            snapshot.verify(|progress| {
                tell.send_replace((progress.bytes_done, progress.bytes_total));
            })
        });
        let verifying = Verifying { work, report: Some(report), told, findings: VecDeque::new() };
        let parts = stream::try_unfold(verifying, |mut verifying| async move {
            let part = verifying.next().await?;
            Ok(part.map(|part| (v1::VerifyResponse { part: Some(part) }, verifying)))
        });
        Ok(Response::new(parts.boxed()))
    }
}

/// Verifying, and then telling what it has found.
struct Verifying {
    work: Work,
    report: Option<Offload<VerifyReport>>,
    told: watch::Receiver<(u64, u64)>,
    findings: VecDeque<Verified>,
}

impl Verifying {
    async fn next(&mut self) -> Result<Option<Verified>, Status> {
        let Some(report) = &mut self.report else { return Ok(self.findings.pop_front()) };
        let told = &mut self.told;
        let progress = async {
            tokio::select! {
                report = report => report.map(Some),
                Ok(()) = told.changed() => Ok(None),
            }
        };
        let Some(report) = self.work.unless_over(progress).await? else {
            let (bytes, total) = *self.told.borrow_and_update();
            return Ok(Some(Verified::Progress(verify_response::Progress { bytes, total })));
        };
        self.report = None;
        self.findings.extend(report.findings.iter().map(|finding| Verified::Finding(finding_to_wire(finding))));
        self.findings.push_back(Verified::Summary(verify_response::Summary {
            segments: report.segments,
            events: report.events,
            bytes: report.bytes,
            findings: report.findings.len() as u64,
            position: report.position,
            sealed_segments: report.sealed_segments,
            frames: report.frames,
            appends: report.appends,
        }));
        Ok(self.findings.pop_front())
    }
}

fn finding_to_wire(finding: &Finding) -> verify_response::Finding {
    verify_response::Finding {
        what: finding.cause.to_string(),
        file: finding.file.clone(),
        offset: finding.offset,
        from: finding.positions.as_ref().map(|positions| positions.start),
        to: finding.positions.as_ref().map(|positions| positions.end),
        consequence: consequence_to_wire(finding.consequence).into(),
    }
}

/// What an import has failed for, with where in the export that was.
fn import_failure(error: &ImportError) -> Status {
    if let ImportError::Append { source, .. } = error {
        return Failed { message: error.to_string(), ..failure_of(source) }.into();
    }
    let cause = Cause::Invalid(v1::Invalid { field: "events".to_owned() });
    Failed::new(Code::InvalidArgument, Advice::InvalidRequest, error.to_string(), Some(cause)).into()
}
