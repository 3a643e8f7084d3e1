//! `eventfold stats`, `verify` and `repair`.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "processes are watched, and fail where something is missing"
)]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::path::Path;

use eventfold_db::{EventfoldDb, ExpectedVersion, ProposedEvent, Store};
use serde_json::json;
use support::{Place, Served, eventfold, run};

/// A closed store of small segments, most of them sealed, with so many events of about a kilobyte.
fn filled(path: &Path, events: u64) {
    let db = EventfoldDb::builder().store(Store::builder().segment_size(64 << 10)).open(path).unwrap();
    for n in 0..events {
        let event = ProposedEvent::new("Counted", format!("event-{n:06}{}", "x".repeat(1000)));
        db.append_blocking("s", ExpectedVersion::Any, vec![event]).unwrap();
    }
    db.close_blocking().unwrap();
}

/// Flips a bit of an event, wherever it stands.
fn damage(path: &Path, event: u64) -> String {
    let text = format!("event-{event:06}");
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            return path.file_name().unwrap().to_str().unwrap().to_owned();
        }
    }
    panic!("{text} is in no file");
}

#[test]
fn a_sound_store_is_said_to_be_one() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 2000);
    let place = Place::Directory(directory.path().to_owned());
    let told = place.run(&["verify"]).well();
    assert!(told.contains("2000 appends of 2000 events") && told.ends_with("nothing is damaged\n"), "{told}");
    let report = &place.run(&["verify", "--json"]).json()[0];
    assert_eq!((&report["sound"], &report["events"], &report["findings"]), (&json!(true), &json!(2000), &json!([])));
    assert!(report["sealed_segments"].as_u64().unwrap() > 1);
    assert!(place.run(&["repair"]).well().contains("nothing to repair"));
    assert!(place.run(&["repair", "--accept-loss"]).well().contains("nothing to repair"));
    assert_eq!(place.run(&["repair", "--json"]).json()[0]["refused"], json!(null));

    let stats = &place.run(&["stats", "--json"]).json()[0];
    assert_eq!(stats["position"], 2000);
    assert_eq!(stats["segments"], report["segments"]);
    let bytes = stats["segment_bytes"].as_u64().unwrap() + stats["other_bytes"].as_u64().unwrap();
    assert_eq!(bytes, report["bytes"].as_u64().unwrap());
    assert!(place.run(&["stats"]).well().contains("the store had been closed cleanly"));
}

#[test]
fn an_event_that_rots_in_a_sealed_segment_costs_that_event() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 2000);
    let file = damage(directory.path(), 17);
    let place = Place::Directory(directory.path().to_owned());
    let ran = place.run(&["verify"]);
    assert!(ran.out.contains(&file) && ran.out.contains("(position 17)"), "{ran:?}");
    assert!(ran.out.contains("all others can"), "{ran:?}");
    ran.failed(7);
    let report = place.run(&["verify", "--json"]);
    assert_eq!(report.code, 7);
    let report: serde_json::Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!(report["sound"], false);
    let finding = &report["findings"][0];
    assert_eq!((&finding["file"], &finding["consequence"]), (&json!(file), &json!("events_unreadable")));
    assert_eq!((&finding["first_position"], &finding["end_position"]), (&json!(17), &json!(18)));

    // What comes before is shown, and so is what comes after.
    let ran = place.run(&["read", "--json"]);
    assert_eq!(ran.out.lines().count(), 17);
    let told = ran.failed(7);
    assert!(told.contains(&file) && told.contains("--from"), "{told}");
    assert_eq!(place.run(&["read", "--json", "--from", "18"]).json().len(), 1982);
    let exports = |place: &Place| {
        let ran = place.run(&["export"]);
        assert_eq!(ran.out.lines().count(), 17);
        let told = ran.failed(7);
        assert!(told.contains("position 17") && told.contains("--from"), "{told}");
        assert_eq!(place.run(&["export", "--from", "18"]).json().len(), 1983, "and the last line");
    };
    exports(&place);
    exports(&Place::Server(Box::new(Served::start(directory.path(), &[]))));
    assert!(place.run(&["repair"]).well().contains("nothing to repair"));
}

#[test]
fn a_store_that_is_refused_is_cut_where_it_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let place = Place::Directory(data.clone());
    for n in 0..6 {
        place.run(&["append", "s", "Counted", &format!("event-{n:06}")]).well();
    }
    damage(&data, 2);
    for command in
        [&["read"] as &[&str], &["append", "s", "A"], &["streams"], &["stats"], &["serve", "--listen", "127.0.0.1:0"]]
    {
        let told = place.run(command).failed(7);
        assert!(told.contains("0000000000.segment") || told.contains("segment 0"), "{command:?}: {told}");
    }
    let told = place.run(&["read"]).failed(7);
    assert!(told.contains("eventfold verify") && told.contains("eventfold repair"), "{told}");
    let ran = place.run(&["verify"]);
    assert!(ran.out.contains("the store is not opened so"), "{ran:?}");
    ran.failed(7);

    // It says what would be lost, and loses nothing.
    let before = std::fs::read(data.join("0000000000.segment")).unwrap();
    let ran = place.run(&["repair"]);
    assert!(ran.out.contains("intact up to position 2") && ran.out.contains("nothing was changed"), "{ran:?}");
    ran.failed(7);
    let report = place.run(&["repair", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!((&report["cut"]["position"], &report["repaired"]), (&json!(2), &json!(false)));
    assert_eq!(report["cut"]["events_lost"], 4, "sound events behind the damage are given up as well");
    assert!(std::fs::read(data.join("0000000000.segment")).unwrap() == before);

    let told = place.run(&["repair", "--accept-loss"]).well();
    let kept = told.trim_end().rsplit(' ').next().unwrap();
    assert!(told.contains("the store is repaired") && data.join(kept).exists(), "{told}");
    let kept = std::fs::read(data.join(kept)).unwrap();
    assert!(kept.windows(12).any(|window| window == b"event-000005"), "what was given up is kept");
    let left = place.run(&["read", "--json"]).json();
    assert_eq!(left.iter().map(|event| &event["payload"]).collect::<Vec<_>>(), ["event-000000", "event-000001"]);
    place.run(&["append", "s", "A"]).well();
    assert!(place.run(&["verify"]).well().ends_with("nothing is damaged\n"));
}

#[test]
fn there_has_to_be_a_store_that_nobody_has_open() {
    let directory = tempfile::tempdir().unwrap();
    let none = Place::Directory(directory.path().join("none"));
    let data = directory.path().join("data");
    let served = Served::start(&data, &[]);
    let own = Place::Directory(data);
    for command in ["verify", "repair"] {
        assert!(none.run(&[command]).failed(4).contains("there is no store"));
    }
    assert!(own.run(&["verify"]).failed(5).contains("--server"));
    assert!(own.run(&["repair"]).failed(5).contains("stop what has it open"));
    // It is about files.
    run(eventfold().args(["repair", "--server", &served.url()])).failed(2);
    assert!(none.run(&["stats"]).failed(4).contains("there is no store"));
    assert!(own.run(&["stats"]).failed(5).contains("--server"));
    assert!(!directory.path().join("none").exists());
    let file = directory.path().join("file");
    std::fs::write(&file, "no directory").unwrap();
    for command in ["verify", "repair", "stats", "read"] {
        let told = Place::Directory(file.clone()).run(&[command]).failed(1);
        assert!(told.contains(file.to_str().unwrap()), "{told}");
    }
    assert!(served.stop());
}

#[test]
fn a_server_says_how_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(&directory.path().join("data"), &[]);
    let place = Place::Server(Box::new(served));
    place.run(&["append", "s", "A"]).well();
    let stats = &place.run(&["stats", "--json"]).json()[0];
    assert_eq!((&stats["position"], &stats["appends"], &stats["events"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    assert!(stats.get("poisoned").is_none());
    let table = place.run(&["stats"]).well();
    let position = table.lines().find(|line| line.starts_with("position")).unwrap();
    assert_eq!(position.split_whitespace().collect::<Vec<_>>(), ["position", "1"]);
}
