//! A scan of all events, borrowed, beside reading the same bytes in the same way with one checksum an event.

use std::fs::File;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use eventfold_codec::{EVENT_RECORD_LEN, crc32c};
use eventfold_store::{Append, Snapshot, Store};

use crate::support::{EVENT_TYPE, PAYLOAD_LEN, Source, at_least, directory, median, stream, timed};

const EVENTS: u64 = 600_000;

/// What a scan reads at once.
const WINDOW_LEN: usize = 1 << 20;

pub(crate) fn ratios() {
    println!("Reading the files and one CRC-32C an event / a borrowed scan of all events.");
    for in_one in [1, 10, 100] {
        compare(in_one, 0.5);
    }
}

fn compare(in_one: usize, limit: f64) {
    let directory = directory();
    let mut store = Store::builder().segment_size(64 << 20).open(directory.path()).expect("opened");
    let mut source = Source::new(1);
    let log = store.log();
    let mut frame_bytes = 0;
    for _ in 0..EVENTS / in_one as u64 {
        let id = stream(source.random.below(10_000) as u64);
        let append = Append::new().events(id, source.events(in_one));
        if let Err(eventfold_store::NotStaged::CommitFirst(again)) = store.stage(log.prepare(append).expect("sound")) {
            frame_bytes += store.staged_bytes() as u64;
            store.commit().expect("committed");
            store.stage(again).expect("staged");
        }
        if store.staged_bytes() > 2 << 20 {
            frame_bytes += store.staged_bytes() as u64;
            store.commit().expect("committed");
        }
    }
    frame_bytes += store.staged_bytes() as u64;
    store.close().expect("closed");
    let store = Store::builder().read_only(true).open(directory.path()).expect("opened");
    let snapshot = store.log().snapshot();
    let files = data_files(directory.path());
    let (mut ratios, mut scans, mut raws, mut by_append) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for turn in 0..16 {
        let (scanned, raw) = if turn % 2 == 0 {
            let scanned = timed(|| scan(&snapshot)).0;
            (scanned, timed(|| read(&files, frame_bytes)).0)
        } else {
            let raw = timed(|| read(&files, frame_bytes)).0;
            (timed(|| scan(&snapshot)).0, raw)
        };
        // The first turns find the files out of the caches.
        if turn >= 2 {
            let event = 1e9 / EVENTS as f64;
            scans.push(scanned.as_secs_f64() * event);
            raws.push(raw.as_secs_f64() * event);
            ratios.push(raw.as_secs_f64() / scanned.as_secs_f64());
            by_append.push(timed(|| scan_appends(&snapshot)).0.as_secs_f64() * event);
        }
    }
    let more = format!(
        "{:.0} ns an event, raw {:.0} ns; by appends {:.0} ns",
        median(&scans),
        median(&raws),
        median(&by_append)
    );
    at_least(&format!("scan, {in_one} event(s) an append"), median(&ratios), "x", limit, &more);
}

fn scan(snapshot: &Snapshot) {
    let mut count = 0;
    let scanned = snapshot.scan(0).for_each(|event| {
        black_box(&event);
        count += 1;
        ControlFlow::Continue(())
    });
    scanned.expect("sound");
    assert_eq!(count, EVENTS);
}

fn scan_appends(snapshot: &Snapshot) {
    let mut scan = snapshot.scan(0);
    let mut count = 0;
    while let Some(events) = scan.next_append().expect("sound") {
        for event in events {
            black_box(&event.expect("sound"));
            count += 1;
        }
    }
    assert_eq!(count, EVENTS);
}

/// The segments' files, in order.
fn data_files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("it is there")
        .map(|entry| entry.expect("listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    files.sort();
    files
}

/// Reads as many bytes of the files as frames have, in windows, and sums a record's length of them for each event.
fn read(files: &[PathBuf], frame_bytes: u64) {
    const RECORD_LEN: usize = EVENT_RECORD_LEN + EVENT_TYPE.len() + PAYLOAD_LEN;
    let stride = usize::try_from(frame_bytes / EVENTS).expect("a small number");
    let mut window = vec![0; WINDOW_LEN];
    let (mut left, mut count) = (frame_bytes, 0);
    for path in files {
        let file = File::open(path).expect("it is there");
        let len = file.metadata().expect("it is there").len();
        let mut offset = 0;
        while offset < len && left > 0 {
            let step = left.min(len - offset).min(WINDOW_LEN as u64);
            let bytes = &mut window[..usize::try_from(step).expect("at most a window")];
            file.read_exact_at(bytes, offset).expect("it can be read");
            for event in bytes.chunks(stride) {
                black_box(crc32c(&event[..event.len().min(RECORD_LEN)]));
                count += 1;
            }
            offset += step;
            left -= step;
        }
    }
    assert!(count >= EVENTS, "{count} events");
}
