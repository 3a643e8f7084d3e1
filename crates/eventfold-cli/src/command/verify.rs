//! `eventfold verify`.

use std::ops::Range;
use std::path::Path;

use eventfold_client::{Client, Verified, VerifyFinding};
use eventfold_db::{Consequence, Finding, VerifyReport};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::args::Verify;
use crate::exit::{Failure, code};
use crate::json::line;
use crate::output::{Output, count, shown};
use crate::progress::Progress;
use crate::target::{Access, Place, connect, of_directory};

/// More things that are damaged are counted, and not shown: a server may say anything.
const FINDINGS_MAX: usize = 10_000;

/// What verifying has come to, wherever that was.
struct Verdict {
    segments: u64,
    sealed_segments: u64,
    frames: u64,
    appends: u64,
    events: u64,
    bytes: u64,
    position: u64,
    /// What opening the store would drop. A store that is open has nothing like it.
    dropped_bytes: u64,
    damaged: u64,
    /// The first of them.
    findings: Vec<Damaged>,
}

struct Damaged {
    file: String,
    offset: Option<u64>,
    what: String,
    positions: Option<Range<u64>>,
    consequence: Option<Consequence>,
}

pub(crate) async fn run(args: Verify) -> Result<(), Failure> {
    let verdict = match args.at.place()? {
        Place::Directory(directory) => tokio::task::block_in_place(|| verdict_of_directory(&directory))?,
        Place::Server(client) => verdict_of_server(&connect(*client).await?).await?,
    };
    let mut output = Output::new();
    if args.json {
        output.line(&line(&as_json(&verdict)))?;
    } else {
        tell(&verdict, &mut output)?;
    }
    output.flush()?;
    if verdict.damaged == 0 { Ok(()) } else { Err(Failure::silent(code::DAMAGED)) }
}

/// A server verifies what it serves, and goes on.
async fn verdict_of_server(client: &Client) -> Result<Verdict, Failure> {
    let mut progress = Progress::new("verifying", "MiB");
    let mut told = client.admin().verify().await?;
    let mut findings: Vec<Damaged> = Vec::new();
    while let Some(verified) = told.try_next().await? {
        match verified {
            Verified::Progress { bytes, total } => progress.at(bytes >> 20, total >> 20),
            Verified::Finding(finding) if findings.len() < FINDINGS_MAX => findings.push(finding.into()),
            Verified::Summary(summary) => {
                return Ok(Verdict {
                    segments: summary.segments,
                    sealed_segments: summary.sealed_segments,
                    frames: summary.frames,
                    appends: summary.appends,
                    events: summary.events,
                    bytes: summary.bytes,
                    position: summary.position,
                    dropped_bytes: 0,
                    damaged: summary.findings.max(findings.len() as u64),
                    findings,
                });
            }
            _ => {}
        }
    }
    Err(Failure::new(code::FAILED, "the server has ended before it was through"))
}

fn verdict_of_directory(directory: &Path) -> Result<Verdict, Failure> {
    let mut progress = Progress::new("verifying", "MiB");
    let told = |at: &eventfold_db::VerifyProgress| progress.at(at.bytes_done >> 20, at.bytes_total >> 20);
    let report = eventfold_db::verify(directory, told);
    drop(progress);
    report.map(Verdict::from).map_err(|error| of_directory(directory, Access::Copy, error))
}

impl From<VerifyReport> for Verdict {
    fn from(report: VerifyReport) -> Self {
        Self {
            segments: report.segments,
            sealed_segments: report.sealed_segments,
            frames: report.frames,
            appends: report.appends,
            events: report.events,
            bytes: report.bytes,
            position: report.position,
            dropped_bytes: report.dropped.iter().map(|extent| extent.to - extent.from).sum(),
            damaged: report.findings.len() as u64,
            findings: report.findings.into_iter().take(FINDINGS_MAX).map(Damaged::from).collect(),
        }
    }
}

impl From<Finding> for Damaged {
    fn from(finding: Finding) -> Self {
        let what = finding.cause.to_string();
        let Finding { file, offset, positions, consequence, .. } = finding;
        Self { file, offset, what, positions, consequence: Some(consequence) }
    }
}

impl From<VerifyFinding> for Damaged {
    fn from(finding: VerifyFinding) -> Self {
        let VerifyFinding { file, offset, what, positions, consequence, .. } = finding;
        Self { file, offset, what, positions, consequence }
    }
}

fn tell(verdict: &Verdict, output: &mut Output) -> Result<(), Failure> {
    let Verdict { segments, sealed_segments, appends, events, bytes, position, dropped_bytes, .. } = verdict;
    output.line(&format!(
        "{}, {sealed_segments} of them sealed; {} of {}; {}",
        count(*segments, "segment"),
        count(*appends, "append"),
        count(*events, "event"),
        count(*bytes, "byte"),
    ))?;
    if *dropped_bytes > 0 {
        output.line(&format!(
            "an unfinished write of {dropped_bytes} bytes stands behind position {position}; opening the store will drop it, which is no damage"
        ))?;
    }
    if verdict.damaged == 0 {
        return output.line("nothing is damaged");
    }
    for Damaged { file, offset, what, positions, consequence } in &verdict.findings {
        let place = offset.map_or_else(String::new, |offset| format!(" at offset {offset}"));
        let events = match positions {
            Some(Range { start, end }) if *end == start + 1 => format!(" (position {start})"),
            Some(Range { start, end }) => format!(" (positions {start} to {})", end.saturating_sub(1)),
            None => String::new(),
        };
        output.line(&shown(&format!("{file}{place}: {what}{events}")))?;
        output.line(&format!("    {}", cost(*consequence).1))?;
    }
    if verdict.damaged > verdict.findings.len() as u64 {
        output.line("and so on")?;
    }
    let are = if verdict.damaged == 1 { "is" } else { "are" };
    output.line(&format!("{} {are} damaged", count(verdict.damaged, "thing")))
}

/// What a finding costs: a word, and a sentence.
fn cost(consequence: Option<Consequence>) -> (&'static str, &'static str) {
    match consequence {
        Some(Consequence::Heals) => ("heals", "it costs nothing: it is made again from what is whole"),
        Some(Consequence::KeptCopyLost) => {
            ("kept_copy_lost", "the log is whole; what was dropped from it once is not kept any more")
        }
        Some(Consequence::EventsUnreadable) => (
            "events_unreadable",
            "these events, or what has to be looked up there, can't be read; all others can: take them from a backup",
        ),
        Some(Consequence::Untrusted) => ("untrusted", "it can be read, and contradicts itself: who wrote it was wrong"),
        Some(Consequence::Refused) => {
            ("refused", "the store is not opened so: take a backup, or see `eventfold repair`")
        }
        _ => ("unknown", "what it costs is not known to this version"),
    }
}

fn as_json(verdict: &Verdict) -> Value {
    let finding = |finding: &Damaged| {
        json!({
            "file": finding.file,
            "offset": finding.offset,
            "what": finding.what,
            "first_position": finding.positions.as_ref().map(|positions| positions.start),
            "end_position": finding.positions.as_ref().map(|positions| positions.end),
            "consequence": cost(finding.consequence).0,
        })
    };
    json!({
        "sound": verdict.damaged == 0,
        "segments": verdict.segments,
        "sealed_segments": verdict.sealed_segments,
        "frames": verdict.frames,
        "appends": verdict.appends,
        "events": verdict.events,
        "bytes": verdict.bytes,
        "position": verdict.position,
        "dropped_bytes": verdict.dropped_bytes,
        "damaged": verdict.damaged,
        "findings": verdict.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}
