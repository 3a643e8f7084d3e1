//! Eventfold, with its smallest segments.

use std::path::Path;

use eventfold_store::{Append, Consequence, Error, EventLog, ProposedEvent, Store, StoreOptions, TailEnd, verify};

use super::words;
use crate::engine::{Engine, Event, Failure, Note, Reading, Writing};

/// How many streams the events belong to.
const STREAMS: u64 = 5;

pub(crate) struct Eventfold;

fn options() -> StoreOptions {
    Store::builder().segment_size(64 << 10)
}

impl Engine for Eventfold {
    fn name(&self) -> &'static str {
        "eventfold"
    }

    fn package(&self) -> &'static str {
        "eventfold-store"
    }

    fn write(&self, directory: &Path) -> Box<dyn Writing> {
        Box::new(options().open(directory).expect("it is sound"))
    }

    fn open(&self, directory: &Path) -> Result<Box<dyn Reading>, Failure> {
        let store = options().create_if_missing(false).open(directory).map_err(words)?;
        Ok(Box::new(Opened { log: store.log(), store }))
    }

    fn check(&self, directory: &Path) -> Option<Result<(), Failure>> {
        Some(match verify(directory, |_| {}) {
            Ok(report) if report.worst().is_none_or(|worst| worst == Consequence::Heals) => Ok(()),
            Ok(report) => Err(format!("{:?}", report.findings)),
            Err(error) => Err(words(error)),
        })
    }
}

impl Writing for Store {
    fn append(&mut self, events: &[Event]) {
        let mut append = Append::new();
        for (position, payload) in events {
            let event = ProposedEvent::new("Deposited", payload.clone()).with_tags([format!("day:{}", position / 50)]);
            append = append.events(format!("account-{}", position % STREAMS), vec![event]);
        }
        self.append_all(append).expect("it is sound");
    }

    fn close(self: Box<Self>) {
        Store::close(*self).expect("it is sound");
    }
}

struct Opened {
    log: EventLog,
    store: Store,
}

impl Reading for Opened {
    fn note(&self) -> Note {
        let report = self.store.recovery_report();
        let proven = report.proven.map_or(0, |proven| proven.position);
        Note {
            healed: !report.healed.is_empty(),
            unproven_from: (report.end != Some(TailEnd::Closed)).then_some(proven),
        }
    }

    fn get(&self, position: u64) -> Result<Option<Vec<u8>>, Failure> {
        match self.log.read_all(position, 1) {
            Ok(events) => Ok(events.first().map(|event| event.payload.to_vec())),
            Err(error) => Err(words(error)),
        }
    }

    fn scan(&self, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Failure> {
        let mut from = 0;
        loop {
            let events = self.log.read_all(from, 64).map_err(|error: Error| words(error))?;
            let Some(last) = events.last() else { return Ok(()) };
            from = last.global_position + 1;
            for event in &events {
                each(event.global_position, &event.payload);
            }
        }
    }
}
