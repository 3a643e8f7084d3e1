//! The bodies of the store's fuzz targets, and the seeds of their corpora.
//!
//! As those of the codec, they read their input as instructions, and assert what has to hold for every input. They run the
//! real store on the simulated disk, without threads, clocks or chance: an input does the same in every run.

#[allow(dead_code, reason = "the tests of the store need more of it")]
#[path = "../../../crates/eventfold-store/tests/support/model.rs"]
mod model;
mod names;
mod operations;
mod query;
mod recover;
#[path = "../../../crates/eventfold-store/tests/support/run.rs"]
mod run;
#[allow(dead_code, reason = "the tests of the store need more of it")]
#[path = "../../../crates/eventfold-store/tests/support/scenario.rs"]
mod scenario;
mod seeds;
mod sha1;

pub use names::{Subject, names};
pub use operations::operations;
pub use query::query;
pub use recover::recover;
pub use seeds::seeds;

/// A body: takes any input, and panics where a property does not hold.
pub type Body = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Body); 4] =
    [("names", names), ("operations", operations), ("query", query), ("recover", recover)];
