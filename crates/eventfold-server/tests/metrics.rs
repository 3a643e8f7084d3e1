//! What is watched is what a server tells of.
#![expect(clippy::disallowed_methods, reason = "what is compared are documents")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::collections::BTreeSet;
use std::path::Path;

use eventfold_server::ServerOptions;
use support::{Running, plain};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

/// The names of metrics in a text. What a summary adds to its name is left out.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names = words.filter(|word| word.starts_with("eventfold_") && *word != "eventfold_server");
    names.map(|name| name.trim_end_matches("_count").trim_end_matches("_sum").to_owned()).collect()
}

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name))
        .expect("the document is there")
}

#[tokio::test]
async fn the_rules_the_dashboard_and_the_table_name_what_is_told() {
    let running = Running::start(ServerOptions::default().address("127.0.0.1:0".parse().unwrap())).await;
    let told = names(&plain(running.address, "/metrics").await);
    assert!(told.len() > 15, "{told:?}");
    for name in ["deploy/alerts.yml", "deploy/dashboard.json"] {
        let named = names(&document(name));
        assert!(!named.is_empty());
        assert!(named.is_subset(&told), "{name}: {:?}", named.difference(&told));
    }
    assert_eq!(names(&document("OPERATIONS.md")), told);
    running.stop().await;
}

#[test]
fn the_table_says_of_every_rule_what_to_do() {
    let (rules, table) = (document("deploy/alerts.yml"), document("OPERATIONS.md"));
    let rules: BTreeSet<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `Eventfold")?.split_once('`'));
    let rows: BTreeSet<_> = rows.map(|(name, _)| format!("Eventfold{name}")).collect();
    assert_eq!(rules.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), rows);
}

#[tokio::test]
async fn who_watches_the_health_is_told_of_the_end_and_does_not_hold_it_up() {
    let running = Running::start(ServerOptions::default().address("127.0.0.1:0".parse().unwrap())).await;
    let mut health = HealthClient::new(running.channel().await);
    let request = HealthCheckRequest { service: String::new() };
    let mut watched = health.watch(request).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    running.stop().await;
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(watched.message().await.unwrap().is_none());
}

#[tokio::test]
async fn who_asks_what_the_calls_are_does_not_hold_up_the_end() {
    let running = Running::start(ServerOptions::default().address("127.0.0.1:0".parse().unwrap())).await;
    let mut reflection = ServerReflectionClient::new(running.channel().await);
    let (asks, asked) = tokio::sync::mpsc::channel(1);
    let message_request = Some(MessageRequest::ListServices(String::new()));
    asks.send(ServerReflectionRequest { host: String::new(), message_request }).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(asked);
    let mut answers = reflection.server_reflection_info(requests).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    // Otherwise it would be cut, half a minute later.
    running.stop().await;
    assert!(answers.message().await.unwrap().is_none());
    drop(asks);
}
