//! `eventfold token`, as a process, and a server that takes what it makes.
#![expect(clippy::disallowed_methods, reason = "processes are watched, and their files looked at")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::path::Path;
use std::time::Duration;

use eventfold_client::{Client, Error, ErrorKind, EventStoreExt, ExpectedVersion, ProposedEvent, Tls};
use serde_json::{Value, json};
use support::{Served, eventfold, printed};

/// Nothing here takes as long as this.
const HANGS: Duration = Duration::from_mins(2);

fn token(arguments: &[&str], file: &Path) -> (Option<i32>, String, String) {
    let output = eventfold().arg("token").args(arguments).arg("--file").arg(file).output().expect("it can be run");
    let (out, err) = printed(&output);
    (output.status.code(), out, err)
}

fn made(arguments: &[&str], file: &Path) -> String {
    let (code, out, err) = token(&[&["new"], arguments].concat(), file);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    out.trim_end().to_owned()
}

#[test]
fn a_token_is_printed_once_and_its_hash_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    let billing = made(&["--name", "billing", "--grant", "read:orders-", "--grant", "append:invoices-"], &file);
    let backup = made(&["--name", "backup", "--grant", "admin:", "--expires", "90d"], &file);
    assert!(billing.starts_with("billing.") && backup.starts_with("backup."));
    let text = std::fs::read_to_string(&file).unwrap();
    for token in [&billing, &backup] {
        let (_, secret) = token.split_once('.').unwrap();
        assert!(secret.len() == 43 && !text.contains(secret));
    }
    assert_ne!(billing.split_once('.').unwrap().1, backup.split_once('.').unwrap().1);
    let (code, listed, _) = token(&["list"], &file);
    assert_eq!(code, Some(0));
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines[0], "KIND   NAME     GOOD       GRANTS");
    assert_eq!(lines[1], "token  billing  for ever   read:orders- append:invoices-");
    assert!(["token  backup   90 d left  admin:", "token  backup   89 d left  admin:"].contains(&lines[2]), "{listed}");
    assert!(!listed.contains("blake3"));
    let (_, listed, _) = token(&["list", "--json"], &file);
    let lines: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let grants = ["read:orders-", "append:invoices-"];
    assert_eq!(lines[0], json!({"token": "billing", "expires": null, "grants": grants}));
    assert!(lines[1]["token"] == "backup" && lines[1]["expires"].is_u64() && lines.len() == 2, "{listed}");

    assert_eq!(token(&["revoke", "billing"], &file).0, Some(0));
    assert!(!token(&["list"], &file).1.contains("billing"));
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing is left beside it");
}

#[test]
fn programs_are_answered_in_json() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    let answer = |arguments: &[&str]| {
        let (code, out, err) = token(&[arguments, &["--json"]].concat(), &file);
        assert_eq!((code, err.as_str(), out.lines().count()), (Some(0), "", 1));
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let other = made(&["--name", "other", "--grant", "read:"], &file);
    let mut made =
        answer(&["new", "--name", "billing", "--grant", "read:orders-", "--grant", "admin:", "--expires", "90d"]);
    let value = made.as_object_mut().unwrap().remove("value").unwrap();
    let (name, secret) = value.as_str().unwrap().split_once('.').unwrap();
    assert_eq!((name, secret.len()), ("billing", other.split_once('.').unwrap().1.len()));
    assert_eq!((&made["token"], &made["grants"]), (&json!("billing"), &json!(["read:orders-", "admin:"])));
    assert!(made["expires"].is_u64(), "{made}");
    // But for its value, it is told of as in the list, when it is made and when it is gone.
    let listed = token(&["list", "--json"], &file).1;
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed[1], made);
    assert_eq!(answer(&["revoke", "billing"]), made);
    assert_eq!(token(&["list", "--json"], &file).1.lines().count(), 1);
    let (code, out, err) = token(&["revoke", "billing", "--json"], &file);
    assert_eq!((code, out.as_str()), (Some(4), ""));
    assert!(err.contains("there is no token billing"), "{err}");
    assert_eq!(token(&["revoke", "other"], &file), (Some(0), String::new(), String::new()), "people are told nothing");
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_alone_and_stays_where_a_link_leads() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("tokens.toml"), directory.path().join("link.toml"));
    made(&["--name", "a", "--grant", "read:"], &file);
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    made(&["--name", "b", "--grant", "read:"], &link);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(mode(&file), 0o600);
    assert_eq!(token(&["list"], &file).1.lines().count(), 3, "two, and a heading");
}

#[test]
fn what_is_wrong_is_told_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    for (arguments, code, what) in [
        (&["new", "--name", "a", "--grant", "orders-"][..], 2, "a colon"),
        (&["new", "--name", "a", "--grant", "write:orders-"], 2, "read, append or admin"),
        (&["new", "--name", "a"], 2, "--grant"),
        (&["new", "--name", "a.b", "--grant", "read:"], 2, "\"a.b\""),
        (&["new", "--name", "a", "--grant", "read:", "--expires", "soon"], 2, "90d"),
        (&["revoke", "a"], 4, "there is no token a"),
        (&["list"], 1, "tokens.toml"),
    ] {
        let (told_code, _, told) = token(arguments, &file);
        assert_eq!(told_code, Some(code), "{told}");
        assert!(told.contains(what), "{told}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was made");
    }
    made(&["--name", "a", "--grant", "read:"], &file);
    let before = std::fs::read_to_string(&file).unwrap();
    let (code, _, told) = token(&["new", "--name", "a", "--grant", "admin:"], &file);
    assert_eq!(code, Some(3));
    assert!(told.contains("a token a already"), "{told}");
    // Somebody else is at it.
    let other = directory.path().join("tokens.toml.new");
    std::fs::write(&other, "").unwrap();
    let (code, _, told) = token(&["revoke", "a"], &file);
    assert_eq!(code, Some(5));
    assert!(told.contains("tokens.toml.new is there"), "{told}");
    assert!(other.exists(), "it is not this one's to remove");
    std::fs::remove_file(&other).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    std::fs::write(&file, "[[token]]\nname = 7\n").unwrap();
    let (code, _, told) = token(&["new", "--name", "b", "--grant", "read:"], &file);
    assert_eq!(code, Some(1));
    assert!(told.contains("tokens.toml: "), "{told}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "[[token]]\nname = 7\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_a_token_over_tls_until_it_is_revoked() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(path("server.pem"), certificate.cert.pem()).unwrap();
    std::fs::write(path("server.key"), certificate.signing_key.serialize_pem()).unwrap();
    let orders =
        made(&["--name", "orders", "--grant", "append:orders-", "--grant", "read:orders-"], &path("tokens.toml"));
    let set = |setting: &str, name: &str| format!("{setting}={}", path(name).display());
    let settings =
        [set("tls.certificate", "server.pem"), set("tls.key", "server.key"), set("auth.tokens", "tokens.toml")];
    let more: Vec<_> = settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
    let served = Served::start(&path("data"), &more);
    let tls = Tls::new().roots_pem(certificate.cert.pem()).server_name("localhost");
    let client = Client::builder().endpoint(format!("https://{}", served.address)).tls(tls.clone());
    let nobody = client.clone().connect().await.unwrap_err();
    assert!(matches!(nobody, Error::Unauthenticated { .. }), "{nobody}");
    let client = client.token(&orders).connect().await.unwrap();
    let event = || vec![ProposedEvent::new("Placed", "{}")];
    client.append("orders-1", ExpectedVersion::NoStream, event()).await.unwrap();
    let refused = client.append("users-1", ExpectedVersion::NoStream, event()).await.unwrap_err();
    assert!(matches!(&refused, Error::Forbidden { role, .. } if role == "append"), "{refused}");

    // A hang-up has it look at its files; it lives on.
    assert_eq!(token(&["revoke", "orders"], &path("tokens.toml")).0, Some(0));
    served.hang_up();
    let refused = async {
        loop {
            match client.append("orders-1", ExpectedVersion::Any, event()).await {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(HANGS, refused).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
    drop(client);
    assert!(served.stop());
}
