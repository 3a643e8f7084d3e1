//! `eventfold append`.

use std::io::{BufRead, BufReader, Read, Stdin};

use eventfold_client::{self as client, ProposedEvent, RecordedEvent, StreamRef};
use eventfold_db::{MAX_APPEND_SIZE, MAX_EVENT_SIZE, MAX_EVENTS_PER_APPEND};
use serde::Serialize;

use crate::args::Append;
use crate::exit::{Failure, code};
use crate::json::{EventLine, line};
use crate::output::{Output, note, shown};
use crate::target::{Access, Target, read_file, read_up_to};

pub(crate) async fn run(args: Append) -> Result<(), Failure> {
    if args.stdin {
        return many(&args).await;
    }
    let (stream, event) = event(&args)?;
    let append = client::Append::new().expect(stream.clone(), args.expect).events(stream.clone(), vec![event]);
    // Nothing is made for what can't be appended.
    append.validate()?;
    let target = args.at.open(Access::Append).await?;
    let mut answer = Answer::new(args.json);
    let recorded = target.store.append_request(append).await.map_err(Failure::from);
    if let Ok(recorded) = &recorded {
        for event in recorded {
            answer.one(&stream, event);
        }
        answer.flush();
    }
    let closed = target.close().await;
    recorded.map(drop).and(closed).and(answer.told)
}

/// The one event of the command line.
fn event(args: &Append) -> Result<(StreamRef, ProposedEvent), Failure> {
    let (Some(stream), Some(event_type)) = (&args.stream, &args.event_type) else {
        return Err(Failure::new(code::USAGE, "a stream and a type are needed"));
    };
    let payload = match (&args.payload_file, args.payload.as_deref()) {
        (Some(file), _) => read_file(file, MAX_EVENT_SIZE)?,
        (None, Some("-")) => read_up_to(std::io::stdin().lock(), MAX_EVENT_SIZE, "standard input")?,
        (None, payload) => payload.unwrap_or_default().into(),
    };
    let mut event = ProposedEvent::new(event_type.as_str(), payload).with_tags(args.tag.iter().map(String::as_str));
    if let Some(metadata) = &args.metadata {
        event = event.with_metadata(metadata.clone());
    }
    event.event_id = args.id;
    Ok((stream.as_str().into(), event))
}

/// Events from standard input.
async fn many(args: &Append) -> Result<(), Failure> {
    let mut lines = Lines::new();
    // Nothing is made for what can't be appended.
    let first = lines.next_batch()?;
    let target = args.at.open(Access::Append).await?;
    let mut answer = Answer::new(args.json);
    let mut count = 0;
    let appended = append_batches(&target, first, &mut lines, &mut answer, &mut count).await;
    if !args.json {
        note(&format!("events appended: {count}"));
    }
    let closed = target.close().await;
    appended.and(closed).and(answer.told)
}

/// Appends all lines, and counts them.
async fn append_batches(
    target: &Target,
    mut batch: Batch,
    lines: &mut Lines,
    answer: &mut Answer,
    count: &mut usize,
) -> Result<(), Failure> {
    while !batch.events.is_empty() {
        let mut append = client::Append::new();
        for (stream, event) in &batch.events {
            append = append.events(stream.clone(), vec![event.clone()]);
        }
        let context = format!("lines {} to {}, which are one append", batch.first, batch.last);
        let recorded = target.store.append_request(append).await;
        let recorded = recorded.map_err(|error| Failure::from(error).with_context(&context))?;
        *count += recorded.len();
        if answer.json {
            batch.events.iter().zip(&recorded).for_each(|((stream, _), event)| answer.one(stream, event));
            answer.flush();
        }
        if let Some(failure) = batch.then {
            return Err(failure);
        }
        batch = lines.next_batch()?;
    }
    Ok(())
}

/// Lines that are appended together.
#[derive(Debug, Default)]
struct Batch {
    first: u64,
    last: u64,
    events: Vec<(StreamRef, ProposedEvent)>,
    /// What is wrong with the line behind them.
    then: Option<Failure>,
}

/// The lines of standard input.
struct Lines {
    input: BufReader<Stdin>,
    number: u64,
}

enum Line {
    Event(StreamRef, ProposedEvent),
    Blank,
    End,
}

/// The longest line. Each byte of the largest event can take six, and there is something around it.
pub(super) const LINE_BYTES_MAX: usize = 8 << 20;

/// What is read at once. Lines that are there by then are appended together, which keeps the limits of an append.
const INPUT_BYTES: usize = 1 << 20;

const _: () = assert!(LINE_BYTES_MAX > 6 * MAX_EVENT_SIZE && LINE_BYTES_MAX + INPUT_BYTES < MAX_APPEND_SIZE);
const _: () = assert!(INPUT_BYTES / br#"{"type":"","stream":""}"#.len() < MAX_EVENTS_PER_APPEND);

impl Lines {
    fn new() -> Self {
        Self { input: BufReader::with_capacity(INPUT_BYTES, std::io::stdin()), number: 0 }
    }

    /// The lines that are there, or the next one; none at the end.
    fn next_batch(&mut self) -> Result<Batch, Failure> {
        let mut batch = Batch { first: self.number + 1, ..Batch::default() };
        while batch.events.is_empty() || self.input.buffer().contains(&b'\n') {
            match tokio::task::block_in_place(|| self.next_line()) {
                Ok(Line::Event(stream, event)) => batch.events.push((stream, event)),
                Ok(Line::Blank) => {}
                Ok(Line::End) => break,
                // Nothing is made for it, and what comes before is appended.
                Err(failure) if batch.events.is_empty() => return Err(failure),
                Err(failure) => {
                    batch.then = Some(failure);
                    break;
                }
            }
            batch.last = self.number;
        }
        Ok(batch)
    }

    fn next_line(&mut self) -> Result<Line, Failure> {
        let mut line = Vec::new();
        let read = (&mut self.input).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
        read.map_err(|error| Failure::new(code::FAILED, format!("could not read standard input: {error}")))?;
        if line.is_empty() {
            return Ok(Line::End);
        }
        self.number += 1;
        if line.len() > LINE_BYTES_MAX {
            return Err(self.wrong(&format!("it has more than {LINE_BYTES_MAX} bytes")));
        }
        if line.trim_ascii().is_empty() {
            return Ok(Line::Blank);
        }
        let event = EventLine::parse(&line).and_then(EventLine::proposed);
        let (stream, event) = event.map_err(|error| self.wrong(&error))?;
        let alone = client::Append::new().events(stream.clone(), vec![event.clone()]);
        alone.validate().map_err(|error| self.wrong(&error))?;
        Ok(Line::Event(stream, event))
    }

    fn wrong(&self, what: &impl std::fmt::Display) -> Failure {
        Failure::new(code::USAGE, format!("line {}: {what}; it and those behind it are not appended", self.number))
    }
}

/// An event that was appended, as JSON.
#[derive(Debug, Serialize)]
struct Appended<'a> {
    position: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    stream_id: String,
    version: u64,
    id: String,
}

/// What is told of appends. They stand whether it can be told or not, so what is in the way of that is told last.
struct Answer {
    output: Output,
    json: bool,
    told: Result<(), Failure>,
}

impl Answer {
    fn new(json: bool) -> Self {
        Self { output: Output::new(), json, told: Ok(()) }
    }

    /// Tells of one event.
    fn one(&mut self, stream: &StreamRef, event: &RecordedEvent) {
        if self.told.is_ok() {
            let line = if self.json { appended(stream, event) } else { sentence(stream, event) };
            self.told = self.output.line(&line);
        }
    }

    /// Hands on what was told.
    fn flush(&mut self) {
        if self.told.is_ok() {
            self.told = self.output.flush();
        }
    }
}

fn sentence(stream: &StreamRef, event: &RecordedEvent) -> String {
    let (position, version) = (event.global_position, event.stream_version);
    format!("appended at position {position}, as version {version} of {}", shown(&stream.to_string()))
}

fn appended(stream: &StreamRef, event: &RecordedEvent) -> String {
    let name = stream.resolve().ok().and_then(|resolved| resolved.name);
    line(&Appended {
        position: event.global_position,
        stream: name.as_deref(),
        stream_id: event.stream_id.to_string(),
        version: event.stream_version,
        id: event.event_id.to_string(),
    })
}
