//! How a state came about.

use std::fmt::Write as _;

use eventfold_io::sim::Sector;

use super::super::Random;

/// One stop on the way to a state: after which operation, and what was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(super) operation: u64,
    /// `None`: the process was killed, and the page cache lived on.
    pub(super) keep: Option<Vec<u64>>,
}

/// How a state came about, told when the test fails there.
pub(crate) struct Story<'a> {
    pub(super) workload: &'a str,
    pub(super) sector: Sector,
    pub(super) stops: Vec<Stop>,
}

impl Story<'_> {
    pub(super) fn seed(&self) -> u64 {
        let mut seed = self.sector.bytes();
        for stop in &self.stops {
            let words = stop.keep.iter().flatten().copied().chain([stop.operation, u64::from(stop.keep.is_some())]);
            for word in words {
                seed = Random::new(seed ^ word).next();
            }
        }
        seed
    }

    pub(super) fn then(&self, stop: Stop) -> Self {
        let mut stops = self.stops.clone();
        stops.push(stop);
        Self { workload: self.workload, sector: self.sector, stops }
    }

    /// As `EVENTFOLD_CRASH_REPLAY` takes it.
    fn path(&self) -> String {
        let mut path = self.sector.bytes().to_string();
        for stop in &self.stops {
            write!(path, "/{}:", stop.operation).unwrap();
            match &stop.keep {
                None => path.push_str("kill"),
                Some(words) => {
                    let words: Vec<String> = words.iter().map(|word| format!("{word:x}")).collect();
                    path.push_str(&words.join("."));
                }
            }
        }
        path
    }
}

impl Drop for Story<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (path, workload) = (self.path(), self.workload);
            eprintln!("to see it again: EVENTFOLD_CRASH_REPLAY={path} and only the test of the workload `{workload}`");
        }
    }
}
