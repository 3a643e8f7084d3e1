//! `eventfold backup`, `restore`, `export` and `import`.
#![expect(clippy::disallowed_methods, reason = "files are looked at and damaged")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::path::Path;
use std::process::Command;

use eventfold_tests::tell;
use serde_json::{Value, json};
use support::{Place, Ran, Served, eventfold, feed, run};

fn of_data(arguments: &[&str], data: &Path) -> Command {
    let mut command = eventfold();
    command.args(arguments).arg("--data").arg(data);
    command
}

/// Events of all kinds: with and without a name, tags, text, and bytes that are none.
fn filled(place: &Place) {
    let lines = [
        json!({"stream": "account-7", "type": "Opened", "tags": ["owner:ann"], "payload": "{}"}),
        json!({"stream": "account-7", "type": "Deposited", "payload": "500", "metadata": "by \u{1b}[1m teller"}),
        json!({"stream_id": "00000000-0000-0000-0000-000000000007", "type": "Seen", "payload_base64": "/wD+"}),
        json!({"stream_id": "00000000-0000-0000-0000-000000000000", "type": "Happened"}),
    ];
    let lines = lines.map(|line| line.to_string()).join("\n") + "\n";
    feed(&mut place.command(&["append", "--stdin"]), lines.as_bytes()).well();
    place.run(&["append", "account-8", "Opened", "{}"]).well();
}

fn events(ran: Ran) -> Vec<Value> {
    ran.json()
}

#[test]
fn a_backup_is_made_shared_listed_and_restored() {
    let directory = tempfile::tempdir().unwrap();
    for (number, place) in Place::both(directory.path()).into_iter().enumerate() {
        filled(&place);
        let backups = directory.path().join(format!("backups-{number}"));
        let to = backups.to_str().unwrap();
        let first = &place.run(&["backup", "--to", to, "--json"]).json()[0];
        assert_eq!((&first["position"], &first["bytes_shared"]), (&json!(5), &json!(0)));
        place.run(&["append", "account-8", "Closed"]).well();
        let told = place.run(&["backup", "--to", to, "--verify"]).well();
        assert!(told.contains("up to position 6"), "{told}");

        let restored = directory.path().join(format!("restored-{number}"));
        let told = run(&mut of_data(&["restore", to], &restored)).well();
        assert!(told.contains("up to position 6"), "{told}");
        let read = |arguments: &[&str]| events(run(&mut of_data(arguments, &restored)));
        assert_eq!(read(&["read", "--json"]), events(place.run(&["read", "--json"])));
        run(&mut of_data(&["verify"], &restored)).well();

        // One of them, named, and as JSON.
        let earlier = directory.path().join(format!("earlier-{number}"));
        let restore = of_data(&["restore", first["path"].as_str().unwrap(), "--json"], &earlier).output().unwrap();
        let facts: Value = serde_json::from_slice(&restore.stdout).unwrap();
        assert_eq!((&facts["position"], &facts["backup"]), (&json!(5), &first["path"]));
        let refused = run(&mut of_data(&["restore", to], &restored)).failed(2);
        assert!(refused.contains("is not empty"), "{refused}");
    }
}

#[test]
fn what_can_not_be_backed_up_or_restored_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (backups, data) = (path("backups"), path("data"));
    let to = backups.to_str().unwrap();
    let missing = run(&mut of_data(&["backup", "--to", to], &path("nowhere"))).failed(4);
    assert!(missing.contains("there is no store in"), "{missing}");
    assert!(!path("nowhere").exists());
    let none = run(&mut of_data(&["restore", to], &data)).failed(4);
    assert!(none.contains("has no backup in it"), "{none}");

    filled(&Place::Directory(data.clone()));
    for within in [data.clone(), data.join("backups")] {
        let refused = run(of_data(&["backup"], &data).arg("--to").arg(within)).failed(2);
        assert!(refused.contains("backups have to stand elsewhere"), "{refused}");
    }
    let served = Served::start(&data, &[]);
    let locked = run(&mut of_data(&["backup", "--to", to], &data)).failed(5);
    assert!(locked.contains("--server"), "{locked}");
    run(eventfold().args(["backup", "--to", to, "--server", &served.url()])).well();
    assert!(served.stop());

    filled(&Place::Directory(path("other")));
    let other = run(&mut of_data(&["backup", "--to", to], &path("other"))).failed(2);
    assert!(other.contains("take another directory"), "{other}");

    let backup = std::fs::read_dir(&backups).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
    let segment = backup.unwrap().join("0000000000.segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[8192 + 300] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let damaged = run(&mut of_data(&["restore", to], &path("restored"))).failed(7);
    assert!(damaged.contains("0000000000.segment"), "{damaged}");
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    for source in Place::both(directory.path()) {
        filled(&source);
        let exported = source.run(&["export"]).well();
        let last: Value = serde_json::from_str(exported.lines().last().unwrap()).unwrap();
        assert_eq!(last, json!({"exported_to": 5}));
        assert_eq!(exported.lines().filter(|line| line.contains("\"append\":0,")).count(), 4);
        let target = tempfile::tempdir_in(&elsewhere).unwrap();
        for target in Place::both(target.path()) {
            let told = feed(&mut target.command(&["import", "-"]), exported.as_bytes()).well();
            assert!(told.contains("5 events of 2 appends were imported; the next position is 5"), "{told}");
            assert_eq!(events(target.run(&["read", "--json"])), events(source.run(&["read", "--json"])));
            assert_eq!(target.run(&["export"]).well(), exported);
            let again = &feed(&mut target.command(&["import", "-", "--json"]), exported.as_bytes()).json()[0];
            assert_eq!((&again["appends"], &again["repeated_appends"]), (&json!(0), &json!(2)));
        }
        assert_eq!(source.run(&["export", "--from", "5"]).well().trim_end(), "{\"exported_to\":5}");
        assert!(source.run(&["export", "--from", "6"]).failed(2).contains("beyond the end of the log, which is 5"));
        assert!(source.run(&["export", "--from", "3", "--to", "2"]).failed(2).contains("--to 2 comes before --from 3"));
        // A part of it, and the rest later.
        let (first, rest) =
            (source.run(&["export", "--to", "4"]).well(), source.run(&["export", "--from", "4"]).well());
        let target = tempfile::tempdir_in(&elsewhere).unwrap();
        for target in Place::both(target.path()) {
            feed(&mut target.command(&["import", "-"]), format!("{first}{rest}").as_bytes()).well();
            assert_eq!(target.run(&["export"]).well(), exported);
        }
    }
}

#[test]
fn what_is_no_export_is_told_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let [source, _] = Place::both(directory.path());
    filled(&source);
    let exported = source.run(&["export"]).well();
    let lines: Vec<_> = exported.lines().collect();
    let target = tempfile::tempdir().unwrap();
    for target in Place::both(target.path()) {
        let import = |input: String| feed(&mut target.command(&["import", "-"]), input.as_bytes());
        let told = import(exported.replacen("\"append\":0,", "", 1)).failed(2);
        assert!(told.contains("standard input, line 1: there is no append"), "{told}");
        let told = import("{\"type\":".to_owned()).failed(2);
        assert!(told.contains("line 1: EOF"), "{told}");
        let told = import(exported.replace("\"version\":1", "\"version\":2")).failed(2);
        assert!(told.contains("its version is not the next of its stream"), "{told}");
        // Cut behind the first append: what is there was imported.
        let told = import(format!("{}\n", lines[..4].join("\n"))).failed(1);
        assert!(told.contains("it may have been cut"), "{told}");
        let told = import(String::new()).failed(1);
        assert!(told.contains("ends without the line"), "{told}");
        let told = import(format!("{}\n{{\"exported_to\":6}}\n", lines[..4].join("\n"))).failed(2);
        assert!(told.contains("line 5: it says that the export goes to 6"), "{told}");
        target.run(&["append", "account-8", "Opened", "by somebody else"]).well();
        let told = import(exported.clone()).failed(3);
        assert!(told.contains("account-8"), "{told}");
    }
    let told = run(eventfold().args(["import", "/nonexistent/events.jsonl"])).failed(2);
    assert!(told.contains("/nonexistent/events.jsonl"), "{told}");
}

#[test]
fn a_server_verifies_what_it_serves() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    filled(&Place::Directory(data.clone()));
    let served = Served::start(&data, &[]);
    let verify = |more: &[&str]| run(eventfold().args(["verify", "--server", &served.url()]).args(more));
    assert!(verify(&[]).well().contains("nothing is damaged"));
    assert_eq!(verify(&["--json"]).json()[0]["events"], 5);
    let segment = data.join("0000000000.segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    let event = bytes.windows(6).position(|window| window == b"Opened").unwrap();
    bytes[event] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let told = verify(&[]);
    assert_eq!(told.code, 7);
    assert!(told.out.contains("0000000000.segment at offset") && told.out.contains("can't be read"), "{told:?}");
    let told: Value = serde_json::from_str(&verify(&["--json"]).out).unwrap();
    assert_eq!(told["sound"], json!(false));
}

#[cfg(target_os = "linux")]
#[test]
fn long_work_shows_a_bar_on_a_terminal_and_clears_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    filled(&Place::Directory(path("data").into()));
    let (data, other, restored) = (path("data"), path("other"), path("restored"));
    let (events, backups) = (path("events.jsonl"), path("backups"));
    for (command, doing, unit, told) in [
        (format!("verify --data {data}"), "verifying", "MiB", "nothing is damaged"),
        (format!("backup --data {data} --to {backups}"), "backing up", "MiB", "up to position 5"),
        (format!("restore {backups} --data {restored}"), "restoring", "MiB", "up to position 5"),
        (format!("export --data {data}"), "exporting", "events", "{\"exported_to\":5}"),
        (format!("export --data {data} > {events}"), "exporting", "events", ""),
        (format!("import {events} --data {other}"), "importing", "events", "5 events of 2 appends were imported"),
    ] {
        let line = format!("{} {command}", env!("CARGO_BIN_EXE_eventfold"));
        let Some(ran) = support::on_a_terminal(&line, &[]) else {
            tell("SKIPPED: a terminal needs `script`");
            return;
        };
        let shown = ran.well();
        // Each time the bar is drawn, its line is cleared before.
        let parts: Vec<_> = shown.split("\r\u{1b}[2K").collect();
        let mut bars = parts.iter().flat_map(|part| part.split("\r\n")).filter(|line| line.contains(doing)).peekable();
        let stands_alone = |bar: &str| bar.starts_with(doing) && bar.contains(unit) && bar.ends_with(')');
        assert!(bars.peek().is_some() && bars.all(stands_alone), "{command}: {shown:?}");
        let rest = parts[parts.len() - 1];
        assert!(rest.contains(told) && !rest.contains(doing), "{command}: {shown:?}");
    }
}
