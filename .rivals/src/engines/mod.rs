//! The engines: one file each, with all that the sweep does with it.

pub(crate) mod eventfold;
pub(crate) mod fjall;
pub(crate) mod raft_engine;
pub(crate) mod redb;
pub(crate) mod sqlite;

/// What an engine says of something that went wrong.
fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
