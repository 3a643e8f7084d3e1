//! fjall, with one keyspace; a batch is committed with `SyncAll`.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::words;
use crate::engine::{Engine, Event, Failure, Reading, Writing};

pub(crate) struct Fjall;

fn open(directory: &Path) -> Result<Opened, Failure> {
    let database = Database::builder(directory).open().map_err(words)?;
    let events = database.keyspace("events", KeyspaceCreateOptions::default).map_err(words)?;
    Ok(Opened { events, database })
}

struct Opened {
    events: Keyspace,
    database: Database,
}

impl Engine for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn package(&self) -> &'static str {
        "fjall"
    }

    fn write(&self, directory: &Path) -> Box<dyn Writing> {
        Box::new(open(directory).expect("it is sound"))
    }

    fn open(&self, directory: &Path) -> Result<Box<dyn Reading>, Failure> {
        Ok(Box::new(open(directory)?))
    }

    fn check(&self, _: &Path) -> Option<Result<(), Failure>> {
        None
    }
}

impl Writing for Opened {
    fn append(&mut self, events: &[Event]) {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for (position, payload) in events {
            batch.insert(&self.events, position.to_be_bytes(), payload.clone());
        }
        batch.commit().expect("it is sound");
    }

    fn settle(&mut self) {
        self.events.rotate_memtable_and_wait().expect("it is sound");
    }

    fn close(self: Box<Self>) {
        self.database.persist(PersistMode::SyncAll).expect("it is sound");
    }
}

impl Reading for Opened {
    fn get(&self, position: u64) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.events.get(position.to_be_bytes()).map_err(words)?.map(|payload| payload.to_vec()))
    }

    fn scan(&self, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Failure> {
        for found in self.events.iter() {
            let (key, payload) = found.into_inner().map_err(words)?;
            // A key of another length is none that was written.
            each(key.as_ref().try_into().map_or(u64::MAX, u64::from_be_bytes), &payload);
        }
        Ok(())
    }
}
