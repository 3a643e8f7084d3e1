//! The process that opens damaged stores. It tells what became of each on a line of its own, so that whoever started it knows
//! which case it died of.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::damage::{Kind, cases};
use crate::engine::Engine;
use crate::golden::{Golden, Image, Place};
use crate::judge::{Class, Known, judge};
use crate::sweep::Asked;

/// More address space than this is not given.
const MEMORY_MAX: u64 = 1 << 30;

/// One in so many cases is preceded by a look at whether the copy is what it should be.
const COPIES_CHECKED_ONE_IN: usize = 256;

/// After so many cases a new process goes on, so that what an engine leaks does not add up.
const CASES_MAX: usize = 1024;

/// What panics said, on whichever thread.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What an engine wrote to its log as a warning or an error.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOGGED.lock().unwrap_or_else(PoisonError::into_inner).push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

fn taken(words: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut *words.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Works on the cases from this one on, up to one that panics.
pub(crate) fn work(engine: &dyn Engine, golden: Golden, from: usize, asked: &Asked) {
    let place = Place::new(&asked.directory, engine, golden);
    let store = Image::load(&place.store());
    let (older, foreign) = (Image::load(&place.older()), Image::load(&place.foreign()));
    let acknowledged = golden.acknowledged(asked.seed);
    let (directory, mut out) = (place.copy(), std::io::stdout());

    setrlimit(Resource::As, Rlimit { current: Some(MEMORY_MAX), maximum: Some(MEMORY_MAX) }).expect("it is a limit");
    std::panic::set_hook(Box::new(|panic| {
        PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
    }));
    log::set_logger(&Logger).expect("there is no other");
    log::set_max_level(log::LevelFilter::Warn);

    store.write(&directory);
    let unproven_from = engine.open(&directory).expect("it is sound").note().unproven_from;
    let cases = cases(&store, &older, &foreign, asked.budget, asked.seed);
    for (number, damage) in cases.iter().enumerate().skip(from).take(CASES_MAX) {
        damage.apply(&store, &directory);
        if damage.kind == Kind::None || number % COPIES_CHECKED_ONE_IN == 0 {
            let copy = Image::load(&directory);
            let changed = copy.files.iter().filter(|(file, content)| store.files.get(*file) != Some(*content)).count();
            let removed = store.files.len() - copy.files.len();
            assert_eq!(changed + removed, usize::from(damage.kind != Kind::None), "{damage} left another copy");
        }
        let earlier = (damage.kind == Kind::Older).then(|| golden.earlier());
        let known = Known { acknowledged: &acknowledged, unproven_from, earlier };
        let (class, why) = tried(|| judge(engine, &directory, &known));
        let logged = class.is_silent().then(|| taken(&LOGGED)).and_then(|logged| logged.first().cloned());
        let mut checked = "";
        if class.is_silent() {
            damage.apply(&store, &directory);
            checked = check(engine, &directory);
        }
        taken(&LOGGED);
        let logged = if logged.is_some() { "logged" } else { "" };
        let line = format!("{number}\t{}\t{logged}\t{checked}\t{}\t{damage}\t{}", class.name(), damage.kind.name(), {
            let why: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
            why
        });
        writeln!(out, "{line}").and_then(|()| out.flush()).expect("somebody listens");
        if class == Class::Crashed || checked == "check crashed" {
            // What the panic left behind is not to be a later case's.
            std::process::exit(0);
        }
    }
    if from + CASES_MAX >= cases.len() {
        writeln!(out, "done").expect("somebody listens");
    }
}

fn tried(run: impl FnOnce() -> (Class, String)) -> (Class, String) {
    let outcome = catch_unwind(AssertUnwindSafe(run));
    match (outcome, taken(&PANICS).into_iter().next()) {
        (Ok(outcome), None) => outcome,
        (_, panic) => (Class::Crashed, panic.unwrap_or_default()),
    }
}

/// What the engine's own check says of a store whose damage it served in silence.
fn check(engine: &dyn Engine, directory: &Path) -> &'static str {
    let checked = catch_unwind(AssertUnwindSafe(|| engine.check(directory)));
    match (checked, taken(&PANICS).is_empty()) {
        (Ok(None), true) => "no check",
        (Ok(Some(Ok(()))), true) => "check sound",
        (Ok(Some(Err(_))), true) => "check tells",
        _ => "check crashed",
    }
}
