//! What the parts of an append and of a read cost the processor, for criterion.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use eventfold_store::{Append, Direction, ExpectedVersion, Staged, Store};

use crate::support::{Random, Source, directory, stream, timed};

const STREAMS: usize = 1000;

pub(crate) fn run() {
    let mut criterion = Criterion::default().configure_from_args();
    appending(&mut criterion);
    reading(&mut criterion);
    criterion.final_summary();
}

/// Preparing and staging, without the commits between.
fn appending(c: &mut Criterion) {
    let mut group = c.benchmark_group("append, without the disk");
    group.measurement_time(Duration::from_secs(3)).sample_size(20);
    for events in [1, 1000] {
        let directory = directory();
        let mut store = Store::builder().background(false).open(directory.path()).expect("opened");
        let log = store.log();
        let mut source = Source::new(1);
        group.throughput(Throughput::Elements(events as u64));
        for what in ["prepare", "stage"] {
            group.bench_function(format!("{what}/{events}"), |b| {
                b.iter_custom(|iterations| {
                    let mut total = Duration::ZERO;
                    for turn in 0..iterations {
                        let id = stream(source.random.below(STREAMS) as u64);
                        let append = Append::new().expect(id, ExpectedVersion::Any).events(id, source.events(events));
                        let (preparing, prepared) = timed(|| log.prepare(append).expect("sound"));
                        let (staging, staged) = timed(|| store.stage(prepared));
                        match staged {
                            Ok(staged) => drop::<Staged>(black_box(staged)),
                            Err(_) => drop(store.commit().expect("committed")),
                        }
                        total += if what == "stage" { staging } else { preparing };
                        if turn % 1000 == 999 || store.staged_bytes() > 4 << 20 {
                            store.commit().expect("committed");
                        }
                    }
                    store.commit().expect("committed");
                    total
                });
            });
        }
    }
    group.finish();
}

/// Reads of a log that lies in the cache, in sealed segments.
fn reading(c: &mut Criterion) {
    const EVENTS: usize = 100_000;
    let directory = directory();
    let options = || Store::builder().background(false).segment_size(4 << 20).cache_bytes(256 << 20);
    let mut store = options().open(directory.path()).expect("opened");
    let mut source = Source::new(1);
    for _ in 0..EVENTS / 100 {
        let log = store.log();
        for _ in 0..100 {
            let id = stream(source.random.below(EVENTS / 10) as u64);
            let append = Append::new().events(id, source.events(1));
            let staged = store.stage(log.prepare(append).expect("sound"));
            if let Err(eventfold_store::NotStaged::CommitFirst(again)) = staged {
                store.commit().expect("committed");
                store.stage(again).expect("staged");
            }
        }
        store.commit().expect("committed");
    }
    let snapshot = store.log().snapshot();
    let mut random = Random(7);
    let mut group = c.benchmark_group("read, cached");
    group.measurement_time(Duration::from_secs(3));
    group.bench_function("a stream of 10 events or so", |b| {
        b.iter(|| {
            let id = stream(random.below(EVENTS / 10) as u64);
            black_box(snapshot.read_stream(id, 0, 100, Direction::Forward).map_or(0, |events| events.len()))
        });
    });
    group.bench_function("the event at a position", |b| {
        b.iter(|| black_box(snapshot.event(random.below(EVENTS) as u64).expect("read").is_some()));
    });
    group.bench_function("the version of a stream that does not exist", |b| {
        b.iter(|| black_box(snapshot.stream_info(stream(random.next() | 1 << 63)).expect("read").is_none()));
    });
    group.throughput(Throughput::Elements(1000));
    group.bench_function("1,000 events in a row", |b| {
        b.iter(|| {
            let from = random.below(EVENTS - 1000) as u64;
            black_box(snapshot.read_all(from, 1000, Direction::Forward).expect("read").len())
        });
    });
    group.finish();
    store.close().expect("closed");
}
