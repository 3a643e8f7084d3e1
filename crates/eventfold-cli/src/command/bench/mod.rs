//! `eventfold bench`.
//!
//! What a sync costs changes from one second to the next. So the disk and the store take turns, and what is told are medians.

mod load;
mod raw;
mod report;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eventfold_client::{Bytes, EventStore, EventfoldDb};
use eventfold_db::{IoError, StdDisk, WriterHandle};
use tempfile::TempDir;

use crate::args::Bench;
use crate::command::bench::load::Load;
use crate::command::bench::raw::Raw;
use crate::command::bench::report::{Callers, Report};
use crate::exit::{Failure, code};
use crate::progress::Progress;
use crate::signals::Signals;
use crate::target::{DEFAULT_DATA, Place, connect};

/// Fewer tell no median.
const ROUNDS_MIN: u64 = 5;

/// Seconds that one side has at a time: somebody who has pressed Ctrl-C may wait for the disk's.
const TURN_MAX: u64 = 1;

const CALLERS: [u32; 3] = [1, 64, 256];

/// Contents differ from event to event by where in these bytes they begin.
const SPREAD: usize = 64 << 10;

pub(crate) async fn run(args: Bench) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    match args.at.place()? {
        Place::Directory(directory) => {
            let beside = Beside::new(&directory, args.size)?;
            // The store is closed before its directory is removed, however the measuring ends.
            let measured = tokio::select! {
                measured = measure(&args, &beside.load, Some(&beside)) => measured,
                _ = signals.come() => Err(stopped()),
            };
            let removed = beside.remove().await;
            measured.and_then(|report| removed.and(report.show(args.json)))
        }
        Place::Server(client) if args.yes => {
            let store = connect(*client).await?;
            let stream = format!("bench-{}", store.global_position().await?);
            let load = load(Arc::new(store), stream, args.size);
            let report = tokio::select! {
                measured = measure(&args, &load, None) => measured?,
                _ = signals.come() => return Err(stopped()),
            };
            report.show(args.json)
        }
        Place::Server(_) => Err(Failure::new(
            code::USAGE,
            "what is measured is appended to a stream of the server's store, named bench- and a number, and stays there: --yes says \
             that this is meant",
        )),
    }
}

fn stopped() -> Failure {
    Failure::new(code::FAILED, "stopped before there was anything to tell")
}

fn load(store: Arc<dyn EventStore>, stream: String, size: u32) -> Load {
    let size = size as usize;
    Load { store, stream, contents: contents(size + SPREAD), size }
}

/// Bytes that nothing on the way can make smaller.
fn contents(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(step).take(len).collect()
}

/// A directory on the disk that is measured, with a store and a file.
#[derive(Debug)]
struct Beside {
    directory: TempDir,
    disk: StdDisk,
    load: Load,
    writer: WriterHandle,
}

impl Beside {
    fn new(directory: &Path, size: u32) -> Result<Self, Failure> {
        let is_to_be_made = directory == Path::new(DEFAULT_DATA) && !directory.is_dir();
        let within = if is_to_be_made { Path::new(".") } else { directory };
        let made = tempfile::Builder::new().prefix("eventfold-bench-").tempdir_in(within);
        let directory = made.map_err(|error| {
            let code = if error.kind() == std::io::ErrorKind::NotFound { code::NOT_FOUND } else { code::FAILED };
            Failure::new(code, format!("could not make a directory in {}: {error}", within.display()))
        })?;
        let disk = StdDisk::open(directory.path()).map_err(of_disk)?;
        let db = EventfoldDb::open(directory.path().join("store"))?;
        let writer = db.writer().clone();
        Ok(Self { directory, disk, load: load(Arc::new(db), "bench".to_owned(), size), writer })
    }

    /// How many bytes an append of one event takes in the log.
    async fn append_bytes(&self) -> Result<usize, Failure> {
        // The first names its stream, which the others do not.
        self.load.appends(1, Duration::ZERO).await?;
        let before = self.writer.stats().bytes;
        self.load.appends(1, Duration::ZERO).await?;
        let bytes = self.writer.stats().bytes - before;
        usize::try_from(bytes).map_err(|_| Failure::new(code::FAILED, "an append is larger than memory"))
    }

    async fn remove(self) -> Result<(), Failure> {
        let closed = self.writer.close().await;
        let path = self.directory.path().display().to_string();
        let removed = self.directory.close();
        removed.map_err(|error| Failure::new(code::FAILED, format!("could not remove {path}: {error}")))?;
        Ok(closed?)
    }
}

fn of_disk(error: IoError) -> Failure {
    eventfold_db::Error::from(error).into()
}

async fn measure(args: &Bench, load: &Load, beside: Option<&Beside>) -> Result<Report, Failure> {
    let callers = if args.callers.is_empty() { CALLERS.to_vec() } else { args.callers.clone() };
    let mut disk = match beside {
        Some(beside) => {
            let bytes = beside.append_bytes().await?;
            let most = callers.iter().max().map_or(0, |most| *most as usize);
            let raw = tokio::task::block_in_place(|| Raw::new(&beside.disk, contents(bytes * most)));
            Some((raw.map_err(of_disk)?, bytes))
        }
        None => None,
    };
    let sides = if disk.is_some() { 2 } else { 1 };
    let turns_a_round = callers.len() as u64 * sides;
    let rounds = ROUNDS_MIN.max(args.seconds.div_ceil(turns_a_round * TURN_MAX));
    // One more is for reading.
    let time = Duration::from_millis(args.seconds * 1000 / (rounds * turns_a_round + 1));
    let mut measured: Vec<_> = callers.iter().map(|callers| Callers::new(*callers)).collect();
    let mut progress = Progress::new("measuring", "turns");
    // What is done for the first time takes longer, and is not measured.
    load.appends(callers[0], time / 4).await?;
    let mut done = 0;
    for _ in 0..rounds {
        for of in &mut measured {
            let raw = match &mut disk {
                Some((raw, bytes)) => {
                    let bytes = *bytes * of.count as usize;
                    Some(tokio::task::block_in_place(|| raw.writes(bytes, time)).map_err(of_disk)?)
                }
                None => None,
            };
            of.add(raw, load.appends(of.count, time).await?);
            done += sides;
            progress.at(done, rounds * turns_a_round);
        }
    }
    let reads_per_second = load.reads(time).await?;
    Ok(Report { event_bytes: args.size, callers: measured, reads_per_second })
}

/// How many in a second.
fn rate(count: u64, time: Duration) -> u64 {
    let rate = u128::from(count) * 1_000_000_000 / time.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}
