//! Stopping a workload everywhere, and going on from there.

use eventfold_io::sim::{Keep, Sector, SimDisk, SimOptions};
use eventfold_store::{Store, StoreOptions};

use super::super::Random;
use super::driver::Driver;
use super::ledger::Ledger;
use super::story::{Stop, Story};
use super::tape::{Point, record};
use super::{Branches, Workload};

/// How much is tried.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// All subsets of up to this many unsynced units.
    exhaustive_units: usize,
    /// How many subsets of more.
    samples: usize,
    /// One in so many first crashes that tore something is followed by a second one at every operation of what comes after.
    second_after_tear_one_in: u64,
    /// Likewise, of the others.
    second_one_in: u64,
    /// Likewise, for the third.
    third_one_in: u64,
    /// One in so many points at which the process is killed, with crashes at every operation of what comes after.
    kill_one_in: u64,
}

impl Effort {
    fn asked() -> Self {
        if std::env::var_os("EVENTFOLD_CRASH_FULL").is_some_and(|value| value != "0") {
            Self {
                exhaustive_units: 12,
                samples: 200,
                second_after_tear_one_in: 60,
                second_one_in: 60,
                third_one_in: 300,
                kill_one_in: 1,
            }
        } else {
            Self {
                exhaustive_units: 3,
                samples: 8,
                second_after_tear_one_in: 20,
                second_one_in: 300,
                third_one_in: 600,
                kill_one_in: 60,
            }
        }
    }
}

/// Counts of a whole exploration.
struct Exploration<'a> {
    workload: &'a Workload,
    sector: Sector,
    effort: Effort,
    branches: Branches,
    points: u64,
    recoveries: u64,
}

/// Stops the workload everywhere, and opens the store each time.
pub(crate) fn explore(workload: &Workload) {
    let replay = std::env::var("EVENTFOLD_CRASH_REPLAY").ok();
    let mut branches = Branches::default();
    for sector in [Sector::B512, Sector::B4096] {
        let mut exploration = Exploration {
            workload,
            sector,
            effort: Effort::asked(),
            branches: Branches::default(),
            points: 0,
            recoveries: 0,
        };
        match &replay {
            Some(path) => exploration.replay(path),
            None => exploration.run(),
        }
        let Exploration { points, recoveries, branches: found, .. } = exploration;
        println!(
            "{}, sectors of {}: {points} points, {recoveries} recoveries, {found:?}",
            workload.name,
            sector.bytes()
        );
        branches.merge(&found);
    }
    if replay.is_none() {
        for branch in workload.reaches {
            assert!(branches.0.get(branch).is_some_and(|count| *count > 0), "no recovery met: {branch}; {branches:?}");
        }
    }
}

impl<'a> Exploration<'a> {
    fn story(&self) -> Story<'a> {
        Story { workload: self.workload.name, sector: self.sector, stops: Vec::new() }
    }

    fn first_run(&self) -> Vec<Point> {
        let story = self.story();
        let mut options = SimOptions::new(story.seed());
        options.sector = self.sector;
        let mut driver =
            Driver::new(SimDisk::new(options), store_options(self.workload), story.seed(), Ledger::default());
        let points = record(&mut driver, self.workload.script);
        driver.sim.kill();
        points
    }

    fn run(&mut self) {
        let points = self.first_run();
        self.points = points.len() as u64;
        let mut random = Random::new(self.story().seed());
        for point in &points {
            for keep in Self::subsets(point, &mut random, self.effort.exhaustive_units, self.effort.samples) {
                let kept: u32 = keep.iter().map(|word| word.count_ones()).sum();
                let torn = kept > 0 && (kept as usize) < point.sim.unsynced().len();
                let effort = &self.effort;
                let one_in = if torn { effort.second_after_tear_one_in } else { effort.second_one_in };
                let depth = if random.below(one_in) == 0 { 2 } else { 1 };
                let stop = Stop { operation: point.operation, keep: Some(keep) };
                self.stop_at(&self.story(), point, stop, depth, &mut random);
            }
            if random.below(self.effort.kill_one_in) == 0 {
                let stop = Stop { operation: point.operation, keep: None };
                self.stop_at(&self.story(), point, stop, 2, &mut random);
            }
        }
    }

    /// Stops there, opens the store again, and goes on as deep as was asked for.
    fn stop_at(&mut self, story: &Story<'_>, point: &Point, stop: Stop, depth: u32, random: &mut Random) {
        let story = story.then(stop);
        self.recoveries += 1;
        let (points, branches) = self.resume(&story, point, depth > 1);
        self.branches.merge(&branches);
        for next in &points {
            // What happens while the store is opened is what this is about; what comes after it has been seen before.
            if !next.opening && random.below(3) > 0 {
                continue;
            }
            let subsets = if next.opening { (1, 4) } else { (0, 3) };
            for keep in Self::subsets(next, random, subsets.0, subsets.1) {
                let third = depth == 2 && random.below(self.effort.third_one_in) == 0;
                let stop = Stop { operation: next.operation, keep: Some(keep) };
                self.branches.add(if depth > 2 { "third crash" } else { "second crash" });
                self.stop_at(&story, next, stop, if third { 3 } else { 1 }, random);
            }
        }
    }

    /// Opens the store after a stop, checks it, uses it. Returns the points of all that, if they are asked for.
    fn resume(&self, story: &Story<'_>, point: &Point, recorded: bool) -> (Vec<Point>, Branches) {
        let sim = point.sim.fork();
        let seed = story.seed();
        sim.reseed(seed);
        match &story.stops.last().expect("something stopped it").keep {
            Some(words) => sim.crash(&Keep::Units(words.clone())),
            None => sim.kill(),
        }
        let before = point.ledger.clone();
        let mut driver = Driver::new(sim, store_options(self.workload), seed, before.clone());
        if recorded {
            let points = record(&mut driver, |driver| {
                driver.open();
                use_it(driver, &before);
            });
            driver.sim.kill();
            return (points, driver.branches);
        }
        driver.open();
        // Whatever was served must stand, though nothing was synced after it.
        let served = driver.shown().ledger.clone();
        let again = driver.sim.fork();
        again.crash(&Keep::Nothing);
        let mut second = Driver::new(again, store_options(self.workload), seed ^ 1, served);
        second.open();
        second.sim.kill();
        if seed.is_multiple_of(4) {
            use_it(&mut driver, &before);
            driver.close();
            driver.open();
        }
        driver.sim.kill();
        (Vec::new(), driver.branches)
    }

    /// Subsets of what is unsynced there: all of up to `exhaustive` units, else up to `samples`.
    fn subsets(point: &Point, random: &mut Random, exhaustive: usize, samples: usize) -> Vec<Vec<u64>> {
        let units = point.sim.unsynced().len();
        if units <= exhaustive {
            return (0..1u64 << units).map(|mask| vec![mask]).collect();
        }
        let words = units.div_ceil(64);
        let set = |chosen: &mut dyn FnMut(usize) -> bool| {
            let mut keep = vec![0; words];
            for unit in (0..units).filter(|unit| chosen(*unit)) {
                keep[unit / 64] |= 1 << (unit % 64);
            }
            keep
        };
        let mut subsets = vec![set(&mut |_| false), set(&mut |_| true)];
        for _ in subsets.len()..samples {
            let pick = usize::try_from(random.below(units as u64)).unwrap();
            subsets.push(match random.below(4) {
                0 => set(&mut |unit| unit != pick),
                1 => set(&mut |unit| unit < pick),
                2 => set(&mut |unit| unit >= pick),
                _ => set(&mut |_| random.below(2) == 0),
            });
        }
        subsets
    }

    /// Repeats one way to a state.
    fn replay(&mut self, path: &str) {
        let mut parts = path.split('/');
        if parts.next() != Some(&*self.sector.bytes().to_string()) {
            return;
        }
        let mut story = self.story();
        let mut points = self.first_run();
        for part in parts {
            let (operation, keep) = part.split_once(':').expect("operation:units");
            let operation = operation.parse().expect("a number");
            let keep = (keep != "kill").then(|| {
                keep.split('.').map(|word| u64::from_str_radix(word, 16).expect("a hexadecimal number")).collect()
            });
            let point = points.iter().find(|point| point.operation == operation).expect("such a point").clone();
            for (index, unit) in point.sim.unsynced().iter().enumerate() {
                println!("unit {index}: {unit:?}");
            }
            let stop = Stop { operation, keep };
            println!("{stop:?}; {} events are certain, {:?}", point.ledger.certain.len(), point.sim.names());
            story =
                Story { workload: self.workload.name, sector: self.sector, stops: [&*story.stops, &[stop]].concat() };
            let (_, branches) = Exploration { branches: Branches::default(), ..*self }.resume(&story, &point, false);
            println!("{branches:?}");
            points = self.resume(&story, &point, true).0;
        }
    }
}

fn store_options(workload: &Workload) -> StoreOptions {
    Store::builder().segment_size(workload.segment_size).background(false)
}

/// What is done with a store that came back: what was asked for before, something new, enough to roll.
fn use_it(driver: &mut Driver, before: &Ledger) {
    driver.repeat(before);
    driver.append(2, &[10]);
    driver.stage(0, &[700, 30_000]);
    driver.stage(1, &[25_000]);
    driver.commit_staged();
    driver.idle();
    driver.append(1, &[27_000]);
}
