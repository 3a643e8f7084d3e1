//! `eventfold export`.

use eventfold_backup::{ExportedEvent, Exports};
use futures_util::TryStreamExt;
use serde_json::json;

use crate::args::Export;
use crate::exit::{Failure, code};
use crate::json::{EventLine, line};
use crate::output::Output;
use crate::progress::Progress;
use crate::target::{Access, Place, connect, open_directory};

/// Bytes of events that are read at once.
const PAGE_BYTES: usize = 1 << 20;

pub(crate) async fn run(args: Export) -> Result<(), Failure> {
    let mut written = Written {
        output: Output::new(),
        progress: Progress::new("exporting", "events"),
        next: args.from,
        has_begun: false,
    };
    match args.at.place()? {
        Place::Directory(directory) => {
            let (db, _) = open_directory(&directory, Access::Copy)?;
            let exported = tokio::task::block_in_place(|| {
                check_range(&args, db.reads().global_position())?;
                let mut exports = Exports::new(db.reads().snapshot(), args.from, args.to);
                let (from, to) = exports.range();
                loop {
                    let events = exports.next_events(PAGE_BYTES).map_err(|error| at(written.next, error.into()))?;
                    if events.is_empty() {
                        return Ok(());
                    }
                    events.into_iter().try_for_each(|event| written.event(event, from, to))?;
                }
            });
            exported.and(db.close().await.map_err(Failure::from))?;
        }
        Place::Server(client) => {
            let client = connect(*client).await?;
            let head = client.status().await?.position;
            check_range(&args, head)?;
            let to = args.to.map_or(head, |to| to.min(head));
            let mut events = client.admin().export(args.from, Some(to)).await?;
            while let Some(event) = events.try_next().await.map_err(|error| at(written.next, error.into()))? {
                written.event(event, args.from, to)?;
            }
            if written.next < to {
                let message = format!("the server has ended at position {}, before {to}", written.next);
                return Err(Failure::new(code::FAILED, message));
            }
        }
    }
    let Written { mut output, progress, next, .. } = written;
    drop(progress);
    output.line(&line(&json!({"exported_to": next})))?;
    output.flush()
}

/// Sees that there can be something: who goes on from where an export is said to have ended would go on beyond the end for ever.
fn check_range(args: &Export, head: u64) -> Result<(), Failure> {
    let from = args.from;
    if let Some(to) = args.to.filter(|to| *to < from) {
        return Err(Failure::new(code::USAGE, format!("--to {to} comes before --from {from}")));
    }
    if from > head {
        return Err(Failure::new(code::USAGE, format!("--from {from} is beyond the end of the log, which is {head}")));
    }
    Ok(())
}

/// Why the export has ended early, with how far it came and how the rest is had all the same.
fn at(position: u64, failure: Failure) -> Failure {
    if !failure.is_of_damage() {
        return failure;
    }
    failure.with_context(&format!(
        "the append at position {position} can't be exported; all before it is written. `eventfold verify` tells which events are \
         damaged, and --from goes on behind them"
    ))
}

struct Written {
    output: Output,
    progress: Progress,
    /// The position behind the last event that was written.
    next: u64,
    has_begun: bool,
}

impl Written {
    fn event(&mut self, exported: ExportedEvent, from: u64, to: u64) -> Result<(), Failure> {
        let ExportedEvent { append, append_events, stream_name, event } = exported;
        // Of a server that says what can't be, nothing is claimed to be whole.
        let is_next = self.next == event.global_position || !self.has_begun && append <= self.next;
        if !is_next || event.global_position == u64::MAX {
            let message = format!("position {} came, and {} is next", event.global_position, self.next);
            return Err(Failure::new(code::FAILED, message));
        }
        self.has_begun = true;
        self.next = event.global_position + 1;
        let shown = EventLine {
            append: Some(append),
            append_events: Some(append_events),
            ..EventLine::new(&event, stream_name.as_deref())
        };
        self.output.line(&line(&shown))?;
        self.progress.at(self.next.saturating_sub(from), to.saturating_sub(from));
        Ok(())
    }
}
