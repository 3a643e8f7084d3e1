//! What the sweep asks of an engine.

use std::path::Path;

use crate::engines;

/// What is shown when something failed: the engine's own words.
pub(crate) type Failure = String;

/// An event as all engines store it: its position is its key.
pub(crate) type Event = (u64, Vec<u8>);

/// An engine with the settings of a user who cares for the data, and small files.
pub(crate) trait Engine {
    /// As it stands in the tables and on the command line.
    fn name(&self) -> &'static str;

    /// Which package of the lock file it is.
    fn package(&self) -> &'static str;

    /// Makes a store in an empty directory, or goes on with the one that is there.
    fn write(&self, directory: &Path) -> Box<dyn Writing>;

    /// Opens a store that is known to exist for reading and writing, as a program does that starts again.
    fn open(&self, directory: &Path) -> Result<Box<dyn Reading>, Failure>;

    /// Whether the engine's own check finds the store sound. `None` where it has none.
    fn check(&self, directory: &Path) -> Option<Result<(), Failure>>;
}

/// A store that is being filled.
pub(crate) trait Writing {
    /// Appends all of them or none, durably.
    fn append(&mut self, events: &[Event]);

    /// Moves what is in the engine's log to where it stays, if the engine has such a place.
    fn settle(&mut self) {}

    /// Closes the store cleanly.
    fn close(self: Box<Self>);
}

/// A store that was opened after it was damaged.
pub(crate) trait Reading {
    /// What opening told of the store beyond having opened it.
    fn note(&self) -> Note {
        Note::default()
    }

    /// One event, if there is one at this position.
    fn get(&self, position: u64) -> Result<Option<Vec<u8>>, Failure>;

    /// All events in order, up to the first that fails.
    fn scan(&self, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Failure>;
}

/// What opening a store told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note {
    /// Something was damaged and was made again.
    pub(crate) healed: bool,
    /// From this position on it can't vouch for the log's end.
    pub(crate) unproven_from: Option<u64>,
}

/// All engines, ours first.
pub(crate) fn all() -> Vec<Box<dyn Engine>> {
    vec![
        Box::new(engines::eventfold::Eventfold),
        Box::new(engines::fjall::Fjall),
        Box::new(engines::redb::Redb),
        Box::new(engines::sqlite::Sqlite),
        Box::new(engines::raft_engine::RaftEngine),
    ]
}

/// The engine of this name.
pub(crate) fn named(name: &str) -> Box<dyn Engine> {
    all().into_iter().find(|engine| engine.name() == name).unwrap_or_else(|| panic!("there is no engine {name}"))
}

/// The version that was built, from the lock file.
pub(crate) fn version(package: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{package}\"\n")));
    let version = entry.and_then(|entry| entry.split("version = \"").nth(1)?.split('"').next());
    version.expect("the lock file has every package that was built")
}
