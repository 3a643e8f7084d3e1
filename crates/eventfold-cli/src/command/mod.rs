//! The commands, one each.

pub(crate) mod append;
pub(crate) mod backup;
pub(crate) mod bench;
mod events;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod read;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod stats;
pub(crate) mod streams;
pub(crate) mod tail;
pub(crate) mod token;
pub(crate) mod verify;
