//! raft-engine, with one group and small files; every batch is written with a sync.

use std::path::Path;

use protobuf::well_known_types::BytesValue;
use raft_engine::env::DefaultFileSystem;
use raft_engine::{Config, Engine as Raft, LogBatch, MessageExt, ReadableSize};

use super::words;
use crate::engine::{Engine, Event, Failure, Reading, Writing};

const GROUP: u64 = 1;

pub(crate) struct RaftEngine;

/// An entry's index is its position and one more, and stands before the payload.
#[derive(Clone)]
struct Entry;

impl MessageExt for Entry {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        split(entry).0 + 1
    }
}

/// What is too short to have a position is none that was written.
fn split(entry: &BytesValue) -> (u64, &[u8]) {
    match entry.value.split_first_chunk() {
        Some((position, payload)) => (u64::from_be_bytes(*position), payload),
        None => (u64::MAX - 1, &[]),
    }
}

fn open(directory: &Path) -> Result<Raft, Failure> {
    let dir = directory.to_str().expect("its name is plain").to_owned();
    let config = Config { dir, target_file_size: ReadableSize::kb(16), ..Config::default() };
    Raft::<DefaultFileSystem, _>::open(config).map_err(words)
}

impl Engine for RaftEngine {
    fn name(&self) -> &'static str {
        "raft-engine"
    }

    fn package(&self) -> &'static str {
        "raft-engine"
    }

    fn write(&self, directory: &Path) -> Box<dyn Writing> {
        Box::new(open(directory).expect("it is sound"))
    }

    fn open(&self, directory: &Path) -> Result<Box<dyn Reading>, Failure> {
        Ok(Box::new(open(directory)?))
    }

    fn check(&self, directory: &Path) -> Option<Result<(), Failure>> {
        Some(match Raft::consistency_check(directory) {
            Ok(corrupted) if corrupted.is_empty() => Ok(()),
            Ok(corrupted) => Err(format!("{corrupted:?}")),
            Err(error) => Err(words(error)),
        })
    }
}

impl Writing for Raft {
    fn append(&mut self, events: &[Event]) {
        let entry = |(position, payload): &Event| {
            let mut entry = BytesValue::new();
            entry.set_value([&position.to_be_bytes()[..], payload].concat());
            entry
        };
        let entries: Vec<_> = events.iter().map(entry).collect();
        let mut batch = LogBatch::default();
        batch.add_entries::<Entry>(GROUP, &entries).expect("it is sound");
        self.write(&mut batch, true).expect("it is sound");
    }

    fn close(self: Box<Self>) {
        self.sync().expect("it is sound");
    }
}

impl Reading for Raft {
    fn get(&self, position: u64) -> Result<Option<Vec<u8>>, Failure> {
        let entry = self.get_entry::<Entry>(GROUP, position + 1).map_err(words)?;
        Ok(entry.map(|entry| {
            let (found, payload) = split(&entry);
            // Another event's entry is not taken for this one's because their payloads are alike.
            if found == position { payload.to_vec() } else { entry.value.clone() }
        }))
    }

    fn scan(&self, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Failure> {
        let (Some(first), Some(last)) = (self.first_index(GROUP), self.last_index(GROUP)) else { return Ok(()) };
        let mut entries = Vec::new();
        self.fetch_entries_to::<Entry>(GROUP, first, last + 1, None, &mut entries).map_err(words)?;
        for entry in &entries {
            let (position, payload) = split(entry);
            each(position, payload);
        }
        Ok(())
    }
}
