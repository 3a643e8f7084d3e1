//! JSON web tokens, as a server takes them.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]
#![expect(clippy::disallowed_methods, reason = "keys are a file, and what expires is measured by the clock")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use eventfold_proto::v1;
use eventfold_server::{Algorithm, AuthOptions, JwtOptions, ServerOptions};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use support::{Running, append, everything, soon, stream, with};
use tonic::{Code, Status};

fn key() -> Ed25519KeyPair {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn publish(path: &Path, keys: &[(&str, &Ed25519KeyPair)]) {
    let key = |(id, key): &(&str, &Ed25519KeyPair)| json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(key.public_key())});
    let keys: Vec<_> = keys.iter().map(key).collect();
    std::fs::write(path, json!({ "keys": keys }).to_string()).unwrap();
}

/// A token that is good for so many seconds.
fn token(id: &str, key: &Ed25519KeyPair, seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = json!({"alg": "EdDSA", "kid": id, "typ": "JWT"});
    let claims = json!({
        "iss": "https://id.test", "aud": "events", "exp": now + seconds, "sub": "someone",
        "rights": [{"role": "admin", "prefix": "orders-"}],
    });
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = encode(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn code<T>(answer: Result<T, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn a_token_of_somebody_who_is_trusted_is_good_as_long_as_its_key_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let (old, new) = (key(), key());
    publish(&path, &[("old", &old)]);
    let jwt = JwtOptions::new(&path, [Algorithm::EdDSA], "https://id.test", "events").claim("rights");
    let running = Running::start(ServerOptions::default().auth(AuthOptions::default().jwt(jwt))).await;
    let mut client = running.client().await;
    let by_old = token("old", &old, 3600);
    assert_eq!(code(soon(client.append(with(&by_old, append(stream("orders-1"))))).await), Code::Ok);
    assert_eq!(code(soon(client.append(with(&by_old, append(stream("users-1"))))).await), Code::PermissionDenied);
    assert_eq!(code(soon(client.append(append(stream("orders-1")))).await), Code::Unauthenticated);
    for wrong in ["name.secret", &token("old", &new, 3600), &token("new", &new, 3600)] {
        let answer = soon(client.append(with(wrong, append(stream("orders-1"))))).await;
        assert_eq!(code(answer), Code::Unauthenticated, "{wrong}");
    }

    let source = Some(v1::subscribe_request::Source::Query(everything()));
    let request = v1::SubscribeRequest { source, ..Default::default() };
    let mut events = soon(client.subscribe(with(&by_old, request))).await.unwrap().into_inner();
    // A key comes; then the other goes, and with it what it has signed.
    publish(&path, &[("old", &old), ("new", &new)]);
    running.reload.now();
    let by_new = token("new", &new, 3600);
    for good in [&by_old, &by_new] {
        assert_eq!(code(soon(client.head(with(good, v1::HeadRequest {}))).await), Code::Ok);
    }
    publish(&path, &[("new", &new)]);
    running.reload.now();
    assert_eq!(code(soon(client.head(with(&by_old, v1::HeadRequest {}))).await), Code::Unauthenticated);
    assert_eq!(code(soon(client.head(with(&by_new, v1::HeadRequest {}))).await), Code::Ok);
    let status = loop {
        match soon(events.message()).await {
            Ok(message) => assert!(message.is_some()),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unauthenticated);
    running.stop().await;
}
