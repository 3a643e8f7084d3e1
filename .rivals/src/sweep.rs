//! Goes through all engines, stores and damages, with processes that may die of them.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::damage::{Budget, Kind, cases};
use crate::engine::{self, Engine};
use crate::golden::{Golden, Image, Place};
use crate::judge::Class;
use crate::table::Tables;

/// Who takes longer for one case hangs.
const CASE_MAX: Duration = Duration::from_secs(10);

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) directory: PathBuf,
    pub(crate) seed: u64,
    pub(crate) budget: Budget,
    pub(crate) engine: Option<String>,
    pub(crate) golden: Option<Golden>,
    pub(crate) reuse: bool,
}

impl Asked {
    /// What a worker is told, to come to the same cases.
    fn options(&self) -> Vec<String> {
        let Budget { bits, cuts, blocks } = self.budget;
        let numbers = [("--seed", self.seed), ("--bits", bits), ("--cuts", cuts), ("--blocks", blocks)];
        numbers.into_iter().flat_map(|(option, number)| [option.to_owned(), number.to_string()]).collect()
    }
}

/// What became of one case.
pub(crate) struct Outcome {
    pub(crate) kind: Kind,
    pub(crate) class: Class,
    pub(crate) logged: bool,
    pub(crate) check_tells: bool,
}

/// Sweeps, and prints the tables.
pub(crate) fn sweep(asked: &Asked) {
    let mut tables = Tables::new(asked);
    for golden in Golden::ALL.into_iter().filter(|golden| asked.golden.is_none_or(|asked| asked == *golden)) {
        for engine in engine::all() {
            if asked.engine.as_ref().is_some_and(|name| name != engine.name()) {
                continue;
            }
            let (place, begun) = (Place::new(&asked.directory, &*engine, golden), Instant::now());
            if !asked.reuse {
                place.make(&*engine, golden, asked.seed);
            }
            let outcomes = sweep_one(&*engine, golden, &place, asked);
            eprintln!("{} {}: {} cases in {:?}", engine.name(), golden.name(), outcomes.len(), begun.elapsed());
            tables.add(engine.name(), engine.package(), golden, &Image::load(&place.store()), outcomes);
        }
    }
    println!("{tables}");
}

/// A worker and what it says.
struct Worker {
    child: Child,
    lines: Receiver<String>,
}

impl Worker {
    fn start(engine: &dyn Engine, golden: Golden, from: usize, asked: &Asked) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("it runs"))
            .args(["worker", engine.name(), golden.name(), &from.to_string()])
            .arg(&asked.directory)
            .args(asked.options())
            // Arenas of threads reserve much more than they use, which the limit on memory would count.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("processes can be started");
        let said = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        // It ends with the pipe.
        std::thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    fn stop(mut self) -> String {
        drop(self.child.kill());
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

fn sweep_one(engine: &dyn Engine, golden: Golden, place: &Place, asked: &Asked) -> Vec<Outcome> {
    let (older, foreign) = (Image::load(&place.older()), Image::load(&place.foreign()));
    let cases = cases(&Image::load(&place.store()), &older, &foreign, asked.budget, asked.seed);
    let mut file = BufWriter::new(File::create(place.cases()).expect("there is space"));
    let mut outcomes = Vec::with_capacity(cases.len());
    let mut worker = Worker::start(engine, golden, 0, asked);
    while outcomes.len() < cases.len() {
        let next = outcomes.len();
        // A new worker has files to read first.
        match worker.lines.recv_timeout(CASE_MAX) {
            Ok(line) if line == "done" => panic!("{} said that it was done at {next}", engine.name()),
            Ok(line) => {
                let mut fields = line.split('\t');
                let number = fields.next().and_then(|number| number.parse().ok());
                assert_eq!(number, Some(next), "{} does not go on where it was: {line}", engine.name());
                let class = fields.next().and_then(Class::named).expect("a worker names a class");
                let (logged, checked) = (fields.next(), fields.next());
                outcomes.push(Outcome {
                    kind: cases[next].kind,
                    class,
                    logged: logged == Some("logged"),
                    check_tells: checked == Some("check tells"),
                });
                writeln!(file, "{line}").expect("there is space");
            }
            Err(ended) => {
                let status = worker.stop();
                // One that ended by itself has done what it was to do, or panicked and said so.
                let hangs = ended == RecvTimeoutError::Timeout;
                assert!(hangs || status != "exit status: 101", "the worker itself failed at {}", cases[next]);
                if hangs || status != "exit status: 0" {
                    let why = if hangs { "it hangs" } else { &status };
                    let (kind, class) = (cases[next].kind, Class::Crashed);
                    let line = format!("{next}\t{}\t\t\t{}\t{}\t{why}", class.name(), kind.name(), cases[next]);
                    writeln!(file, "{line}").expect("there is space");
                    outcomes.push(Outcome { kind, class, logged: false, check_tells: false });
                }
                worker = Worker::start(engine, golden, outcomes.len(), asked);
            }
        }
    }
    worker.stop();
    let sound = outcomes.remove(0);
    assert!(sound.class == Class::Unharmed, "{} {} is {:?}", engine.name(), golden.name(), sound.class);
    outcomes
}
