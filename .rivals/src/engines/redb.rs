//! redb, with one table; transactions are durable at once, as they are by default.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::words;
use crate::engine::{Engine, Event, Failure, Reading, Writing};

const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
const FILE: &str = "events.redb";

pub(crate) struct Redb;

impl Engine for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn package(&self) -> &'static str {
        "redb"
    }

    fn write(&self, directory: &Path) -> Box<dyn Writing> {
        Box::new(Database::create(directory.join(FILE)).expect("it is sound"))
    }

    fn open(&self, directory: &Path) -> Result<Box<dyn Reading>, Failure> {
        Ok(Box::new(Database::open(directory.join(FILE)).map_err(words)?))
    }

    fn check(&self, directory: &Path) -> Option<Result<(), Failure>> {
        let mut database = match Database::open(directory.join(FILE)) {
            Ok(database) => database,
            Err(error) => return Some(Err(words(error))),
        };
        Some(match database.check_integrity() {
            Ok(true) => Ok(()),
            Ok(false) => Err("it was repaired".to_owned()),
            Err(error) => Err(words(error)),
        })
    }
}

impl Writing for Database {
    fn append(&mut self, events: &[Event]) {
        let transaction = self.begin_write().expect("it is sound");
        let mut table = transaction.open_table(EVENTS).expect("it is sound");
        for (position, payload) in events {
            table.insert(position, payload.as_slice()).expect("it is sound");
        }
        drop(table);
        transaction.commit().expect("it is sound");
    }

    fn close(self: Box<Self>) {
        Database::close(*self).expect("it is sound");
    }
}

impl Reading for Database {
    fn get(&self, position: u64) -> Result<Option<Vec<u8>>, Failure> {
        let table = self.begin_read().map_err(words)?.open_table(EVENTS).map_err(words)?;
        Ok(table.get(position).map_err(words)?.map(|payload| payload.value().to_vec()))
    }

    fn scan(&self, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Failure> {
        let table = self.begin_read().map_err(words)?.open_table(EVENTS).map_err(words)?;
        for found in table.iter().map_err(words)? {
            let (position, payload) = found.map_err(words)?;
            each(position.value(), payload.value());
        }
        Ok(())
    }
}
