//! Append, read, subscribe: `cargo run -p eventfold-db --example quickstart`.

use eventfold_db::{EventfoldDb, ExpectedVersion, ProposedEvent, QueryItem, SubscriptionEvent};
use futures_util::StreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let db = EventfoldDb::open(directory.path())?;

    // Two events, both or none, to a stream that must not exist yet.
    let opened = ProposedEvent::new("Opened", r#"{"owner":"ann"}"#).with_tags(["owner:ann"]);
    let deposited = ProposedEvent::new("Deposited", r#"{"cents":500}"#).with_tags(["owner:ann"]);
    let recorded = db.append("account-7", ExpectedVersion::NoStream, vec![opened, deposited]).await?;
    println!("appended at positions {} and {}", recorded[0].global_position, recorded[1].global_position);

    // It exists now, so this is refused, and says why.
    let again = ProposedEvent::new("Opened", "{}");
    let refused = db.append("account-7", ExpectedVersion::NoStream, vec![again]).await;
    println!("refused: {}", refused.expect_err("the stream has events"));

    // This blocks, for microseconds: what was just appended is in memory. `reads().in_background()` has reads that don't.
    for event in db.reads().read_stream("account-7", 0, 100)? {
        println!("account-7, version {}: {}", event.stream_version, event.event_type);
    }

    // History first, then whatever comes.
    let mut subscription = db.reads().subscribe(QueryItem::new().tags(["owner:ann"]), 0)?;
    while let Some(item) = subscription.next().await {
        match item? {
            SubscriptionEvent::Event(event) => println!("told of {} at {}", event.event_type, event.global_position),
            SubscriptionEvent::CaughtUp { position: 2 } => {
                let withdrawn = ProposedEvent::new("Withdrawn", r#"{"cents":200}"#).with_tags(["owner:ann"]);
                db.append("account-7", ExpectedVersion::Exact(1), vec![withdrawn]).await?;
            }
            SubscriptionEvent::CaughtUp { .. } => break,
            _ => {}
        }
    }

    db.close().await?;
    Ok(())
}
