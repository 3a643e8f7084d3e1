//! `eventfold repair`.

use eventfold_db::{Cut, RepairOptions, RepairReport};
use serde_json::{Value, json};

use crate::args::Repair;
use crate::exit::{Failure, code};
use crate::json::line;
use crate::output::{Output, count, shown};
use crate::progress::Progress;
use crate::target::{Access, directory, of_directory};

pub(crate) fn run(args: &Repair) -> Result<(), Failure> {
    let mut progress = Progress::new("repairing", "steps");
    let told = |at: &eventfold_db::RepairProgress| progress.at(at.steps_done as u64, at.steps_total as u64);
    let options = RepairOptions { accept_loss: args.accept_loss, ..RepairOptions::default() };
    let data = directory(args.data.as_deref())?;
    let report = eventfold_db::repair(&data, &options, told);
    drop(progress);
    let report = report.map_err(|error| of_directory(&data, Access::Files, error))?;
    let mut output = Output::new();
    if args.json {
        output.line(&line(&as_json(&report)))?;
    } else {
        tell(&report, &mut output)?;
    }
    output.flush()?;
    let is_whole = report.refused.is_none() || report.repaired;
    if is_whole { Ok(()) } else { Err(Failure::silent(code::DAMAGED)) }
}

fn tell(report: &RepairReport, output: &mut Output) -> Result<(), Failure> {
    let Some(refused) = &report.refused else {
        return output.line(
            "there is nothing to repair: the store opens. `eventfold verify` tells of single events that can't be read",
        );
    };
    output.line(&shown(&refused.to_string()))?;
    if let Some(cut) = &report.cut {
        let Cut { segment, offset, position, events_lost, .. } = cut;
        output.line(&format!("it is intact up to position {position}, in segment {segment} at offset {offset}"))?;
        let (bytes, would) = (cut.bytes_dropped(), if report.repaired { "was" } else { "would be" });
        output.line(&format!(
            "what comes behind that {would} given up: {} at the least, from position {position} on, in {}",
            count(*events_lost, "event"),
            count(bytes, "byte"),
        ))?;
    }
    if !report.repaired {
        return output
            .line("nothing was changed. --accept-loss gives it up, after keeping a copy in a file beside the log");
    }
    match &report.side_file {
        Some(file) => output.line(&format!("the store is repaired; what was given up is kept in {}", shown(file))),
        None => output.line("the store is repaired"),
    }
}

fn as_json(report: &RepairReport) -> Value {
    let cut = |cut: &Cut| {
        json!({
            "segment": cut.segment,
            "offset": cut.offset,
            "position": cut.position,
            "events_lost": cut.events_lost,
            "bytes_dropped": cut.bytes_dropped(),
        })
    };
    json!({
        "refused": report.refused.as_ref().map(ToString::to_string),
        "cut": report.cut.as_ref().map(cut),
        "repaired": report.repaired,
        "side_file": report.side_file,
    })
}
