//! `eventfold serve`, as a process.
#![expect(clippy::disallowed_methods, reason = "processes are watched, and their files looked at")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use eventfold_tests::tell;
use support::{Served, eventfold, printed, run};

#[test]
fn a_client_in_another_language_learns_the_calls_and_makes_them() {
    let python = std::env::var_os("GRPC_PYTHON").unwrap_or_else(|| "python3".into());
    let has_grpc = Command::new(&python).args(["-c", "import grpc, grpc_reflection"]).output();
    if !has_grpc.is_ok_and(|output| output.status.success()) {
        tell("SKIPPED: a client in Python needs python3 with grpcio and grpcio-reflection; GRPC_PYTHON names one");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(&directory.path().join("data"), &[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/client.py");
    let output = Command::new(&python).arg(script).arg(served.address.to_string()).output().unwrap();
    let (out, err) = printed(&output);
    assert_eq!(out.trim(), "well", "{err}");
    assert!(served.stop());
}

#[test]
fn without_a_word_more_it_serves_a_store_of_this_directory_to_this_machine() {
    let here = SocketAddr::from(([127, 0, 0, 1], 2113));
    let directory = tempfile::tempdir().unwrap();
    let serve = || {
        // Others may take the port at any time: then it is not this server's fault.
        TcpListener::bind(here).ok()?;
        Some(Served::of(eventfold().arg("serve").current_dir(directory.path())))
    };
    let mut told = Vec::new();
    let served = loop {
        match serve() {
            None => {
                tell(&format!(
                    "SKIPPED: somebody else listens on {here}, where a server listens unless it is told otherwise"
                ));
                return;
            }
            Some(Ok(served)) => break served,
            Some(Err(error)) => told.push(error),
        }
        assert!(told.len() < 5, "the port is free, and it does not listen: {told:?}");
    };
    assert_eq!(served.address, here);
    run(eventfold().args(["append", "a", "Opened", "--server", "http://127.0.0.1:2113"])).well();
    assert!(served.stop());
    let made: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made, ["eventfold-data"]);
    // It is where the other commands look for it.
    let read = run(eventfold().args(["read", "--json"]).current_dir(directory.path())).json();
    assert_eq!((read.len(), &read[0]["type"]), (1, &serde_json::json!("Opened")));
}

#[test]
fn it_closes_the_store_when_it_is_told_to_end() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let served = Served::start(&data, &[]);
    assert!(served.stop(), "it ends well");
    let db = eventfold_db::EventfoldDb::open(&data).unwrap();
    assert_eq!(db.recovery_report().end, Some(eventfold_db::TailEnd::Closed));
    db.close_blocking().unwrap();
}

#[cfg(unix)]
#[test]
fn the_directory_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("new/data");
    let served = Served::start(&data, &[]);
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(served.stop());
}

#[test]
fn it_refuses_what_it_should_not_do() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let refused = |more: &[&str]| {
        let output = eventfold().args(["serve", "--data"]).arg(&data).args(more).output().unwrap();
        (output.status.code(), printed(&output).1)
    };
    let (code, told) = refused(&["--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("no TLS") && told.contains("--allow-plaintext"), "{told}");
    let (code, told) = refused(&["--set", "limits.connections=many"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("limits.connections has to be a whole number"), "{told}");
    let (code, told) = refused(&["--config", "/nonexistent/eventfold.toml"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("/nonexistent/eventfold.toml"), "{told}");
    let broken = directory.path().join("broken.toml");
    std::fs::write(&broken, "listen = \n").unwrap();
    let (code, told) = refused(&["--config", broken.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(told.lines().any(|line| line == "1 | listen = "), "where it is wrong is shown in lines: {told}");
    assert!(!data.exists(), "nothing was made");

    let served = Served::start(&data, &[]);
    let (code, told) = refused(&["--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(5));
    assert!(told.contains("open elsewhere"), "{told}");
    let other = directory.path().join("other");
    let output =
        eventfold().args(["serve", "--listen", &served.address.to_string(), "--data"]).arg(&other).output().unwrap();
    let told = printed(&output).1;
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains(&format!("could not listen on {}", served.address)), "{told}");
    let stats = eventfold().args(["stats", "--data"]).arg(&other).output().unwrap();
    let told = printed(&stats).0;
    assert!(told.contains("closed cleanly"), "{told}");
}

#[test]
fn what_protects_it_has_to_be_there_and_be_right() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(path("server.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("server.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("tokens.toml"), "").unwrap();
    std::fs::write(path("wrong.toml"), "[[tokens]]\n").unwrap();
    let checked = |settings: &[(&str, &str)]| {
        let mut command = eventfold();
        command.args(["serve", "--check-config", "--listen", "0.0.0.0:2113"]);
        for (setting, file) in settings {
            command.args(["--set", &format!("{setting}={}", path(file))]);
        }
        let output = command.output().unwrap();
        (output.status.code(), printed(&output).1)
    };
    let tls = [("tls.certificate", "server.pem"), ("tls.key", "server.key")];
    assert_eq!(checked(&tls), (Some(0), String::new()));
    assert_eq!(checked(&[&tls[..], &[("auth.tokens", "tokens.toml")]].concat()).0, Some(0));
    for (settings, told) in [
        (vec![("auth.tokens", "tokens.toml")], "there is no TLS"),
        (vec![tls[0]], "tls.key is not"),
        (vec![tls[0], ("tls.key", "none.key")], "none.key: "),
        (vec![tls[0], tls[1], ("tls.client_ca", "tokens.toml")], "tokens.toml: there is no certificate"),
        (vec![tls[0], tls[1], ("auth.tokens", "wrong.toml")], "wrong.toml: "),
        (vec![tls[0], tls[1], ("auth.jwt.keys", "tokens.toml")], "auth.jwt.algorithms is not"),
    ] {
        let (code, error) = checked(&settings);
        assert_eq!(code, Some(2));
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn settings_are_printed_and_checked_without_serving() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("eventfold.toml");
    std::fs::write(&file, "[limits]\nconnections = 7\n").unwrap();
    let serve = |more: &[&str]| {
        eventfold()
            .args(["serve", "--config"])
            .arg(&file)
            .env("EVENTFOLD_LIMITS_CALLS", "9")
            .args(more)
            .output()
            .unwrap()
    };
    let shown = printed(&serve(&["--print-config", "--set", "limits.page_streams=11"])).0;
    for line in ["connections = 7", "calls = 9", "page_streams = 11"] {
        assert!(shown.lines().any(|other| other == line), "{shown}");
    }
    let checked = serve(&["--check-config"]);
    assert!(checked.status.success(), "{:?}", printed(&checked));
    for wrong in [
        &["--listen", "0.0.0.0:2113"][..],
        &["--set", "log.filter=a=b=c"],
        &["--set", "traces.filter=a=b=c"],
        &["--set", "store.segment_size=5"],
        &["--set", "store.idempotency_window=4000000000"],
        &["--set", "limits.connections=0"],
    ] {
        let refused = serve(&[&["--check-config"], wrong].concat());
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
        let (_, said) = printed(&refused);
        let setting = wrong[1].split_once('=').map_or("listen", |(setting, _)| setting);
        let name = setting.rsplit_once('.').map_or(setting, |(_, name)| name);
        assert!(said.contains(name), "{wrong:?}: {said}");
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_not_left_out_silently() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;
    let not_text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let checked = |name: OsString, value: OsString| {
        let output = eventfold().args(["serve", "--check-config"]).env(name, value).output().unwrap();
        (output.status.code(), printed(&output).1)
    };
    let (code, told) = checked("EVENTFOLD_LISTEN".into(), not_text(b"127.0.0.1:\xff"));
    assert_eq!((code, told.as_str()), (Some(2), "eventfold: EVENTFOLD_LISTEN has to be UTF-8\n"));
    let (code, told) = checked("EVENTFOLD_NOTHING".into(), not_text(b"\xff"));
    assert_eq!(code, Some(2));
    assert!(told.contains("EVENTFOLD_NOTHING"), "{told}");
    let (code, told) = checked(not_text(b"EVENTFOLD_LISTE\xff"), "127.0.0.1:0".into());
    assert_eq!(code, Some(2));
    assert!(told.contains("EVENTFOLD_LISTE\u{fffd}: there is no setting of this name"), "{told}");
    // What belongs to others, or to the commands that ask a server, is no setting.
    for (name, value) in [
        (not_text(b"EVENTFOLDED_\xff"), not_text(b"\xff")),
        ("EVENTFOLD_TOKEN".into(), not_text(b"\xff")),
        ("OTHER".into(), not_text(b"\xff")),
    ] {
        assert_eq!(checked(name, value), (Some(0), String::new()));
    }
}
