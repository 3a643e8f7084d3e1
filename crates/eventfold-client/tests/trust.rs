//! Servers that no connection to comes about with: that is said at once, and what is in the way.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]
#![expect(clippy::disallowed_methods, reason = "certificates are files")]

mod support;

use std::time::Duration;

use eventfold_client::{
    Append, Client, Error, ErrorKind, EventStore, ExpectedVersion, Subscribe, SubscriptionEvent, Tls,
};
use eventfold_client::{EventStoreExt, EventfoldDb};
use eventfold_server::{ServerOptions, TlsFiles};
use futures_util::StreamExt;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use support::{HANGS, Serving, event};
use tempfile::TempDir;

/// What is tried again goes on for longer than any test.
const FOR_EVER: Duration = Duration::from_hours(1);

/// A certificate of a server by this name, in files, and as PEM.
fn certificate(name: &str) -> (TempDir, TlsFiles, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("certificate.pem"), files.path().join("key.pem"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    (files, TlsFiles::new(certificate, key), cert.pem())
}

fn client(serving: &Serving, tls: Tls) -> Client {
    let builder = Client::builder().endpoint(format!("https://{}", serving.address)).tls(tls);
    builder.deadline(FOR_EVER).resume_for(FOR_EVER).connect_lazily().unwrap()
}

/// Each call ends, and says this.
async fn says(client: &Client, what: &str) {
    let asked = async {
        let append = client.append("a", ExpectedVersion::Any, vec![event(0)]).await.unwrap_err();
        let read = client.read_stream("a", 0, 10).await.unwrap_err();
        let head = client.global_position().await.unwrap_err();
        let following = client.subscribe(Subscribe::all()).next().await.unwrap().unwrap_err();
        let session = client.session();
        let in_session = || session.append(Append::new().events("a", vec![event(0)]));
        let (first, second) = (in_session().await.unwrap(), in_session().await.unwrap());
        [append, read, head, following, first.await.unwrap_err(), second.await.unwrap_err()]
    };
    for error in tokio::time::timeout(HANGS, asked).await.expect("it hangs") {
        assert!(matches!(error, Error::Handshake { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Operator);
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[tokio::test]
async fn what_does_not_heal_by_waiting_is_told_at_once() {
    let db = EventfoldDb::in_memory().unwrap();
    let (_files, tls, pem) = certificate("server.test");
    let (others, _, another) = certificate("server.test");
    let serving = Serving::start_with(&db, ServerOptions::default().address(any()).tls(tls.clone())).await;
    says(&client(&serving, Tls::new().roots_pem(&another).server_name("server.test")), "trusted here").await;
    says(&client(&serving, Tls::new().roots_pem(&pem).server_name("other.test")), "name that it was called by").await;
    let trusting = Tls::new().roots_pem(&pem).server_name("server.test");
    assert_eq!(client(&serving, trusting.clone()).global_position().await.unwrap(), 0);
    serving.stop().await;

    let client_ca = tls.client_ca(others.path().join("certificate.pem"));
    let mutual = Serving::start_with(&db, ServerOptions::default().address(any()).tls(client_ca)).await;
    says(&client(&mutual, trusting.clone()), "certificate of the client's").await;
    mutual.stop().await;

    let plain = Serving::start(&db).await;
    says(&client(&plain, trusting), "http:// instead of https://").await;
    plain.stop().await;
}

#[tokio::test]
async fn a_subscription_that_had_begun_waits_until_the_certificate_is_put_right() {
    let db = EventfoldDb::in_memory().unwrap();
    let (_files, tls, pem) = certificate("server.test");
    let (_others, other, _) = certificate("server.test");
    let serving = Serving::start_with(&db, ServerOptions::default().address(any()).tls(tls.clone())).await;
    let address = serving.address;
    let client = client(&serving, Tls::new().roots_pem(&pem).server_name("server.test"));
    let mut coming = client.subscribe(Subscribe::all());
    let next = tokio::time::timeout(HANGS, coming.next()).await.expect("it hangs");
    assert!(matches!(next, Some(Ok(SubscriptionEvent::CaughtUp { .. }))), "{next:?}");
    serving.stop().await;

    let wrong = Serving::start_with(&db, ServerOptions::default().address(address).tls(other)).await;
    let early = tokio::time::timeout(Duration::from_millis(300), coming.next()).await;
    assert!(early.is_err(), "it has ended: {early:?}");
    wrong.stop().await;

    let right = Serving::start_with(&db, ServerOptions::default().address(address).tls(tls)).await;
    db.append("a", ExpectedVersion::Any, vec![event(7)]).await.unwrap();
    let brought = async {
        loop {
            match coming.next().await {
                Some(Ok(SubscriptionEvent::Event(event))) => return event,
                Some(Ok(_)) => {}
                ended => panic!("{ended:?}"),
            }
        }
    };
    let event = tokio::time::timeout(HANGS, brought).await.expect("it hangs");
    assert_eq!(event.global_position, 0);
    right.stop().await;
}

fn any() -> std::net::SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}
