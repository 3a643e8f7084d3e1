//! Commits beside the raw limit: a positioned write and a data sync of as many bytes on a file that was filled with zeroes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use eventfold_store::{Append, Commit, Committed, ExpectedVersion, NotStaged, PreparedAppend, Store};

use crate::support::{Source, at_least, at_most, directory, median, quantile, stream, timed};

/// The other side: a log of files that are filled with zeroes before they are used.
struct Raw {
    directory: PathBuf,
    file: File,
    file_len: u64,
    offset: u64,
}

impl Raw {
    fn new(directory: &Path, file_len: u64) -> Self {
        let file = Self::fill(directory, file_len);
        Self { directory: directory.to_owned(), file, file_len, offset: 0 }
    }

    /// A new file: allocated, filled and synced.
    fn fill(directory: &Path, len: u64) -> File {
        let path = directory.join("raw");
        drop(std::fs::remove_file(&path));
        let file = File::create_new(&path).expect("it was removed");
        file.set_len(len).expect("there is space");
        let zeroes = vec![0; 256 << 10];
        let mut offset = 0;
        while offset < len {
            let step = zeroes.len().min(usize::try_from(len - offset).expect("a file fits the address space"));
            file.write_all_at(&zeroes[..step], offset).expect("there is space");
            offset += step as u64;
        }
        file.sync_all().expect("it can be synced");
        File::open(directory).and_then(|directory| directory.sync_all()).expect("it can be synced");
        file
    }

    /// Writes and syncs, into the next file where this one is used up.
    fn commit(&mut self, bytes: &[u8]) {
        if self.offset + bytes.len() as u64 > self.file_len {
            self.file = Self::fill(&self.directory, self.file_len);
            self.offset = 0;
        }
        self.file.write_all_at(bytes, self.offset).expect("there is space");
        self.file.sync_data().expect("it can be synced");
        self.offset += bytes.len() as u64;
    }
}

/// What is committed at once.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    OneEvent,
    OneAppend,
    Group,
}

const IN_ONE: usize = 1000;
const STREAMS: usize = 1000;

/// The store's side: streams whose versions are known, as a writer that goes on from what it has read knows them.
struct Side {
    store: Store,
    source: Source,
    versions: Vec<Option<u64>>,
}

impl Side {
    fn new(store: Store) -> Self {
        Self { store, source: Source::new(1), versions: vec![None; STREAMS] }
    }

    fn next_append(&mut self, events: usize) -> Append {
        let number = self.source.random.below(STREAMS);
        let version = &mut self.versions[number];
        let expected = version.map_or(ExpectedVersion::NoStream, ExpectedVersion::Exact);
        *version = Some(version.map_or(0, |version| version + 1) + events as u64 - 1);
        let id = stream(number as u64);
        Append::new().expect(id, expected).events(id, self.source.events(events))
    }

    fn appends(&mut self, shape: Shape) -> Vec<Append> {
        match shape {
            Shape::OneEvent => vec![self.next_append(1)],
            Shape::OneAppend => vec![self.next_append(IN_ONE)],
            Shape::Group => (0..IN_ONE).map(|_| self.next_append(1)).collect(),
        }
    }

    /// Appends them as one group.
    fn commit(&mut self, appends: Vec<Append>) {
        if appends.len() == 1 {
            for append in appends {
                self.store.append_all(append).expect("appended");
            }
            return;
        }
        let log = self.store.log();
        for append in appends {
            self.stage(log.prepare(append).expect("a sound append"));
        }
        self.store.commit().expect("committed");
    }

    fn stage(&mut self, prepared: PreparedAppend) {
        match self.store.stage(prepared) {
            Ok(_) => {}
            Err(NotStaged::CommitFirst(prepared)) => {
                self.store.commit().expect("committed");
                self.store.stage(prepared).expect("staged");
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    /// How many bytes a commit of this shape writes.
    fn bytes(&mut self, shape: Shape) -> usize {
        let log = self.store.log();
        for append in self.appends(shape) {
            self.stage(log.prepare(append).expect("a sound append"));
        }
        let bytes = self.store.staged_bytes();
        self.store.commit().expect("committed");
        bytes
    }
}

pub(crate) fn ratios() {
    println!("Commits / raw limit: rates over all turns, filling counted on both sides.");
    compare("1 event", Shape::OneEvent, 4 << 20, 16, 0.9);
    compare("1 append of 1,000 events", Shape::OneAppend, 16 << 20, 2, 0.6);
    compare("1,000 appends of 1 event", Shape::Group, 16 << 20, 2, 0.6);
    pipelined(0.6);
}

/// Both sides by turns of `batch` commits, over ten segments and more.
fn compare(what: &str, shape: Shape, segment_size: u64, batch: usize, limit: f64) {
    const SEGMENTS: u64 = 11;
    let directory = directory();
    let options = Store::builder().segment_size(segment_size);
    let mut side = Side::new(options.open(directory.path().join("store")).expect("opened"));
    let mut raw = Raw::new(directory.path(), segment_size);
    let bytes = vec![0xA5; side.bytes(shape)];
    let turns = usize::try_from(SEGMENTS * segment_size / (bytes.len() * batch) as u64).expect("a small number");
    let (mut stores, mut raws) = (Vec::new(), Vec::new());
    let (mut of_store, mut of_raw) = (Vec::new(), Vec::new());
    for turn in 0..turns {
        let batches: Vec<_> = (0..batch).map(|_| side.appends(shape)).collect();
        let run_store = || {
            let mut total = 0.0;
            for appends in batches {
                let (took, ()) = timed(|| side.commit(appends));
                stores.push(took.as_secs_f64());
                total += took.as_secs_f64();
            }
            of_store.push(total);
        };
        let mut run_raw = || {
            let mut total = 0.0;
            for _ in 0..batch {
                let (took, ()) = timed(|| raw.commit(&bytes));
                raws.push(took.as_secs_f64());
                total += took.as_secs_f64();
            }
            of_raw.push(total);
        };
        if turn % 2 == 0 {
            run_store();
            run_raw();
        } else {
            run_raw();
            run_store();
        }
    }
    let ratios: Vec<f64> = of_store.iter().zip(&of_raw).map(|(store, raw)| raw / store).collect();
    let rate = of_raw.iter().sum::<f64>() / of_store.iter().sum::<f64>();
    let more = format!(
        "median of turns {:.2}; commits {:.0} and {:.0} us, p99 {:.0} and {:.0} us",
        median(&ratios),
        median(&stores) * 1e6,
        median(&raws) * 1e6,
        quantile(&stores, 0.99) * 1e6,
        quantile(&raws, 0.99) * 1e6,
    );
    at_least(&format!("{what}, {} B", bytes.len()), rate, "x", limit, &more);
    side.store.close().expect("closed");
}

/// Groups of 1,000 appends as a writer commits them: callers have prepared them, and while one group is written and synced on
/// a thread the next is staged. The other side writes and syncs as many bytes, one after the other.
fn pipelined(limit: f64) {
    const SEGMENT: u64 = 16 << 20;
    const BATCH: usize = 8;
    let directory = directory();
    let store = Store::builder().segment_size(SEGMENT).open(directory.path().join("store")).expect("opened");
    let mut side = Side::new(store);
    let mut raw = Raw::new(directory.path(), SEGMENT);
    let bytes = vec![0xA5; side.bytes(Shape::Group)];
    let (commits, to_run) = mpsc::channel::<Commit>();
    let (done, committed) = mpsc::channel::<Committed>();
    let disk = std::thread::spawn(move || {
        for commit in to_run {
            drop(done.send(commit.run()));
        }
    });
    let turns = usize::try_from(11 * SEGMENT / (bytes.len() * BATCH) as u64).expect("a small number");
    let (mut of_store, mut of_raw, mut staging) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..turns {
        let log = side.store.log();
        let groups: Vec<Vec<PreparedAppend>> = (0..BATCH)
            .map(|_| side.appends(Shape::Group).into_iter().map(|append| log.prepare(append).expect("sound")).collect())
            .collect();
        let finish = |store: &mut Store| {
            store.finish_commit(committed.recv().expect("it runs")).expect("committed");
        };
        let (took, ()) = timed(|| {
            for group in groups {
                let (took, answers) = timed(|| {
                    let mut answers = Vec::with_capacity(group.len());
                    for prepared in group {
                        match side.store.stage(prepared) {
                            Ok(staged) => answers.push(staged),
                            Err(NotStaged::CommitFirst(again)) => {
                                if side.store.is_committing() {
                                    finish(&mut side.store);
                                }
                                side.store.commit().expect("committed");
                                answers.push(side.store.stage(again).expect("staged"));
                            }
                            Err(NotStaged::Outdated(again)) => {
                                let again = log.prepare_again(again).expect("sound");
                                answers.push(side.store.stage(again).expect("staged"));
                            }
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                    answers
                });
                staging.push(took.as_secs_f64());
                if side.store.is_committing() {
                    finish(&mut side.store);
                }
                let commit = side.store.begin_commit().expect("sound").expect("a group was staged");
                commits.send(commit).expect("it runs");
                // The callers take what became of their appends, while the next group is staged.
                drop(answers);
            }
            finish(&mut side.store);
        });
        of_store.push(took.as_secs_f64() / BATCH as f64);
        let (took, ()) = timed(|| (0..BATCH).for_each(|_| raw.commit(&bytes)));
        of_raw.push(took.as_secs_f64() / BATCH as f64);
    }
    drop(commits);
    disk.join().expect("it ends with the channel");
    let ratios: Vec<f64> = of_store.iter().zip(&of_raw).map(|(store, raw)| raw / store).collect();
    let rate = of_raw.iter().sum::<f64>() / of_store.iter().sum::<f64>();
    let more = format!(
        "median of turns {:.2}; groups {:.0} and {:.0} us, of which staging {:.0} us",
        median(&ratios),
        median(&of_store) * 1e6,
        median(&of_raw) * 1e6,
        median(&staging) * 1e6,
    );
    at_least(&format!("1,000 prepared appends, {} B, staged while others sync", bytes.len()), rate, "x", limit, &more);
    side.store.close().expect("closed");
}

/// One-event commits while a full-size segment is closed, sealed, and the next one is filled.
pub(crate) fn rolls() {
    const NEAR: u64 = 2 << 20;
    const BEFORE: usize = 1000;
    const AFTER: usize = 4000;
    const ROLLS: usize = 3;
    println!("One-event commits near the rolls of segments of 256 MiB, by turns with raw ones.");
    let directory = directory();
    let path = directory.path().join("store");
    let mut side = Side::new(Store::open(&path).expect("opened"));
    let mut raw = Raw::new(directory.path(), 64 << 20);
    let (bulk, one) = (side.bytes(Shape::OneAppend) as u64, side.bytes(Shape::OneEvent));
    let bytes = vec![0xA5; one];
    let segments = || {
        let names = std::fs::read_dir(&path).expect("it is there").map(|entry| entry.expect("listed").file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".segment")).count()
    };
    let (mut stores, mut raws, mut calm) = (Vec::new(), Vec::new(), Vec::new());
    let mut used = side.store.log().global_position() * one as u64;
    for capacity in [1, 4, 16, 64].map(|mib: u64| mib << 20).into_iter().chain([256 << 20; ROLLS]) {
        while used + NEAR + bulk < capacity {
            let appends = side.appends(Shape::OneAppend);
            side.commit(appends);
            used += bulk;
        }
        let full = capacity == 256 << 20;
        let count = segments();
        let (mut rolled, mut commits) = (None, 0);
        let mut window = Vec::new();
        used = 0;
        while rolled.is_none_or(|at| commits < at + AFTER) {
            let appends = side.appends(Shape::OneEvent);
            let position = side.store.global_position();
            let (took, ()) = timed(|| side.commit(appends));
            let (took_raw, ()) = timed(|| raw.commit(&bytes));
            window.push((took.as_secs_f64(), took_raw.as_secs_f64()));
            commits += 1;
            // The segment behind the new one is prepared as soon as there is a new one.
            if rolled.is_none() && segments() > count && position > 0 {
                rolled = Some(commits);
            }
            if rolled.is_some() {
                used += one as u64;
                if !full {
                    break;
                }
            }
        }
        let Some(at) = rolled.filter(|_| full) else { continue };
        let start = at.saturating_sub(BEFORE);
        calm.extend(window[..start].iter().map(|(store, _)| *store));
        stores.extend(window[start..].iter().map(|(store, _)| *store));
        raws.extend(window[start..].iter().map(|(_, raw)| *raw));
        let part = |range: std::ops::Range<usize>| {
            let values: Vec<f64> = window[range].iter().map(|(store, _)| *store).collect();
            (median(&values) * 1e6, quantile(&values, 0.99) * 1e6)
        };
        println!(
            "  roll: {BEFORE} before (median, p99) {:.0?} us, the rolling commit {:.0} us, 1,000 after {:.0?} us, {AFTER} after {:.0?} us",
            part(start..at - 1),
            window[at - 1].0 * 1e6,
            part(at..(at + 1000).min(window.len())),
            part(at..window.len()),
        );
    }
    let more = format!(
        "median {:.0} us, p99 {:.0} us; raw ones near: {:.0} and {:.0} us; far from the rolls: {:.0} and {:.0} us",
        median(&stores) * 1e6,
        quantile(&stores, 0.99) * 1e6,
        median(&raws) * 1e6,
        quantile(&raws, 0.99) * 1e6,
        median(&calm) * 1e6,
        quantile(&calm, 0.99) * 1e6,
    );
    at_most("p99 / median near the rolls", quantile(&stores, 0.99) / median(&stores), "x", 3.0, &more);
    side.store.close().expect("closed");
}
