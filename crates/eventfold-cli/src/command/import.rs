//! `eventfold import`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use eventfold_backup::{ExportedEvent, Import as Importing, ImportError, ImportReport};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;

use super::append::LINE_BYTES_MAX;
use crate::args::Import;
use crate::exit::{Failure, code};
use crate::json::{EventLine, line};
use crate::output::{Output, note};
use crate::progress::Progress;
use crate::target::{Access, Place, connect, open_directory};

pub(crate) async fn run(args: Import) -> Result<(), Failure> {
    let mut lines = Lines::open(&args.file)?;
    let report = match args.at.place()? {
        Place::Directory(directory) => {
            // Nothing is made for what is no export.
            let first = lines.next()?;
            let (db, opened) = open_directory(&directory, Access::Append)?;
            if opened.created {
                lines.progress.beside(|| note(&format!("made a store in {}", directory.display())));
            }
            let mut import = Importing::new(db.writer().clone(), db.reads().clone());
            let imported = async {
                let mut next = first;
                while let Some(event) = next {
                    import.push(event).await?;
                    next = tokio::task::block_in_place(|| lines.next())?;
                }
                Ok::<_, Failure>(())
            };
            let imported = imported.await;
            // What was taken in before is on its way, and stands.
            let report = match imported {
                Ok(()) => import.finish().await.map_err(Failure::from),
                Err(failure) => import.give_up().await.map_err(Failure::from).and(Err(failure)),
            };
            let closed = db.close().await;
            // The bar goes before the answer comes.
            drop(lines);
            let report = report?;
            closed?;
            report
        }
        Place::Server(client) => {
            let client = connect(*client).await?;
            let lines = Arc::new(Mutex::new((lines, None)));
            let read = lines.clone();
            let events = stream::unfold(read, |read| async move {
                let next = tokio::task::block_in_place(|| {
                    let (lines, failed) = &mut *read.lock().unwrap_or_else(PoisonError::into_inner);
                    lines.next().unwrap_or_else(|failure| {
                        *failed = Some(failure);
                        None
                    })
                });
                next.map(|event| (event, read))
            });
            let report = client.admin().import(events).await?;
            // What came before the line that is wrong was imported.
            if let Some(failure) = lines.lock().unwrap_or_else(PoisonError::into_inner).1.take() {
                return Err(failure);
            }
            report
        }
    };
    tell(&report, args.json)
}

fn tell(report: &ImportReport, json: bool) -> Result<(), Failure> {
    let ImportReport { appends, events, repeated_appends, moved_appends, position, .. } = report;
    let mut output = Output::new();
    if json {
        output.line(&line(&json!({
            "appends": appends,
            "events": events,
            "repeated_appends": repeated_appends,
            "moved_appends": moved_appends,
            "position": position,
        })))?;
    } else {
        output.line(&format!("{events} events of {appends} appends were imported; the next position is {position}"))?;
        if *repeated_appends > 0 {
            output.line(&format!("{repeated_appends} appends were there already"))?;
        }
        if *moved_appends > 0 {
            output.line(&format!("{moved_appends} appends stand at other positions than they did"))?;
        }
    }
    output.flush()
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Append { position, source } => {
                Self::from(source).with_context(&format_args!("the events from position {position} of the export on"))
            }
            error => Self::new(code::USAGE, error.to_string()),
        }
    }
}

/// What an export ends with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    exported_to: u64,
}

/// The lines of an export.
struct Lines {
    input: BufReader<Box<dyn Read + Send>>,
    name: String,
    number: u64,
    /// The position behind the last event.
    next: Option<u64>,
    /// Whether the last line was one that ends an export.
    has_ended: bool,
    progress: Progress,
}

impl Lines {
    #[expect(clippy::disallowed_methods, reason = "what is read is not the store's")]
    fn open(file: &Path) -> Result<Self, Failure> {
        let (input, name): (Box<dyn Read + Send>, _) = if file == Path::new("-") {
            (Box::new(std::io::stdin()), "standard input".to_owned())
        } else {
            let name = file.display().to_string();
            let file = std::fs::File::open(file);
            let file = file.map_err(|error| Failure::new(code::USAGE, format!("could not read {name}: {error}")))?;
            (Box::new(file), name)
        };
        let progress = Progress::new("importing", "events");
        let input = BufReader::with_capacity(1 << 20, input);
        Ok(Self { input, name, number: 0, next: None, has_ended: false, progress })
    }

    /// The next event; none at the end.
    fn next(&mut self) -> Result<Option<ExportedEvent>, Failure> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.input).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
            read.map_err(|error| Failure::new(code::FAILED, format!("could not read {}: {error}", self.name)))?;
            if line.is_empty() {
                return self.end().map(|()| None);
            }
            self.number += 1;
            if line.len() > LINE_BYTES_MAX {
                return Err(self.wrong(&format!("it has more than {LINE_BYTES_MAX} bytes")));
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            if let Ok(End { exported_to }) = serde_json::from_slice(&line) {
                if self.next.is_some_and(|next| next != exported_to) {
                    return Err(self.wrong(&format!("it says that the export goes to {exported_to}, and it does not")));
                }
                self.has_ended = true;
                continue;
            }
            let event = EventLine::parse(&line).and_then(EventLine::exported);
            let event = event.map_err(|error| self.wrong(&error))?;
            self.has_ended = false;
            self.next = event.event.global_position.checked_add(1);
            self.progress.at(self.number, self.number);
            return Ok(Some(event));
        }
    }

    fn end(&self) -> Result<(), Failure> {
        if self.has_ended {
            return Ok(());
        }
        let message = format!(
            "{} ends without the line that ends an export: it may have been cut. What is there was imported",
            self.name
        );
        Err(Failure::new(code::FAILED, message))
    }

    fn wrong(&self, what: &impl std::fmt::Display) -> Failure {
        let message = format!("{}, line {}: {what}; what comes before was imported", self.name, self.number);
        Failure::new(code::USAGE, message)
    }
}
