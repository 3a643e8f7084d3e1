//! A disk that fails under a store: what the caller is told, what readers see, and what is
//! there when the store is opened again.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod commits;
mod files;
mod lives;
mod reading;
mod recovery;
#[path = "../support/mod.rs"]
mod support;
mod thread;

use eventfold_io::sim::SimDisk;

fn image(sim: &SimDisk) -> Vec<(String, Option<Vec<u8>>)> {
    let names = sim.names().into_iter().filter(|name| name != "LOCK");
    names.map(|name| (name.clone(), sim.contents(&name))).collect()
}
