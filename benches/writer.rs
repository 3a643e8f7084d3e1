//! Benches of the writer: the limits of `docs/PERFORMANCE.md`.
//!
//! A limit compares two sides that take turns in one run, since what a sync costs changes from one second to the next. Files
//! lie in the directory that `EVENTFOLD_BENCH_DIR` names, else in the target directory: one for temporary files is often in
//! memory, where a sync costs nothing and tells nothing.
//!
//! ```text
//! cargo bench -p eventfold-writer --bench writer                # all of them, in about a minute
//! cargo bench -p eventfold-writer --bench writer -- many        # some of them: lone, many, large, cold
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "a bench is where the clock comes from, and it reads and writes past the store"
)]
#![expect(clippy::cast_precision_loss, reason = "counts and sizes of a bench are far below 2^52")]

#[path = "../crates/eventfold-writer/src/inbox.rs"]
#[allow(dead_code, reason = "the bare loop takes what it needs of it")]
mod inbox;
#[path = "../crates/eventfold-writer/src/line.rs"]
#[allow(dead_code, reason = "a part of it")]
mod line;
#[path = "store/support.rs"]
#[allow(dead_code, reason = "each bench takes what it needs of it")]
mod support;
#[path = "../crates/eventfold-writer/src/sync.rs"]
mod sync;

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use eventfold_store::{Append, ExpectedVersion, QueryItem, Store};
use eventfold_writer::{Writer, WriterHandle, WriterOptions};
use tokio::runtime::Runtime;

use inbox::{Inbox, Taken};
use line::Load;
use support::{Source, at_least, at_most, directory, median, quantile, stream, timed};

const FILE_LEN: u64 = 256 << 20;

/// What one event takes in the log, about.
const FRAME_LEN: usize = 440;

/// A log without a store: files that were filled with zeroes, the next one while one is used, as the store's segments are.
struct Raw {
    file: File,
    offset: u64,
    progress: Arc<Progress>,
    filled: mpsc::Receiver<File>,
}

/// How much of a file is used, and how much of the next is filled.
#[derive(Default)]
struct Progress {
    used: AtomicU64,
    filled: AtomicU64,
}

impl Progress {
    /// Whether the next file is filled half as far again as the one before is used, or as far as it goes.
    fn is_ahead(&self) -> bool {
        let (used, filled) = (self.used.load(Ordering::Relaxed), self.filled.load(Ordering::Relaxed));
        filled >= (used * 3 / 2).min(FILE_LEN)
    }

    /// Waits until the filling has caught up, so that it does not disturb what is measured next.
    fn settle(&self) {
        while !self.is_ahead() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Raw {
    fn new(directory: &Path) -> Self {
        let (progress, filled) = (Arc::new(Progress::default()), mpsc::sync_channel(0));
        progress.used.store(FILE_LEN, Ordering::Relaxed);
        let (path, for_filler) = (directory.join("raw"), progress.clone());
        std::thread::spawn(move || while filled.0.send(fill(&path, &for_filler)).is_ok() {});
        let file = filled.1.recv().expect("it is filled");
        let mut raw = Self { file, offset: 0, progress, filled: filled.1 };
        raw.begin();
        raw
    }

    fn begin(&mut self) {
        self.offset = 0;
        self.progress.used.store(0, Ordering::Relaxed);
        self.progress.filled.store(0, Ordering::Relaxed);
    }

    fn commit(&mut self, bytes: &[u8]) {
        if self.offset + bytes.len() as u64 > FILE_LEN {
            self.progress.used.store(FILE_LEN, Ordering::Relaxed);
            self.file = self.filled.recv().expect("it is filled");
            self.begin();
        }
        self.file.write_all_at(bytes, self.offset).expect("there is space");
        self.file.sync_data().expect("it can be synced");
        self.offset += bytes.len() as u64;
        self.progress.used.store(self.offset, Ordering::Relaxed);
    }
}

/// Fills a file while the one before is used.
fn fill(path: &Path, progress: &Progress) -> File {
    const STEP: u64 = 1 << 20;
    let zeroes = vec![0; 1 << 20];
    drop(std::fs::remove_file(path));
    let file = File::create_new(path).expect("it was removed");
    file.set_len(FILE_LEN).expect("there is space");
    for step in 0..FILE_LEN / STEP {
        while progress.is_ahead() {
            std::thread::sleep(Duration::from_micros(200));
        }
        file.write_all_at(&zeroes, step * STEP).expect("there is space");
        file.sync_data().expect("it can be synced");
        progress.filled.store((step + 1) * STEP, Ordering::Relaxed);
    }
    file
}

/// The loop without a store behind it: the same inbox, one write, one sync, the answers.
type BareInbox = Inbox<(Vec<u8>, oneshot::Sender<u64>), ()>;

fn bare_loop(inbox: &BareInbox, mut raw: Raw) {
    let (mut batch, mut bytes, mut position) = (VecDeque::new(), Vec::new(), 0);
    while inbox.take(&mut batch, 1, None) != Taken::Ended {
        bytes.clear();
        for (request, _) in &batch {
            bytes.extend_from_slice(request);
        }
        raw.commit(&bytes);
        inbox.release(Load { requests: batch.len(), bytes: bytes.len() });
        for (_, answer) in batch.drain(..) {
            drop(answer.send(position));
            position += 1;
        }
    }
}

/// A writer whose store is past its first, small segments.
fn start(directory: &Path) -> (WriterHandle, eventfold_writer::WriterThread) {
    const GROWN_LEN: u64 = 96 << 20;
    let store = Store::open(directory.join("store")).expect("opened");
    let (writer, thread) = Writer::start(store, &WriterOptions::default()).expect("threads can be started");
    let mut source = Source::new(9);
    while writer.stats().bytes < GROWN_LEN {
        writer.append_request_blocking(append(&mut source, u64::MAX, 1000)).expect("appended");
    }
    // What is unsealed is indexed in memory: when that gets no less, the segments that were filled are sealed.
    let mut unsealed = u64::MAX;
    while unsealed > writer.log().memory_index_bytes() {
        unsealed = writer.log().memory_index_bytes();
        std::thread::sleep(Duration::from_millis(500));
    }
    (writer, thread)
}

fn append(source: &mut Source, number: u64, events: usize) -> Append {
    let id = stream(number);
    Append::new().expect(id, ExpectedVersion::Any).events(id, source.events(events))
}

/// How many commits are a turn: so many that what a side has filled in its background is filled in its own turn.
const IN_TURN: usize = 20;

/// Both sides by turns, one caller: what an append takes beside a write and a sync of as many bytes.
fn beside_raw(what: &str, events: usize, turns: usize, limit: f64) {
    let directory = directory();
    let mut raw = Raw::new(directory.path());
    let (writer, thread) = start(directory.path());
    let mut source = Source::new(1);
    let before = writer.stats();
    writer.append_request_blocking(append(&mut source, 0, events)).expect("appended");
    let len = usize::try_from(writer.stats().bytes - before.bytes).expect("a small number");
    let before = writer.stats();
    let bytes = vec![0xA5; len];
    let (mut of_writer, mut of_raw) = (Vec::new(), Vec::new());
    for turn in 0..turns / IN_TURN {
        for number in 0..IN_TURN {
            let append = append(&mut source, (turn * IN_TURN + number) as u64 % 1000, events);
            let (took, answer) = timed(|| writer.append_request_blocking(append));
            answer.expect("appended");
            of_writer.push(took.as_secs_f64());
        }
        for _ in 0..IN_TURN {
            of_raw.push(timed(|| raw.commit(&bytes)).0.as_secs_f64());
        }
    }
    let rate = of_raw.iter().sum::<f64>() / of_writer.iter().sum::<f64>();
    let (after, groups) = (writer.stats(), turns as f64 * 1e3);
    let more = format!(
        "synced in {:.0} us, staged to published in {:.0} us; medians {:.0} and {:.0} us, ratio {:.2}; p99 {:.0} and {:.0} us",
        (after.sync_latency.sum() - before.sync_latency.sum()) as f64 / groups,
        (after.commit_latency.sum() - before.commit_latency.sum()) as f64 / groups,
        median(&of_writer) * 1e6,
        median(&of_raw) * 1e6,
        median(&of_raw) / median(&of_writer),
        quantile(&of_writer, 0.99) * 1e6,
        quantile(&of_raw, 0.99) * 1e6,
    );
    at_least(&format!("{what}, {len} B"), rate, "x", limit, &more);
    drop(writer);
    thread.join();
}

fn lone() {
    beside_raw("a lone caller / raw", 1, 3000, 0.85);
}

fn large() {
    beside_raw("appends of 1,000 events / raw", 1000, 400, 0.6);
}

/// Appends in a second, by this many callers who each wait for their answer.
fn rate<F: Future<Output = ()> + Send>(
    runtime: &Runtime,
    callers: usize,
    time: Duration,
    call: impl Fn(usize, u64) -> F + Clone + Send + 'static,
) -> f64 {
    runtime.block_on(async {
        let begun = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|caller| {
                let call = call.clone();
                tokio::task::spawn(async move {
                    let mut count = 0_u64;
                    while begun.elapsed() < time {
                        call(caller, count).await;
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let mut total = 0;
        for task in tasks {
            total += task.await.expect("it does not panic");
        }
        total as f64 / begun.elapsed().as_secs_f64()
    })
}

/// Callers of one event each, beside the bare loop, and as multiples of one caller.
fn many() {
    const TURNS: usize = 7;
    const TIME: Duration = Duration::from_millis(200);
    // For what either side does in the background: it is not to disturb the other.
    const PAUSE: Duration = Duration::from_millis(500);
    println!("One-event appends of concurrent tasks / the same loop without a store.");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("built");
    let directory = directory();
    let (writer, thread) = start(directory.path());
    let bare = Arc::new(BareInbox::new(Load { requests: 8192, bytes: 64 << 20 }));
    let for_loop = bare.clone();
    let raw = Raw::new(directory.path());
    let progress = raw.progress.clone();
    let loop_thread = std::thread::spawn(move || bare_loop(&for_loop, raw));
    let payload = Source::new(7).event().payload;
    let of_writer = {
        let writer = writer.clone();
        move |caller: usize, _| {
            let (writer, payload) = (writer.clone(), payload.clone());
            async move {
                let event = eventfold_store::ProposedEvent::new(support::EVENT_TYPE, payload);
                writer.append(stream(caller as u64), ExpectedVersion::Any, vec![event]).await.expect("appended");
            }
        }
    };
    let of_bare = {
        let bare = bare.clone();
        move |_, _| {
            let bare = bare.clone();
            async move {
                let (sender, answer) = oneshot::async_channel();
                bare.submit((vec![0xA5; FRAME_LEN], sender), FRAME_LEN).expect("it is open");
                answer.await.expect("answered");
            }
        }
    };
    let mut alone = Vec::new();
    for (callers, multiple) in [(1, 1.0), (64, 28.0), (256, 80.0), (1024, 140.0)] {
        let before = writer.stats();
        let (mut rates, mut ratios) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let rate_of_writer = rate(&runtime, callers, TIME, of_writer.clone());
            std::thread::sleep(PAUSE);
            let rate_of_bare = rate(&runtime, callers, TIME, of_bare.clone());
            std::thread::sleep(PAUSE);
            progress.settle();
            rates.push(rate_of_writer);
            ratios.push(rate_of_writer / rate_of_bare);
        }
        let after = writer.stats();
        let group = (after.appends - before.appends) as f64 / (after.groups - before.groups) as f64;
        let syncs =
            (after.sync_latency.sum() - before.sync_latency.sum()) as f64 / (after.groups - before.groups) as f64;
        let more = format!("{:.0} appends/s, {group:.0} in a group, synced in {:.0} us", median(&rates), syncs / 1e3);
        if callers == 1 {
            alone.clone_from(&rates);
            println!("{:<62} {more}", "1 caller");
            continue;
        }
        at_least(&format!("{callers} callers / the bare loop"), median(&ratios), "x", 0.6, &more);
        at_least(&format!("{callers} callers / one"), median(&rates) / median(&alone), "x", multiple, "");
    }
    bare.close();
    loop_thread.join().expect("it does not panic");
    drop((writer, of_writer));
    thread.join();
}

/// Hot appends while others look for what no event of a large cold log has.
fn cold() {
    const EVENTS: usize = 200_000;
    const HOT: usize = 1000;
    let directory = directory();
    let options = || Store::builder().segment_size(1 << 20).cache_bytes(1 << 20);
    let path = directory.path().join("store");
    let mut store = options().open(&path).expect("opened");
    let mut source = Source::new(1);
    for number in 0..EVENTS / 500 {
        store.append_all(append(&mut source, number as u64, 500)).expect("appended");
    }
    store.close().expect("closed");
    let (writer, thread) = Writer::start(options().open(&path).expect("opened"), &WriterOptions::default())
        .expect("threads can be started");
    let mut hot = |beside: bool| {
        let mut times = Vec::new();
        let mut pending = VecDeque::new();
        for number in 0..HOT {
            if beside && number % 50 == 0 {
                let query = QueryItem::new().types([support::EVENT_TYPE]).tags([format!("nobody-{number}")]);
                let cold = append(&mut source, u64::MAX - number as u64, 1).no_match(query, None);
                pending.push_back(writer.try_append_request(cold).expect("there is space"));
            }
            let append = append(&mut source, 0, 1);
            let (took, answer) = timed(|| writer.append_request_blocking(append));
            answer.expect("appended");
            times.push(took.as_secs_f64());
        }
        let colds = pending.len();
        let (rest, ()) = timed(|| pending.drain(..).for_each(|pending| drop(pending.wait().expect("appended"))));
        (times, colds, rest)
    };
    let (without, _, _) = hot(false);
    let (with, colds, rest) = hot(true);
    let more = format!(
        "medians {:.0} and {:.0} us; {colds} cold queries, the last of them {:.1} ms behind",
        median(&with) * 1e6,
        median(&without) * 1e6,
        rest.as_secs_f64() * 1e3
    );
    let figure = quantile(&with, 0.99) / quantile(&without, 0.99);
    at_most("p99 of hot appends beside cold queries / without", figure, "x", 3.0, &more);
    drop(writer);
    thread.join();
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let sections: [(&str, fn()); 4] = [("lone", lone), ("many", many), ("large", large), ("cold", cold)];
    let chosen: Vec<_> = sections.iter().filter(|(name, _)| given(name)).collect();
    for (_, section) in &chosen {
        section();
    }
    // `cargo bench` passes `--bench`; without it, as under `cargo test`, there is nothing to measure.
    if chosen.is_empty() && given("--bench") && !given("--list") {
        for (_, section) in sections {
            section();
        }
    }
}
