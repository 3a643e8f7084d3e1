//! A run, with every moment of it at which the machine may stop.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventfold_io::Operation;
use eventfold_io::sim::{Fault, SimDisk, When};

use super::driver::{Driver, Shown};
use super::ledger::Ledger;

/// What changes something: between two of these, a crash finds the same.
const CHANGES: [Operation; 10] = [
    Operation::Create,
    Operation::Rename,
    Operation::Remove,
    Operation::SyncDirectory,
    Operation::Lock,
    Operation::Write,
    Operation::SyncData,
    Operation::SyncAll,
    Operation::Allocate,
    Operation::SetLen,
];

/// A moment at which the machine may stop.
#[derive(Clone)]
pub(crate) struct Point {
    pub(crate) sim: SimDisk,
    pub(crate) ledger: Ledger,
    /// How many operations the disk was asked for by then.
    pub(crate) operation: u64,
    /// The store was being opened, and had not answered.
    pub(crate) opening: bool,
}

/// Runs `script`, and forks the disk before each operation that changes something, and at the end.
pub(super) fn record(driver: &mut Driver, script: impl FnOnce(&mut Driver)) -> Vec<Point> {
    struct Tape {
        points: Vec<Point>,
        next: Option<SimDisk>,
    }
    let fork = |sim: &SimDisk| {
        let fork = sim.fork();
        fork.clear_faults();
        fork.on_delay(|_| {});
        fork
    };
    let point = |sim: SimDisk, shown: &mut Shown| {
        if let Some(log) = &shown.log {
            shown.ledger.serve(log.global_position());
        }
        Point { operation: sim.operations(), sim, ledger: shown.ledger.clone(), opening: shown.opening }
    };
    let tape = Arc::new(Mutex::new(Tape { points: Vec::new(), next: Some(fork(&driver.sim)) }));
    let (sim, shown, taped) = (driver.sim.clone(), driver.shown.clone(), tape.clone());
    driver.sim.on_delay(move |_| {
        // Between the operation before and this one nothing was changed, but by now more may have been promised.
        let mut tape = taped.lock().unwrap_or_else(PoisonError::into_inner);
        let before = tape.next.replace(fork(&sim)).expect("there is always a next one");
        let point = point(before, &mut shown.lock().unwrap_or_else(PoisonError::into_inner));
        tape.points.push(point);
    });
    driver.sim.inject(When::on_any(&CHANGES).always(), Fault::Slow(Duration::ZERO));
    script(driver);
    driver.sim.clear_faults();
    driver.sim.on_delay(|_| {});
    let mut tape = tape.lock().unwrap_or_else(PoisonError::into_inner);
    let last = tape.next.take().expect("there is always a next one");
    let last = point(last, &mut driver.shown());
    let mut points = std::mem::take(&mut tape.points);
    points.push(last);
    points
}
