//! `eventfold append`, in a directory and through a server.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "processes are watched, and fail where something is missing"
)]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;

use serde_json::json;
use support::{Place, Served, eventfold, feed, run};

#[test]
fn an_event_is_appended_as_it_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("contents");
    std::fs::write(&file, [0xff, 0, 1]).unwrap();
    for place in Place::both(directory.path()) {
        let id = "0198f0a0-0000-7000-8000-000000000001";
        let told = place.run(&[
            "append",
            "account-7",
            "Opened",
            "{}",
            "--tag",
            "owner:ann",
            "--tag",
            "a b",
            "--metadata",
            "by hand",
            "--id",
            id,
            "--expect",
            "none",
        ]);
        assert_eq!(told.well(), "appended at position 0, as version 0 of account-7\n");
        place.run(&["append", "account-7", "Scanned", "--payload-file", file.to_str().unwrap()]).well();
        let empty = place.run(&["append", "account-8", "Closed", "--json"]).json();
        assert_eq!((&empty[0]["position"], &empty[0]["version"]), (&json!(2), &json!(0)));
        assert_eq!(empty[0]["stream"], "account-8");
        feed(&mut place.command(&["append", "account-8", "Piped", "-"]), b"piped").well();

        let events = place.run(&["read", "--json"]).json();
        assert_eq!(events.len(), 4);
        let first = &events[0];
        assert_eq!(
            (&first["type"], &first["tags"], &first["metadata"], &first["payload"], &first["id"]),
            (&json!("Opened"), &json!(["owner:ann", "a b"]), &json!("by hand"), &json!("{}"), &json!(id))
        );
        assert_eq!((events[1].get("payload"), &events[1]["payload_base64"]), (None, &json!("/wAB")));
        assert_eq!((&events[2]["payload"], &events[2]["id"]), (&json!(""), &empty[0]["id"]));
        assert_eq!(events[3]["payload"], "piped");
    }
}

#[test]
fn what_is_expected_of_the_stream_has_to_hold() {
    let directory = tempfile::tempdir().unwrap();
    for place in Place::both(directory.path()) {
        let append = |expect: &str| place.run(&["append", "account-7", "Changed", "--expect", expect]);
        append("exists").failed(3);
        append("0").failed(3);
        append("none").well();
        assert!(append("none").failed(3).contains("account-7 is at version 0, expected no events"));
        append("0").well();
        append("exists").well();
        append("any").well();
        append("1").failed(3);
        assert!(place.run(&["append", "s", "A", "--expect=-1"]).failed(2).contains("--expect"));
        assert!(append("some").failed(2).contains("any, none, exists, or a number"));
        assert_eq!(place.run(&["read", "account-7", "--json"]).json().len(), 4);
    }
}

#[test]
fn one_that_is_sent_again_stands_once() {
    let directory = tempfile::tempdir().unwrap();
    for place in Place::both(directory.path()) {
        let id = "0198f0a0-0000-7000-8000-000000000001";
        let pay = |payload: &str| place.run(&["append", "account-7", "Paid", payload, "--id", id]);
        assert_eq!(pay("500").well(), pay("500").well());
        assert_eq!(place.run(&["read", "--json"]).json().len(), 1);
        assert!(pay("501").failed(2).contains("was used before"));
    }
}

#[test]
fn what_can_not_be_appended_is_refused_and_nothing_is_made_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().join("own");
    let large = directory.path().join("large");
    std::fs::write(&large, vec![b'x'; (1 << 20) + 1]).unwrap();
    let large = large.to_str().unwrap();
    let place = Place::Directory(own.clone());
    assert!(place.run(&["append"]).failed(2).contains("--help"));
    assert!(place.run(&["append", "account-7"]).failed(2).contains("<TYPE>"));
    assert!(place.run(&["append", "", "A"]).failed(2).contains("a stream name has 1 to 512 bytes"));
    assert!(place.run(&["append", &"s".repeat(513), "A"]).failed(2).contains("this one has 513"));
    assert!(place.run(&["append", "$system", "A"]).failed(2).contains("$system"));
    place.run(&["append", "s", ""]).failed(2);
    place.run(&["append", "s", "A", "--tag", ""]).failed(2);
    place.run(&["append", "s", "A", "--tag", &"t".repeat(257)]).failed(2);
    assert!(place.run(&["append", "s", "A", "--id", "7"]).failed(2).contains("--id"));
    assert!(place.run(&["append", "s", "A", "--payload-file", large]).failed(2).contains("more than 1048576 bytes"));
    assert!(place.run(&["append", "s", "A", "--payload-file", "/nonexistent/x"]).failed(2).contains("/nonexistent/x"));
    let piped = feed(&mut place.command(&["append", "s", "A", "-"]), &vec![b'x'; 3 << 20]);
    assert!(piped.failed(2).contains("standard input has more than 1048576 bytes"));
    let barely = "m".repeat(10);
    std::fs::write(large, vec![b'x'; 1 << 20]).unwrap();
    let both = place.run(&["append", "s", "A", "--payload-file", large, "--metadata", &barely]).failed(2);
    assert!(both.contains("at most 1048576 are allowed"), "{both}");
    assert!(!own.exists());
}

#[test]
fn many_events_come_from_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    for place in Place::both(directory.path()) {
        let lines: Vec<_> = (0..5000)
            .map(|n| format!("{{\"stream\":\"s-{}\",\"type\":\"Counted\",\"payload\":\"{n}\"}}\n\n", n % 7))
            .collect();
        let lines = lines.concat();
        let told = feed(&mut place.command(&["append", "--stdin"]), lines.as_bytes());
        assert!(told.err.contains("events appended: 5000"), "{told:?}");
        told.well();
        let events = place.run(&["read", "--json"]).json();
        assert_eq!(events.len(), 5000);
        for (n, event) in events.iter().enumerate() {
            assert_eq!((&event["position"], &event["payload"]), (&json!(n), &json!(n.to_string())));
            assert_eq!(event["stream"], format!("s-{}", n % 7));
        }
        let answers = feed(&mut place.command(&["append", "--stdin", "--json"]), lines.as_bytes()).json();
        assert_eq!(answers.len(), 5000);
        assert!(answers.iter().zip(5000_u64..).all(|(answer, position)| answer["position"] == position));
    }
}

#[test]
fn what_is_read_can_be_appended_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let [own, served] = Place::both(directory.path());
    own.run(&["append", "account-7", "Opened", "{}", "--tag", "owner:ann", "--metadata", "m"]).well();
    feed(&mut own.command(&["append", "account-7", "Scanned", "-"]), &[0xff, 0x1b]).well();
    own.run(&["append", "0198f0a0-0000-7000-8000-000000000001", "Unnamed", "u"]).well();
    let shown = own.run(&["read", "--json"]).well();
    feed(&mut served.command(&["append", "--stdin"]), shown.as_bytes()).well();
    let mut copied = served.run(&["read", "--json"]).json();
    let mut events = own.run(&["read", "--json"]).json();
    for event in copied.iter_mut().chain(&mut events) {
        event.as_object_mut().unwrap().remove("recorded_at").unwrap();
    }
    assert_eq!(copied, events);
    assert!(events[2].get("stream").is_none());
}

#[test]
fn a_line_that_is_no_event_is_named_and_those_before_it_stand() {
    let directory = tempfile::tempdir().unwrap();
    let event = "{\"stream\":\"s\",\"type\":\"A\"}\n";
    for place in Place::both(directory.path()) {
        let append = |lines: &str| feed(&mut place.command(&["append", "--stdin"]), lines.as_bytes());
        let told = append(&format!("{event}{event}nonsense\n{event}"));
        assert!(told.err.contains("events appended: 2") && told.err.contains("line 3: "), "{told:?}");
        told.failed(2);
        assert_eq!(place.run(&["read", "--json"]).json().len(), 2);
        assert!(append("{\"stream\":\"s\"}").failed(2).contains("line 1: there is no type"));
        let long =
            format!("{event}{{\"stream\":\"s\",\"type\":\"A\",\"payload\":\"{}\"}}\n", "x".repeat((1 << 20) + 1));
        assert!(append(&long).failed(2).contains("line 2: event 0 has"));
        assert!(append(&"x".repeat((8 << 20) + 2)).failed(2).contains("line 1: it has more than 8388608 bytes"));
        append("").well();
        assert_eq!(place.run(&["read", "--json"]).json().len(), 3);
    }
    let none = directory.path().join("none");
    let told = feed(eventfold().args(["append", "--stdin", "--data"]).arg(&none), b"nonsense");
    assert!(told.failed(2).contains("line 1"));
    assert!(!none.exists());
}

#[test]
fn appends_stand_where_nobody_reads_the_answers() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::Directory(directory.path().join("own"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = place.command(&["append", "s", "A"]);
    assert!(command.stdout(Stdio::from(writer)).status().unwrap().success());
    assert_eq!(place.run(&["read", "--json"]).json().len(), 1);
}

#[test]
fn a_line_is_appended_without_waiting_for_the_next() {
    let directory = tempfile::tempdir().unwrap();
    for place in Place::both(directory.path()) {
        let mut command = place.command(&["append", "--stdin", "--json"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut lines, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut answers = BufReader::new(answers).lines();
        for position in 0..3 {
            lines.write_all(b"{\"stream\":\"s\",\"type\":\"A\"}\n\n").unwrap();
            let answer = answers.next().unwrap().unwrap();
            assert!(answer.starts_with(&format!("{{\"position\":{position},")), "{answer}");
        }
        drop(lines);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn what_a_server_does_not_take_is_a_wrong_request() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(&directory.path().join("data"), &["--set", "limits.event_bytes=1000"]);
    let place = Place::Server(Box::new(served));
    place.run(&["append", "s", "A", &"x".repeat(900)]).well();
    let told = place.run(&["append", "s", "A", &"x".repeat(1000)]).failed(2);
    assert!(told.contains("limits.event_bytes") || told.contains("1000"), "{told}");
}

/// Passes on what clients send to a server, and of what it answers only that on the first connection.
fn forgetful(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let pass = |mut from: TcpStream, to: Option<TcpStream>| {
        let passing = move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                if let Some(mut to) = to.as_ref()
                    && to.write_all(&bytes[..count]).is_err()
                {
                    break;
                }
            }
            let _ = to.map(|to| to.shutdown(Shutdown::Write));
        };
        // It ends with its connection.
        drop(std::thread::Builder::new().spawn(passing).unwrap());
    };
    let accepting = move || {
        for (number, client) in listener.incoming().enumerate() {
            let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
            let answers = (number == 0).then(|| client.try_clone().unwrap());
            pass(server.try_clone().unwrap(), answers);
            pass(client, Some(server));
        }
    };
    drop(std::thread::Builder::new().spawn(accepting).unwrap());
    address
}

#[test]
fn an_append_that_is_not_answered_may_stand() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(&directory.path().join("data"), &[]);
    // The first connection is the one that finds out whether there is a server.
    let url = format!("http://{}", forgetful(served.address));
    let told = run(eventfold().args(["append", "s", "A", "--timeout", "2", "--server", &url])).failed(6);
    assert!(told.contains("it is not known whether the append stands"), "{told}");
    assert_eq!(run(eventfold().args(["read", "s", "--json", "--server", &served.url()])).json().len(), 1);
}

#[test]
fn a_store_is_made_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let told = run(eventfold().args(["append", "s", "A"]).current_dir(directory.path()));
    assert!(told.err.contains("made a store in ./eventfold-data"), "{told:?}");
    told.well();
    let told = run(eventfold().args(["append", "s", "A"]).current_dir(directory.path()));
    assert_eq!(told.err, "");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(directory.path().join("eventfold-data")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

#[test]
fn where_to_append_is_told_clearly() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let served = Served::start(&data, &[]);
    let own = Place::Directory(data.clone());
    let told = own.run(&["append", "s", "A"]).failed(5);
    assert!(told.contains("open elsewhere") && told.contains("--server"), "{told}");
    let url = served.url();
    let both = run(eventfold().args(["append", "s", "A", "--server", &url, "--data"]).arg(&data)).failed(2);
    assert!(both.contains("cannot be used with"), "{both}");

    // The environment names a server, and a directory on the command line is stronger.
    run(eventfold().args(["append", "s", "A"]).env("EVENTFOLD_SERVER", &url)).well();
    let other = directory.path().join("other");
    run(eventfold().args(["append", "s", "A", "--data"]).arg(&other).env("EVENTFOLD_SERVER", &url)).well();
    assert_eq!(run(eventfold().args(["read", "--json", "--server", &url])).json().len(), 1);

    for wrong in ["127.0.0.1:2113", "ftp://127.0.0.1", "http://", ""] {
        let told = run(eventfold().args(["append", "s", "A", "--server", wrong])).failed(2);
        assert!(told.contains("http://host:port"), "{told}");
    }
    let told = run(eventfold().args(["append", "s", "A", "--ca", "x.pem"])).failed(2);
    assert!(told.contains("are for a server"), "{told}");
    let told = run(eventfold().args(["append", "s", "A", "--server", &url, "--ca", "/nonexistent/x.pem"])).failed(2);
    assert!(told.contains("/nonexistent/x.pem"), "{told}");
    let told =
        run(eventfold().args(["append", "s", "A", "--server", &url, "--token-file", "/nonexistent/token"])).failed(2);
    assert!(told.contains("/nonexistent/token"), "{told}");
    let none = directory.path().join("none.pem");
    std::fs::write(&none, "nobody").unwrap();
    let https = ["append", "s", "A", "--server", "https://127.0.0.1:1", "--ca"];
    let told = run(eventfold().args(https).arg(&none)).failed(2);
    assert!(told.contains("which certificates to trust") && told.contains("--ca"), "{told}");
    let empty = directory.path().join("token");
    std::fs::write(&empty, "\n").unwrap();
    let told = run(eventfold().args(["append", "s", "A", "--server", &url, "--token-file"]).arg(&empty)).failed(2);
    assert!(told.contains("there is no token in"), "{told}");
    let token = eventfold()
        .args(["append", "s", "A", "--server", "http://192.0.2.1:1"])
        .env("EVENTFOLD_TOKEN", "secret")
        .output();
    let told = support::printed(&token.unwrap()).1;
    assert!(told.contains("without TLS") && !told.contains("secret"), "{told}");

    assert!(served.stop());
    let told = run(eventfold().args(["append", "s", "A", "--server", &url])).failed(5);
    assert!(told.contains("out of reach"), "{told}");
}
