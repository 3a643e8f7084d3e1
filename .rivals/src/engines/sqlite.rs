//! `SQLite`, bundled, in WAL mode; everything else as it is by default, which means `synchronous=FULL`.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::words;
use crate::engine::{Engine, Event, Failure, Reading, Writing};

const FILE: &str = "events.sqlite";

pub(crate) struct Sqlite;

impl Engine for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn package(&self) -> &'static str {
        "rusqlite"
    }

    fn write(&self, directory: &Path) -> Box<dyn Writing> {
        let connection = Connection::open(directory.join(FILE)).expect("it is sound");
        connection.pragma_update(None, "journal_mode", "wal").expect("it is sound");
        let table = "CREATE TABLE IF NOT EXISTS events (position INTEGER PRIMARY KEY, payload BLOB NOT NULL)";
        connection.execute(table, []).expect("it is sound");
        Box::new(connection)
    }

    fn open(&self, directory: &Path) -> Result<Box<dyn Reading>, Failure> {
        Ok(Box::new(connect(directory)?))
    }

    fn check(&self, directory: &Path) -> Option<Result<(), Failure>> {
        let answer = connect(directory).and_then(|connection| {
            connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).map_err(words)
        });
        Some(answer.and_then(|answer| if answer == "ok" { Ok(()) } else { Err(answer) }))
    }
}

fn connect(directory: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::default() - OpenFlags::SQLITE_OPEN_CREATE;
    let connection = Connection::open_with_flags(directory.join(FILE), flags).map_err(words)?;
    connection.pragma_update(None, "journal_mode", "wal").map_err(words)?;
    Ok(connection)
}

impl Writing for Connection {
    fn append(&mut self, events: &[Event]) {
        let transaction = self.transaction().expect("it is sound");
        for (position, payload) in events {
            let position = i64::try_from(*position).expect("there are few");
            let insert = "INSERT INTO events (position, payload) VALUES (?1, ?2)";
            transaction.execute(insert, (position, payload)).expect("it is sound");
        }
        transaction.commit().expect("it is sound");
    }

    fn settle(&mut self) {
        self.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).expect("it is sound");
    }

    fn close(self: Box<Self>) {
        Connection::close(*self).expect("it is sound");
    }
}

impl Reading for Connection {
    fn get(&self, position: u64) -> Result<Option<Vec<u8>>, Failure> {
        let position = i64::try_from(position).expect("there are few");
        let mut select = self.prepare_cached("SELECT payload FROM events WHERE position = ?1").map_err(words)?;
        select.query_row([position], |row| row.get(0)).optional().map_err(words)
    }

    fn scan(&self, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Failure> {
        let mut select = self.prepare("SELECT position, payload FROM events ORDER BY position").map_err(words)?;
        let mut rows = select.query([]).map_err(words)?;
        while let Some(row) = rows.next().map_err(words)? {
            let position: i64 = row.get(0).map_err(words)?;
            let payload: Vec<u8> = row.get(1).map_err(words)?;
            each(u64::try_from(position).unwrap_or(u64::MAX), &payload);
        }
        Ok(())
    }
}
