//! `eventfold bench`.
#![expect(clippy::disallowed_methods, reason = "processes are watched, and their files looked at")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Place, Served, eventfold, run};

#[test]
fn a_disk_is_measured_and_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::Directory(directory.path().to_owned());
    let report = &place.run(&["bench", "--seconds", "1", "--size", "100", "--json"]).json()[0];
    assert_eq!(report["event_bytes"], 100);
    let appending = report["appending"].as_array().unwrap();
    assert_eq!(appending.iter().map(|of| &of["callers"]).collect::<Vec<_>>(), [&json!(1), &json!(64), &json!(256)]);
    let number = |value: &Value| value.as_u64().unwrap();
    for of in appending {
        assert!(number(&of["raw_syncs_per_s"]) > 0 && number(&of["appends_per_s"]) > 0, "{of}");
        let latency = ["p50", "p90", "p99", "max"].map(|of_all| number(&of["latency_ns"][of_all]));
        assert!(latency[0] > 0 && latency.is_sorted(), "{of}");
    }
    assert!(number(&report["reads_per_s"]) > 0);

    let told = place.run(&["bench", "--seconds", "1", "--callers", "2", "--size", "0"]).well();
    assert!(told.contains("RATIO") && told.contains("latency, callers: 2") && told.contains('#'), "{told}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn where_nothing_is_named_it_is_the_disk_of_the_working_directory() {
    let directory = tempfile::tempdir().unwrap();
    let bench = ["bench", "--seconds", "1", "--callers", "1", "--json"];
    run(eventfold().args(bench).current_dir(directory.path())).well();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn nothing_is_left_of_one_that_is_stopped() {
    let directory = tempfile::tempdir().unwrap();
    for signal in ["-INT", "-TERM"] {
        let mut command = Place::Directory(directory.path().to_owned()).command(&["bench", "--seconds", "600"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while std::fs::read_dir(directory.path()).unwrap().next().is_none() {
            assert_eq!(child.try_wait().unwrap(), None, "it goes on");
            std::thread::yield_now();
        }
        let asked = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(asked.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "{signal}");
    }
}

#[test]
fn what_is_measured_through_a_server_stays_and_has_to_be_meant() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::Server(Box::new(Served::start(&directory.path().join("data"), &[])));
    let told = place.run(&["bench", "--seconds", "1"]).failed(2);
    assert!(told.contains("stays there") && told.contains("--yes"), "{told}");
    assert_eq!(place.run(&["stats", "--json"]).json()[0]["position"], 0);
    place.run(&["append", "s", "A"]).well();
    let report = &place.run(&["bench", "--seconds", "1", "--callers", "4", "--yes", "--json"]).json()[0];
    assert!(report["appending"][0]["appends_per_s"].as_u64().unwrap() > 0);
    assert_eq!(report["appending"][0]["raw_syncs_per_s"], Value::Null);
    let streams = place.run(&["streams", "--json"]).json();
    assert_eq!(streams[0]["stream"], "bench-1");
    let table = place.run(&["bench", "--seconds", "1", "--callers", "1", "--yes"]).well();
    assert!(table.contains("APPENDS/S"), "{table}");
}

#[test]
fn what_can_not_be_measured_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::Directory(directory.path().to_owned());
    for wrong in
        [["--seconds", "0"], ["--seconds", "601"], ["--size", "1000001"], ["--callers", "0"], ["--callers", "many"]]
    {
        assert!(place.run(&["bench", wrong[0], wrong[1]]).failed(2).contains(wrong[0]));
    }
    let none = Place::Directory(directory.path().join("none"));
    assert!(none.run(&["bench", "--seconds", "1"]).failed(4).contains("none"));
    let away = run(eventfold().args(["bench", "--yes", "--server", "http://127.0.0.1:1"])).failed(5);
    assert!(away.contains("out of reach"), "{away}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
