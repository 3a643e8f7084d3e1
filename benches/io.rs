//! Benches of the door to disk: what a commit costs, and that the interface costs nothing beside it.
//!
//! Each bench through the interface has a twin that makes the same system calls directly. Files lie in the directory that
//! `EVENTFOLD_BENCH_DIR` names, else in the target directory: a directory for temporary files is often in memory, where a
//! sync costs nothing and tells nothing.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use eventfold_io::{Disk, DiskFile, StdDisk};

const SIZES: [usize; 2] = [4096, 64 * 1024];

/// How much of a file is used before the next is prepared.
const FILE_LEN: u64 = 64 << 20;

/// What is written next, and into which file: one, open both ways.
struct Log {
    disk: Arc<StdDisk>,
    filled: bool,
    synced: bool,
    interface: Arc<dyn DiskFile>,
    direct: File,
    offset: u64,
}

impl Log {
    fn new(disk: &Arc<StdDisk>, filled: bool) -> Self {
        let interface = prepare(disk, filled);
        Self { disk: disk.clone(), filled, synced: true, interface, direct: direct(disk.path()), offset: 0 }
    }

    /// Goes on to where the next commit goes: into the next file where this one is used up.
    fn make_room(&mut self, len: usize) {
        if self.offset + len as u64 > FILE_LEN {
            if self.synced {
                *self = Self::new(&self.disk, self.filled);
            }
            self.offset = 0;
        }
    }

    fn commit(&mut self, way: Way, bytes: &[u8]) {
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        match way {
            Way::Interface => {
                self.interface.write_all_at(bytes, offset).expect("written");
                if self.synced {
                    self.interface.sync_data().expect("synced");
                }
            }
            Way::Direct => {
                assert_eq!(self.direct.write_at(bytes, offset).expect("written"), bytes.len());
                if self.synced {
                    rustix::fs::fdatasync(&self.direct).expect("synced");
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Interface,
    Direct,
}

/// A new file of the store's kind: zero-filled and synced, or empty.
fn prepare(disk: &StdDisk, filled: bool) -> Arc<dyn DiskFile> {
    if disk.exists("log").expect("the directory can be read") {
        disk.remove("log").expect("it can be removed");
    }
    let file = disk.create("log").expect("a file can be created");
    if filled {
        file.allocate(0, FILE_LEN).expect("there is space");
        let zeroes = vec![0; 1 << 20];
        for offset in (0..FILE_LEN).step_by(zeroes.len()) {
            file.write_all_at(&zeroes, offset).expect("there is space");
        }
    }
    file.sync_all().expect("it can be synced");
    disk.sync_directory().expect("it can be synced");
    file
}

#[expect(clippy::disallowed_methods, reason = "what is measured is the way past the interface")]
fn direct(path: &Path) -> File {
    File::options().read(true).write(true).open(path.join("log")).expect("it was prepared")
}

/// Commits both ways by turns into one file and takes the time of one for criterion. A disk's speed drifts between two
/// benches by more than the two ways can differ, so the ratio of both, over all turns, is printed as well.
#[expect(clippy::disallowed_methods, reason = "a bench is where the clock comes from")]
fn bench(group: &mut BenchmarkGroup<'_, WallTime>, log: &mut Log, size: usize) {
    let bytes = vec![0xA5; size];
    group.throughput(Throughput::Bytes(size as u64));
    let mut both = [Duration::ZERO; 2];
    for (name, measured) in [("interface", Way::Interface), ("direct", Way::Direct)] {
        group.bench_function(format!("{name}/{size}"), |b| {
            b.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for turn in 0..iterations {
                    let order =
                        if turn % 2 == 0 { [Way::Interface, Way::Direct] } else { [Way::Direct, Way::Interface] };
                    for way in order {
                        // Not a part of a commit, hence outside the time that is taken.
                        log.make_room(size);
                        let begun = Instant::now();
                        log.commit(way, black_box(&bytes));
                        let took = begun.elapsed();
                        both[usize::from(way == Way::Direct)] += took;
                        if way == measured {
                            total += took;
                        }
                    }
                }
                total
            });
        });
    }
    let [interface, direct] = both.map(|time| time.as_secs_f64());
    println!("interface / direct by turns, {size} bytes: {:.3}", interface / direct);
}

fn commits(c: &mut Criterion) {
    let parent = std::env::var_os("EVENTFOLD_BENCH_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let directory = tempfile::tempdir_in(parent).expect("a directory can be created");
    let disk = Arc::new(StdDisk::open(directory.path()).expect("it was created"));

    for (group, filled) in [("write and fdatasync, zero-filled", true), ("write and fdatasync, growing", false)] {
        let mut group = c.benchmark_group(group);
        group.measurement_time(Duration::from_secs(4)).sample_size(20);
        for size in SIZES {
            bench(&mut group, &mut Log::new(&disk, filled), size);
        }
    }

    // Without the sync, so that what the interface adds can be seen at all.
    let mut group = c.benchmark_group("write to the page cache");
    for size in SIZES {
        bench(&mut group, &mut Log { synced: false, ..Log::new(&disk, true) }, size);
    }
}

criterion_group!(benches, commits);
criterion_main!(benches);
