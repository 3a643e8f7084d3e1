//! One store through many lives of the processes that work on it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use eventfold_db::{
    Builder, Consequence, Disk, Error, EventfoldDb, Healed, IoErrorKind, MIN_SEGMENT_SIZE, ReadIndex, RecoveryReport,
    StdDisk, Store, StoreOptions, TailEnd, VerifyReport, verify,
};

use super::ground::Ground;
use super::ledger::{Breach, Ledger};
use super::life::Life;
use super::process::{Ended, Fate, Process, When};
use crate::random::Random;

/// How a child opens the store: segments and caches are tiny, so that much happens in little time.
pub fn builder(background: bool) -> Builder {
    EventfoldDb::builder().store(options(background))
}

fn options(background: bool) -> StoreOptions {
    Store::builder()
        .segment_size(MIN_SEGMENT_SIZE)
        .cache_bytes(128 << 10)
        .hot_tail_bytes(32 << 10)
        .background(background)
}

/// How often what has happened, in all sagas of a test.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    /// It has happened so often more.
    pub fn add(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    /// All that has happened elsewhere has happened here too.
    pub fn add_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, times)| self.add(what, *times));
    }

    /// How often it has happened.
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.iter();
        parts.try_for_each(|(what, times)| write!(f, "{times} {what}; "))
    }
}

/// A store, what is known of it, and who works on it next.
#[derive(Debug)]
pub struct Saga<G: Ground> {
    ground: G,
    /// What is known of the store.
    pub ledger: Ledger,
    seed: u64,
    random: Random,
    lives: u32,
}

impl<G: Ground> Saga<G> {
    /// A new one.
    pub fn new(ground: G, seed: u64) -> Self {
        Self { ground, ledger: Ledger::default(), seed, random: Random::new(seed), lives: 0 }
    }

    /// This store on another ground, with what is known of it.
    pub fn on<H: Ground>(&self, ground: impl FnOnce(&G) -> H) -> Saga<H> {
        Saga {
            ground: ground(&self.ground),
            ledger: self.ledger.clone(),
            seed: self.seed,
            random: self.random.clone(),
            lives: self.lives,
        }
    }

    /// Goes on so often, and looks at everything in the end.
    ///
    /// # Panics
    ///
    /// At the first breach, with the seed and where the store is kept.
    pub fn live_through(&mut self, lives: u64, tally: &mut Tally) {
        let outcome = (0..lives).try_for_each(|_| self.go_on(tally)).and_then(|()| self.look_at(true, tally));
        if let Err(breach) = outcome {
            let (seed, kept) = (self.seed, self.keep());
            panic!("EVENTFOLD_SEED={seed}, {kept}: {breach:?}");
        }
    }

    /// A process works on the store and is struck at a random moment, or gets to its end. Then the store is looked at, mostly:
    /// sometimes the next process is the first to see what is left.
    ///
    /// # Errors
    ///
    /// A promise that was not kept.
    pub fn go_on(&mut self, tally: &mut Tally) -> Result<(), Breach> {
        if self.random.percent(15) {
            self.ledger.forget();
        }
        let (clients, turns) = (self.random.pick(&[1, 2, 3]), self.random.pick(&[3, 8, 15, 25, 40]));
        let background = !self.random.percent(20);
        let when = match self.random.below(100) {
            0..3 => When::Started,
            3..23 => When::Opening,
            23..28 => When::Closing,
            28..33 => When::Never,
            _ => When::Lines(self.random.below(1 + u64::from(turns) * u64::from(clients) * 2)),
        };
        let power = self.random.below(18);
        let fate = Fate { when, spins: self.random.below(1 << power) };
        let ended = self.live(&[], (clients, turns, background), fate)?;
        self.took_note_of(&ended, when, tally)?;
        if self.random.percent(70) { self.look(tally) } else { Ok(()) }
    }

    /// A process works on the store, under another program where one is given: with so many clients that have so many turns
    /// each, and with the store's own thread or without.
    ///
    /// # Errors
    ///
    /// A promise that was not kept.
    pub fn live(
        &mut self,
        program: &[String],
        (clients, turns, background): (u8, u16, bool),
        fate: Fate,
    ) -> Result<Ended, Breach> {
        self.lives += 1;
        let life = Life {
            path: self.ground.path(),
            number: self.lives,
            clients,
            turns,
            from: self.ledger.len() - self.random.below(self.ledger.len() + 1).min(200),
            background,
            again: self.ledger.again(),
        };
        let process = Process::start(Process::command(program, &life));
        let Self { ground, ledger, random, .. } = self;
        let ended = process.live(fate, ledger, |child| ground.strike(child, random))?;
        if ended.struck {
            self.ground.restore();
        }
        self.ledger.troubled = false;
        Ok(ended)
    }

    fn took_note_of(&self, ended: &Ended, when: When, tally: &mut Tally) -> Result<(), Breach> {
        let done = ended.status.success() && self.ledger.is_closed();
        if !ended.struck && !done {
            return Err(Breach::Report(format!("a child that was not struck ended with {}", ended.status)));
        }
        tally.add("lives", 1);
        let what = match (ended.struck, when) {
            (false, _) => "done",
            (true, When::Started) => "struck before they did anything",
            (true, When::Opening) => "struck while opening",
            (true, When::Closing) => "struck while closing",
            (true, _) => "struck at work",
        };
        tally.add(what, 1);
        tally.add("struck", u64::from(ended.struck));
        Ok(())
    }

    /// Opens the store and holds it against what is known. Sometimes everything is compared, and the store verified before.
    ///
    /// # Errors
    ///
    /// A promise that was not kept.
    pub fn look(&mut self, tally: &mut Tally) -> Result<(), Breach> {
        let full = self.random.percent(5);
        self.look_at(full, tally)?;
        if self.random.percent(20) && self.ground.strike_alone() {
            tally.add("struck right after opening", 1);
            self.look_at(full, tally)?;
        }
        Ok(())
    }

    /// Opens the store and holds it against what is known, all of it or what is new.
    ///
    /// # Errors
    ///
    /// A promise that was not kept.
    pub fn look_at(&mut self, full: bool, tally: &mut Tally) -> Result<(), Breach> {
        let path = self.ground.path();
        let last_segment = last_segment(&path).map_err(Breach::Unreadable)?;
        let verified = if full && self.ledger.exists() { Some(verify_sound(&path, tally)?) } else { None };
        let mut store = options(self.random.percent(50)).open(&path).map_err(Breach::Unreadable)?;
        let report = store.recovery_report().clone();
        self.judge(&report, last_segment, verified.as_ref(), tally)?;
        let reads = ReadIndex::new(store.log());
        let known = self.ledger.len();
        let events = reads.read_all(known, u64::MAX).map_err(Breach::Unreadable)?;
        let taken = self.ledger.take(&events)?;
        self.ledger.compare(&reads, if full { 0 } else { known })?;
        tally.add("looked at", 1);
        tally.add("looked at whole", u64::from(full));
        tally.add("events found", self.ledger.len() - known);
        tally.add("answered appends found", taken.answered);
        tally.add("unanswered appends found", taken.unanswered);
        tally.add("unanswered appends gone", taken.gone);
        let closes = self.random.percent(25);
        if closes {
            store.close().map_err(Breach::Unreadable)?;
        } else {
            // Then it is let go of as it is, as by a process that was killed.
            store.poison_after_panic();
        }
        self.ledger.looked_at(closes);
        Ok(())
    }

    /// What opening has said of what it found.
    fn judge(
        &self,
        report: &RecoveryReport,
        last_segment: Option<u32>,
        verified: Option<&VerifyReport>,
        tally: &mut Tally,
    ) -> Result<(), Breach> {
        let wrong = |what: &str| Err(Breach::Report(format!("{what}: {report:?}, {verified:?}")));
        if report.created {
            tally.add("made", 1);
            return if self.ledger.exists() { wrong("a store that was there was made anew") } else { Ok(()) };
        }
        let end = match report.end {
            Some(TailEnd::Closed) => "closed ends",
            Some(TailEnd::Unproven) => "unproven ends",
            Some(TailEnd::Torn) => "torn ends",
            None => return wrong("it does not say how the log ended"),
        };
        tally.add(end, 1);
        tally.add("checkpoints used", u64::from(report.checkpoint));
        if self.ledger.is_closed() && report.end != Some(TailEnd::Closed) {
            return wrong("a clean close was reported as something else");
        }
        if report.side_file.is_some() != (report.end == Some(TailEnd::Torn)) {
            return wrong("what is dropped has to be kept, and nothing else");
        }
        if report.proven.is_none_or(|proven| proven.position > report.position) {
            return wrong("more is proven than there is");
        }
        if !report.window_gaps.is_empty() {
            return wrong("a part can't be read");
        }
        for healed in &report.healed {
            let what = match healed {
                Healed::Meta => "store.meta made again",
                Healed::Footer { .. } => "footers made again",
                // Of the next segment, which was being prepared: both are one write, and a kill may cut a write between pages.
                Healed::HeaderCopy { segment } if Some(*segment) == last_segment => "headers written in part",
                // Nothing else is damaged by a process that dies: it was synced before it had its name, or was used.
                _ => return wrong("something is damaged"),
            };
            tally.add(what, 1);
        }
        if verified.is_some_and(|verified| (verified.end, verified.position) != (report.end, report.position)) {
            return wrong("verifying told another end");
        }
        Ok(())
    }

    /// Where it is kept, to be looked at after a promise was broken.
    pub fn keep(&mut self) -> String {
        format!("life {}, kept in {}", self.lives, self.ground.keep().display())
    }
}

/// The number of the last segment that is there.
fn last_segment(path: &Path) -> Result<Option<u32>, Error> {
    let names = match StdDisk::open(path).and_then(|disk| disk.list()) {
        Err(error) if error.kind() == IoErrorKind::NotFound => Vec::new(),
        names => names?,
    };
    Ok(names.iter().filter_map(|name| name.strip_suffix(".segment")?.parse().ok()).max())
}

fn verify_sound(path: &Path, tally: &mut Tally) -> Result<VerifyReport, Breach> {
    let verified = verify(path, |_| {}).map_err(Breach::Unreadable)?;
    tally.add("verified", 1);
    if verified.worst().is_some_and(|worst| worst > Consequence::Heals) {
        return Err(Breach::Report(format!("{verified:?}")));
    }
    Ok(verified)
}
