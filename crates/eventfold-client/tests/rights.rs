//! What a client makes of rights that end, or change, while it is at it.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]
#![expect(clippy::disallowed_methods, reason = "tokens are a file")]

mod support;

use std::path::Path;

use eventfold_client::{
    BoxStream, Client, Error, EventStore, EventStoreExt, EventfoldDb, ExpectedVersion, Query, Subscribe,
    SubscriptionEvent,
};
use eventfold_server::{AuthOptions, Grant, Reload, Role, Server, ServerOptions, TokenEntry, TokenFile};
use futures_util::StreamExt;
use support::{HANGS, client, event};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

fn write(path: &Path, tokens: Vec<TokenEntry>) {
    std::fs::write(path, TokenFile { tokens, clients: Vec::new() }.to_text()).unwrap();
}

fn entry(prefix: &str) -> (String, TokenEntry) {
    let grant = |role| Grant { role, prefix: prefix.to_owned() };
    TokenEntry::new("reader", [7; 32], vec![grant(Role::Read), grant(Role::Append)], None)
}

type Events = BoxStream<'static, Result<SubscriptionEvent, Error>>;

async fn next(events: &mut Events) -> Option<Result<SubscriptionEvent, Error>> {
    tokio::time::timeout(HANGS, events.next()).await.unwrap()
}

/// The positions of the next events.
async fn take(events: &mut Events, count: usize) -> Vec<u64> {
    let mut positions = Vec::new();
    while positions.len() < count {
        if let SubscriptionEvent::Event(event) = next(events).await.unwrap().unwrap() {
            positions.push(event.global_position);
        }
    }
    positions
}

/// What is done with a server that takes the tokens of a file.
async fn served(work: impl AsyncFnOnce(&EventfoldDb, Client, &Path, Reload)) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.toml");
    let (token, first) = entry("orders-");
    write(&path, vec![first]);
    let db = EventfoldDb::in_memory().unwrap();
    let options = ServerOptions::default().address("127.0.0.1:0".parse().unwrap());
    let server = Server::bind(&options.auth(AuthOptions::default().tokens(&path)), &db).await.unwrap();
    let (address, reload) = (server.local_addr(), server.reload());
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = JoinSet::new();
    serving.spawn(server.serve(async { drop(stopped.await) }));
    let client = client(address).token(token).connect_lazily().unwrap();
    work(&db, client, &path, reload).await;
    drop(stop);
    serving.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_subscription_goes_on_under_other_rights_and_ends_without_any() {
    served(async |db, client, path, reload| {
        for name in ["users-1", "orders-1", "users-1"] {
            db.append(name, ExpectedVersion::Any, vec![event(0)]).await.unwrap();
        }
        let mut events = client.subscribe(Subscribe::query(Query::all()));
        assert_eq!(take(&mut events, 1).await, [1]);
        while !matches!(next(&mut events).await, Some(Ok(SubscriptionEvent::CaughtUp { position: 3 }))) {}
        write(path, vec![entry("users-").1]);
        reload.now();
        for name in ["orders-1", "users-1"] {
            db.append(name, ExpectedVersion::Any, vec![event(0)]).await.unwrap();
        }
        // What it has passed by is not shown; from there on it is what it may see now.
        assert_eq!(take(&mut events, 1).await, [4]);
        write(path, Vec::new());
        reload.now();
        let error = loop {
            match next(&mut events).await.expect("it says why it ends") {
                Ok(SubscriptionEvent::Event(event)) => panic!("{event:?}"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Unauthenticated { .. }), "{error}");
        assert!(next(&mut events).await.is_none());
    })
    .await;
}

#[tokio::test]
async fn calls_say_which_right_is_missing() {
    served(async |_, client, path, reload| {
        client.append("orders-1", ExpectedVersion::Any, vec![event(0)]).await.unwrap();
        let refused = client.append("users-1", ExpectedVersion::Any, vec![event(0)]).await.unwrap_err();
        let Error::Forbidden { role, stream, .. } = &refused else { panic!("{refused}") };
        assert_eq!((role.as_str(), stream.as_deref()), ("append", Some("users-1")));
        write(path, Vec::new());
        reload.now();
        let refused = client.append("orders-1", ExpectedVersion::Any, vec![event(0)]).await.unwrap_err();
        assert!(matches!(refused, Error::Unauthenticated { .. }), "{refused}");
    })
    .await;
}
