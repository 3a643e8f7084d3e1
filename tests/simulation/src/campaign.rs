//! Many runs, each of them twice.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::run::{Outcome, run};
use crate::trouble::Counts;

const HELP: &str = "\
Runs the whole store on a simulated disk, with simulated threads and time.

Usage: cargo simulation [OPTIONS]

  --seed N       the first seed (default 1)
  --runs N       how many seeds, one after the other (default 1000)
  --threads N    how many runs at once (default 1)
  --once         each run once; otherwise each runs twice, and has to go the same way
  --trace        print the plan and every operation of the disk
  --every-kind   fail if some kind of trouble has not happened in any run

A run that fails prints its seed: cargo simulation --seed SEED --runs 1 --trace";

/// After so many failures there is enough to look at.
const FAILURES_MAX: u64 = 10;

#[derive(Debug)]
struct Options {
    seed: u64,
    runs: u64,
    threads: u64,
    once: bool,
    trace: bool,
    every_kind: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self { seed: 1, runs: 1000, threads: 1, once: false, trace: false, every_kind: false };
        while let Some(argument) = arguments.next() {
            let number = match argument.as_str() {
                "--once" => {
                    options.once = true;
                    continue;
                }
                "--trace" => {
                    options.trace = true;
                    continue;
                }
                "--every-kind" => {
                    options.every_kind = true;
                    continue;
                }
                "--help" | "-h" => return Ok(None),
                "--seed" => &mut options.seed,
                "--runs" => &mut options.runs,
                "--threads" => &mut options.threads,
                _ => return Err(format!("there is no option {argument}")),
            };
            let value = arguments.next().ok_or_else(|| format!("{argument} takes a number"))?;
            *number = value.parse().map_err(|_| format!("{argument} takes a number, not {value}"))?;
        }
        Ok(Some(options))
    }
}

#[derive(Debug, Default)]
struct Sum {
    runs: u64,
    operations: u64,
    events: u64,
    told: u64,
    counts: Counts,
    failed: Vec<u64>,
}

pub(crate) fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => campaign(&options),
        Ok(None) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn campaign(options: &Options) -> ExitCode {
    let (next, sum) = (AtomicU64::new(options.seed), Mutex::new(Sum::default()));
    println!("simulation: {} runs from seed {}", options.runs, options.seed);
    #[expect(clippy::disallowed_methods, reason = "each is the only one of its simulation")]
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| work(options, &next, &sum));
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(options, &sum)
}

fn work(options: &Options, next: &AtomicU64, sum: &Mutex<Sum>) {
    let end = options.seed.saturating_add(options.runs);
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let outcome = try_seed(options, seed);
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        if sum.add(seed, outcome) >= FAILURES_MAX {
            return;
        }
        if sum.runs.is_multiple_of(10_000) {
            println!("simulation: {} of {} runs, {} failed", sum.runs, options.runs, sum.failed.len());
        }
    }
}

/// `None` where it has failed.
fn try_seed(options: &Options, seed: u64) -> Option<Outcome> {
    let tried = catch_unwind(|| {
        let first = run(seed, options.trace);
        if !options.once {
            let second = run(seed, false);
            assert!(first == second, "two runs of one seed went different ways: {first:?}, {second:?}");
        }
        first
    });
    if tried.is_err() {
        eprintln!("FAILED: cargo simulation --seed {seed} --runs 1 --trace");
    }
    tried.ok()
}

impl Sum {
    /// Returns how many have failed.
    fn add(&mut self, seed: u64, outcome: Option<Outcome>) -> u64 {
        self.runs += 1;
        match outcome {
            Some(outcome) => {
                self.operations += outcome.operations;
                self.events += outcome.events;
                self.told += u64::from(outcome.told);
                self.counts.merge(&outcome.counts);
            }
            None => self.failed.push(seed),
        }
        self.failed.len() as u64
    }
}

fn report(options: &Options, sum: &Sum) -> ExitCode {
    for (trouble, count) in sum.counts.iter() {
        println!("{trouble:60} {count:12}");
    }
    let Sum { runs, operations, events, told, failed, .. } = sum;
    let times = if options.once { "once" } else { "twice" };
    println!("{runs} runs, each {times}: {operations} operations of the disk, {events} events at the end,");
    println!("{told} ended with a loss that the disk had caused and the store told of, {} failed", failed.len());
    if !failed.is_empty() {
        println!("failed: {failed:?}");
        return ExitCode::FAILURE;
    }
    let missing: Vec<_> = sum.counts.iter().filter(|(_, count)| *count == 0).map(|(trouble, _)| trouble).collect();
    if options.every_kind && !missing.is_empty() {
        println!("these have never happened: {missing:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
