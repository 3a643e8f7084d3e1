//! `eventfold read`, `query`, `streams` and `tail`, in a directory and through a server.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "processes are watched, and fail where something is missing"
)]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use eventfold_tests::tell;
use serde_json::{Value, json};
use support::{Place, Ran, Served, eventfold, feed, run};

/// A store with ten events of two streams.
fn filled(place: &Place) {
    let line = |n: u32| {
        let (stream, event_type, tag) = (n % 2, n % 3, n % 5);
        format!("{{\"stream\":\"s-{stream}\",\"type\":\"T{event_type}\",\"tags\":[\"t{tag}\"],\"payload\":\"{n}\"}}\n")
    };
    let lines = (0..10).map(line).collect::<Vec<_>>().concat();
    feed(&mut place.command(&["append", "--stdin"]), lines.as_bytes()).well();
}

fn positions(ran: Ran) -> Vec<u64> {
    ran.json().iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

#[test]
fn a_part_is_read_in_either_direction() {
    let directory = tempfile::tempdir().unwrap();
    for place in Place::both(directory.path()) {
        filled(&place);
        let read = |more: &[&str]| positions(place.run(&[&["read", "--json"], more].concat()));
        assert_eq!(read(&[]), (0..10).collect::<Vec<_>>());
        assert_eq!(read(&["--from", "8"]), [8, 9]);
        assert_eq!(read(&["--from", "3", "--count", "2"]), [3, 4]);
        assert_eq!(read(&["--backward", "--count", "3"]), [9, 8, 7]);
        assert_eq!(read(&["--backward", "--from", "1"]), [1, 0]);
        assert_eq!(read(&["--count", "0"]), [] as [u64; 0]);
        assert_eq!(read(&["--from", "10"]), [] as [u64; 0]);
        assert_eq!(read(&["s-1"]), [1, 3, 5, 7, 9]);
        assert_eq!(read(&["s-1", "--from", "2", "--count", "2"]), [5, 7]);
        assert_eq!(read(&["s-1", "--backward", "--count", "1"]), [9]);
        let id = place.run(&["read", "s-1", "--json"]).json()[0]["stream_id"].as_str().unwrap().to_owned();
        assert_eq!(read(&[&id, "--count", "1"]), [1]);

        assert!(place.run(&["read", "nobody"]).failed(4).contains("there is no stream nobody"));
        assert!(place.run(&["read", "--from=-1"]).failed(2).contains("--from"));
        assert!(place.run(&["read", &"s".repeat(600)]).failed(2).contains("this one has 600"));
        place.run(&["read", "00000000-0000-0000-0000-000000000000"]).failed(2);
        let none = place.run(&["read", "--from", "10"]);
        assert!(none.err.contains("no such events") && none.out.is_empty());
    }
}

#[test]
fn a_query_finds_what_it_asks_for() {
    let directory = tempfile::tempdir().unwrap();
    for place in Place::both(directory.path()) {
        filled(&place);
        let query = |more: &[&str]| positions(place.run(&[&["query", "--json"], more].concat()));
        assert_eq!(query(&["--type", "T0"]), [0, 3, 6, 9]);
        assert_eq!(query(&["--type", "T0", "--type", "T1"]), [0, 1, 3, 4, 6, 7, 9]);
        assert_eq!(query(&["--type", "T0", "--tag", "t1"]), [6]);
        assert_eq!(query(&["--tag", "t1", "--tag", "t2"]), [] as [u64; 0]);
        assert_eq!(query(&["--type", "T0", "--or", "--tag", "t1"]), [0, 1, 3, 6, 9]);
        assert_eq!(query(&["--stream", "s-1", "--type", "T0"]), [3, 9]);
        assert_eq!(query(&["--prefix", "s-", "--backward", "--count", "2"]), [9, 8]);
        assert_eq!(query(&["--prefix", "s-", "--from", "7"]), [7, 8, 9]);

        assert!(place.run(&["query"]).failed(2).contains("--type"));
        assert!(place.run(&["query", "--type", "A", "--or"]).failed(2).contains("no criteria"));
        assert!(place.run(&["query", "--stream", "a", "--stream", "b"]).failed(2).contains("--or"));
        place.run(&["query", "--stream", "a", "--prefix", "b"]).failed(2);
        place.run(&["query", "--tag", ""]).failed(2);
        let many: Vec<_> = std::iter::repeat_n(["--tag", "x"], 70).flatten().collect();
        place.run(&[&["query"], &many[..]].concat()).failed(2);
    }
}

#[test]
fn streams_are_listed_by_their_names() {
    let directory = tempfile::tempdir().unwrap();
    for place in Place::both(directory.path()) {
        // More than a page.
        let lines =
            (0..2100).map(|n| format!("{{\"stream\":\"s-{n:04}\",\"type\":\"A\"}}\n")).collect::<Vec<_>>().concat();
        feed(&mut place.command(&["append", "--stdin"]), lines.as_bytes()).well();
        place.run(&["append", "s-0007", "A"]).well();
        place.run(&["append", "other", "A"]).well();
        let streams = place.run(&["streams", "--json"]).json();
        assert_eq!(streams.len(), 2101);
        assert_eq!((&streams[0]["stream"], &streams[2100]["stream"]), (&json!("other"), &json!("s-2099")));
        assert_eq!(streams[8]["version"], 1);
        let table = place.run(&["streams", "--prefix", "s-20"]).well();
        assert_eq!(table.lines().count(), 101);
        assert!(table.starts_with("STREAM"), "{table}");
        assert!(place.run(&["streams", "--prefix", "x"]).err.contains("no such streams"));
    }
}

#[test]
fn a_table_shows_nothing_but_text() {
    let directory = tempfile::tempdir().unwrap();
    for place in Place::both(directory.path()) {
        let escape = "\u{1b}[2J\u{9b}1m\r\n\u{202e}";
        place.run(&["append", escape, escape, escape, "--tag", escape]).well();
        feed(&mut place.command(&["append", "s", "Bytes", "-"]), &[0xff; 40]).well();
        place.run(&["append", "s", "Long", &"é".repeat(1000)]).well();
        for more in [&[] as &[&str], &["--json"]] {
            for command in ["read", "streams"] {
                let ran = place.run(&[&[command], more].concat());
                let shown = format!("{}{}", ran.out, ran.err);
                let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
                assert!(!shown.contains(raw), "{shown:?}");
            }
        }
        let table = place.run(&["read"]).well();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].starts_with("POSITION") && lines[0].ends_with("PAYLOAD"), "{table}");
        assert!(lines[1].contains("\\u{1b}[2J\\u{9b}1m\\r\\n\\u{202e}"), "{table}");
        assert!(lines[2].ends_with("… (40 bytes)"), "{table}");
        assert!(lines[3].ends_with("éé…") && lines[3].chars().count() < 300, "{table}");
        let mistaken = place.run(&["read", "a\u{1b}[2J\nb"]).failed(4);
        assert!(mistaken.contains("a\\u{1b}[2J\\nb"), "{mistaken:?}");
        assert_eq!(place.run(&["read", "--json"]).json()[0]["payload"], escape);
    }
}

#[test]
fn whoever_has_read_enough_may_close_the_pipe() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::Directory(directory.path().join("own"));
    let lines = (0..20_000).map(|n| format!("{{\"stream\":\"s-{n}\",\"type\":\"A\"}}\n")).collect::<Vec<_>>().concat();
    feed(&mut place.command(&["append", "--stdin"]), lines.as_bytes()).well();
    for command in [&["read"] as &[&str], &["read", "--json"], &["query", "--type", "A"], &["streams"]] {
        let mut child = place.command(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{command:?}");
    }
    for command in [&["completions", "bash"] as &[&str], &["serve", "--print-config"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = eventfold().args(command).stdout(Stdio::from(writer)).output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{command:?}");
    }
}

#[test]
fn a_directory_may_be_named_by_the_environment_and_the_command_line_is_stronger() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    let in_one = |arguments: &[&str]| run(eventfold().env("EVENTFOLD_DATA", &one).args(arguments));
    in_one(&["append", "a", "Here"]).well();
    in_one(&["append", "a", "There", "--data", two.to_str().unwrap()]).well();
    assert_eq!(in_one(&["read", "--json"]).json()[0]["type"], "Here");
    assert!(in_one(&["repair"]).well().contains("nothing to repair"));
    assert_eq!(in_one(&["read", "--json", "--data", two.to_str().unwrap()]).json()[0]["type"], "There");
    let of_here = run(eventfold().current_dir(directory.path()).env("EVENTFOLD_DATA", "").arg("read"));
    assert!(of_here.failed(4).contains("./eventfold-data"), "an empty variable names nothing");
}

#[test]
fn where_there_is_no_store_reading_makes_none() {
    let directory = tempfile::tempdir().unwrap();
    let none = directory.path().join("none");
    let place = Place::Directory(none.clone());
    for command in [&["read"] as &[&str], &["query", "--type", "A"], &["streams"]] {
        let told = place.run(command).failed(4);
        assert!(told.contains("there is no store in") && told.contains("--data"), "{told}");
    }
    assert!(!none.exists());
    std::fs::create_dir(&none).unwrap();
    place.run(&["read"]).failed(4);
    assert_eq!(std::fs::read_dir(&none).unwrap().count(), 0);
}

#[test]
fn reading_a_directory_changes_nothing_and_has_to_have_it_alone() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let place = Place::Directory(data.clone());
    filled(&place);
    let files = || {
        let entries = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        files.sort();
        files
    };
    let before = files();
    place.run(&["read"]).well();
    assert!(files() == before);
    let served = Served::start(&data, &[]);
    let told = place.run(&["read"]).failed(5);
    assert!(told.contains("open elsewhere") && told.contains("--server"), "{told}");
    assert!(served.stop());
}

#[test]
fn events_that_nothing_vouches_for_are_told_of_and_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let served = Served::start(&data, &[]);
    run(eventfold().args(["append", "s", "A", "--server", &served.url()])).well();
    // Killed before it was idle.
    drop(served);
    let place = Place::Directory(data);
    let ran = place.run(&["read", "--json"]);
    let shown = ran.out.lines().count();
    assert_eq!(shown == 0, ran.err.contains("1 event is at its end not shown"), "{ran:?}");
    // Appending decides.
    place.run(&["append", "s", "A"]).well();
    assert_eq!(place.run(&["read", "--json"]).json().len(), 2);
}

/// A `tail` that runs, and its lines.
struct Tail {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Tail {
    fn start(served: &Served, more: &[&str]) -> Self {
        let mut command = eventfold();
        command.args(["tail", "--server", &served.url()]).args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn event(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
#[test]
fn a_tail_that_nobody_reads_ends_though_nothing_comes() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(&directory.path().join("data"), &[]);
    run(eventfold().args(["append", "a", "Only", "--server", &served.url()])).well();
    let mut command = eventfold();
    command.args(["tail", "--json", "--server", &served.url()]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut String::new()).unwrap();
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_tail_shows_what_is_there_and_what_comes() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(&directory.path().join("data"), &[]);
    let url = served.url();
    let append =
        |stream: &str, event_type: &str| run(eventfold().args(["append", stream, event_type, "--server", &url])).well();
    append("a", "First");
    append("b", "Second");
    let mut all = Tail::start(&served, &["--json"]);
    let mut stream = Tail::start(&served, &["a", "--json"]);
    let mut query = Tail::start(&served, &["--type", "Third", "--json"]);
    let mut table = Tail::start(&served, &["--from", "1"]);
    assert_eq!((&all.event()["type"], &all.event()["type"]), (&json!("First"), &json!("Second")));
    assert_eq!(stream.event()["type"], "First");
    assert!(table.line().starts_with("POSITION"));
    assert!(table.line().contains("Second"));
    append("a", "Third");
    assert_eq!(all.event()["type"], "Third");
    assert_eq!(stream.event()["type"], "Third");
    assert_eq!(query.event()["type"], "Third");
    assert!(table.line().contains("Third"));

    let ends = |more: &[&str]| run(eventfold().args(["tail", "--json", "--server", &url]).args(more));
    assert_eq!(positions(ends(&["--count", "2"])), [0, 1]);
    assert_eq!(positions(ends(&["a", "--from", "1", "--count", "1"])), [2]);
    assert_eq!(positions(ends(&["--count", "0"])), [] as [u64; 0]);

    for mut tail in [all, table] {
        let asked = Command::new("kill").args(["-INT", &tail.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        assert!(tail.child.wait().unwrap().success(), "Ctrl-C ends it well");
        let mut rest = String::new();
        tail.lines.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
    assert!(served.stop());
}

#[test]
fn a_tail_from_the_end_shows_what_comes_alone() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(&directory.path().join("data"), &[]);
    let url = served.url();
    let append = |event_type: &str| run(eventfold().args(["append", "a", event_type, "--server", &url])).well();
    append("Old");
    let mut tails =
        [Tail::start(&served, &["--from-end", "--json"]), Tail::start(&served, &["a", "--from-end", "--json"])];
    // Each begins at some time: what is appended until it has shown something is new to it.
    let stop = std::sync::atomic::AtomicBool::new(false);
    #[expect(clippy::disallowed_methods, reason = "the thread is joined here")]
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                append("New");
            }
        });
        let shown: Vec<_> = tails.iter_mut().map(Tail::event).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(shown.iter().all(|event| event["type"] == "New"), "{shown:?}");
    });
}

#[test]
fn a_tail_needs_a_server_and_one_thing_to_follow() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::Directory(directory.path().join("own"));
    let told = place.run(&["tail"]).failed(2);
    assert!(told.contains("--server") && told.contains("eventfold read"), "{told}");
    let served = Served::start(&directory.path().join("data"), &[]);
    let tail = |more: &[&str]| run(eventfold().args(["tail", "--server", &served.url()]).args(more));
    assert!(tail(&["a", "--type", "A"]).failed(2).contains("--stream"));
    tail(&["--from", "1", "--from-end"]).failed(2);
    tail(&["--type", ""]).failed(2);
    tail(&["--type", "A", "--or"]).failed(2);
}

#[test]
fn a_tail_goes_on_when_the_server_was_restarted() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let served = Served::start(&data, &[]);
    let (url, address) = (served.url(), served.address.to_string());
    let append = |event_type: &str| run(eventfold().args(["append", "s", event_type, "--server", &url])).well();
    append("Before");
    let mut tail = Tail::start(&served, &["--json"]);
    assert_eq!(tail.event()["type"], "Before");
    assert!(served.stop());
    let served = Served::start_at(&address, &data, &[]);
    append("After");
    assert_eq!(tail.event()["type"], "After");
    tail.child.kill().unwrap();
    let mut told = String::new();
    tail.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    let told: Vec<_> = told.lines().collect();
    assert!(told[0].starts_with("a subscription waits for its server, which is tried again: "), "{told:?}");
    assert_eq!(told.last(), Some(&"the subscription goes on"), "{told:?}");
    assert!(served.stop());
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_has_colours_unless_it_is_to_have_none() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    Place::Directory(data.clone()).run(&["append", "s", "A"]).well();
    let read = format!("{} read --data {}", env!("CARGO_BIN_EXE_eventfold"), data.display());
    let shown = |name: &str, value: &str| Some(support::on_a_terminal(&read, &[(name, value)])?.well());
    let Some(first) = shown("NO_COLOR", "") else {
        tell("SKIPPED: a terminal needs `script`");
        return;
    };
    assert!(first.starts_with("\u{1b}[1mPOSITION"), "{first:?}");
    for plain in [shown("NO_COLOR", "1"), shown("TERM", "dumb")] {
        assert!(plain.as_ref().is_some_and(|shown| shown.starts_with("POSITION")), "{plain:?}");
    }
}

/// The commands that a help lists, but for the one that shows it: none that is added can be forgotten.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    // What stands further to the right goes on with the line before.
    let names = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let names = names.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(ToOwned::to_owned).collect()
}

#[test]
fn every_command_says_how_it_is_used() {
    let help = run(eventfold().arg("--help")).well();
    assert!(help.contains("Exit codes: 0 done"), "{help}");
    let mut all: Vec<_> = commands(&help).into_iter().map(|command| vec![command]).collect();
    assert!(all.len() > 10 && all.contains(&vec!["completions".to_owned()]), "{help}");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(eventfold().args(["completions", shell])).well();
        assert!(all.iter().flatten().all(|command| script.contains(command.as_str())), "{shell}");
    }
    let mut shown = 0;
    while let Some(command) = all.pop() {
        let help = run(eventfold().args(&command).arg("--help")).well();
        assert!(help.contains("Example"), "{command:?}: {help}");
        assert!(run(eventfold().args(&command).arg("--nonsense")).failed(2).contains("--nonsense"));
        all.extend(commands(&help).into_iter().map(|inner| [&command[..], &[inner]].concat()));
        shown += usize::from(command.len() == 2);
    }
    assert!(shown >= 3, "the commands of `token` are among them");
}
