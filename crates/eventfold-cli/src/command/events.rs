//! Events, as they are shown.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use eventfold_client::{Error, EventStore, NO_STREAM, RecordedEvent, Uuid};

use crate::exit::Failure;
use crate::json::{EventLine, line};
use crate::output::{Output, Table, shortened, shown, time};

/// Shows events, in a table or as JSON.
#[derive(Debug)]
pub(super) struct Events {
    names: Names,
    output: Output,
    /// `None` for JSON.
    table: Option<Table>,
    count: u64,
}

/// How much of a text a table shows.
const NAME_MAX: usize = 40;
const PAYLOAD_MAX: usize = 100;
const BYTES_MAX: usize = 16;

const HEADING: [&str; 7] = ["POSITION", "STREAM", "VERSION", "TYPE", "TAGS", "RECORDED", "PAYLOAD"];

impl Events {
    pub(super) fn new(store: Arc<dyn EventStore>, json: bool) -> Self {
        let table = (!json).then(|| Table::new(&HEADING));
        Self { names: Names::new(store), output: Output::new(), table, count: 0 }
    }

    /// Shows an event, now or with the next ones.
    pub(super) async fn show(&mut self, event: &RecordedEvent) -> Result<(), Failure> {
        let name = self.names.of(event.stream_id).await?;
        self.count += 1;
        match &mut self.table {
            Some(table) => table.row(&mut self.output, row(event, name)),
            None => self.output.line(&line(&EventLine::new(event, name))),
        }
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Shows what waits to be shown.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        if let Some(table) = &mut self.table {
            table.show(&mut self.output)?;
        }
        self.output.flush()
    }
}

fn row(event: &RecordedEvent, name: Option<&str>) -> Vec<String> {
    let stream = match name {
        Some(name) => shown(&shortened(name, NAME_MAX)),
        None if event.stream_id == NO_STREAM => "-".to_owned(),
        None => event.stream_id.to_string(),
    };
    let tags: Vec<_> = event.tags.iter().map(ToString::to_string).collect();
    vec![
        event.global_position.to_string(),
        stream,
        event.stream_version.to_string(),
        shown(&shortened(&event.event_type, NAME_MAX)),
        shown(&shortened(&tags.join(","), NAME_MAX)),
        time(event.recorded_at),
        contents(&event.payload),
    ]
}

/// The beginning of a text, or of bytes in hexadecimal.
fn contents(payload: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(payload) {
        return shown(&shortened(text, PAYLOAD_MAX));
    }
    let mut shown = "0x".to_owned();
    for byte in payload.iter().take(BYTES_MAX) {
        let _ = write!(shown, "{byte:02x}");
    }
    let more = if payload.len() > BYTES_MAX { "…" } else { "" };
    format!("{shown}{more} ({} bytes)", payload.len())
}

/// The names of streams, of which an event has the id.
#[derive(Debug)]
pub(super) struct Names {
    store: Arc<dyn EventStore>,
    known: HashMap<Uuid, Option<String>>,
}

/// So many are remembered: a few MiB. A log may have millions.
const NAMES_MAX: usize = 1 << 14;

impl Names {
    pub(super) fn new(store: Arc<dyn EventStore>) -> Self {
        Self { store, known: HashMap::new() }
    }

    /// The name of a stream, if it has one.
    pub(super) async fn of(&mut self, stream: Uuid) -> Result<Option<&str>, Error> {
        if stream == NO_STREAM {
            return Ok(None);
        }
        if !self.known.contains_key(&stream) {
            if self.known.len() >= NAMES_MAX {
                self.known.clear();
            }
            let info = self.store.stream_info(stream.into()).await?;
            let name = info.and_then(|info| info.name).map(|name| name.to_string());
            self.known.insert(stream, name);
        }
        Ok(self.known[&stream].as_deref())
    }
}
