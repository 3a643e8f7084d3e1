//! Append, read, subscribe: `cargo run -p eventfold-db --example quickstart`. The store stays in `./eventfold-data`, or in the
//! directory that is named, to be looked at with `cargo run -p eventfold-cli -- read`.

use eventfold_db::{EventfoldDb, ExpectedVersion, ProposedEvent, QueryItem, SubscriptionEvent};
use futures_util::StreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os().nth(1).unwrap_or_else(|| "./eventfold-data".into());
    // Made where there is none. Each run opens another account in it.
    let db = EventfoldDb::open(&directory)?;
    let begin = db.reads().global_position();
    let account = format!("account-{begin}");

    // Two events, both or none, to a stream that must not exist yet.
    let opened = ProposedEvent::new("Opened", r#"{"owner":"ann"}"#).with_tags(["owner:ann"]);
    let deposited = ProposedEvent::new("Deposited", r#"{"cents":500}"#).with_tags(["owner:ann"]);
    let recorded = db.append(account.as_str(), ExpectedVersion::NoStream, vec![opened, deposited]).await?;
    println!("appended at positions {} and {}", recorded[0].global_position, recorded[1].global_position);

    // It exists now, so this is refused, and says why.
    let again = ProposedEvent::new("Opened", "{}");
    let refused = db.append(account.as_str(), ExpectedVersion::NoStream, vec![again]).await;
    println!("refused: {}", refused.expect_err("the stream has events"));

    // This blocks, for microseconds: what was just appended is in memory. `reads().in_background()` has reads that don't.
    for event in db.reads().read_stream(account.as_str(), 0, 100)? {
        println!("{account}, version {}: {}", event.stream_version, event.event_type);
    }

    // History first, then whatever comes.
    let mut subscription = db.reads().subscribe(QueryItem::new().tags(["owner:ann"]), begin)?;
    while let Some(item) = subscription.next().await {
        match item? {
            SubscriptionEvent::Event(event) => println!("told of {} at {}", event.event_type, event.global_position),
            SubscriptionEvent::CaughtUp { position } if position == begin + 2 => {
                let withdrawn = ProposedEvent::new("Withdrawn", r#"{"cents":200}"#).with_tags(["owner:ann"]);
                db.append(account.as_str(), ExpectedVersion::Exact(1), vec![withdrawn]).await?;
            }
            SubscriptionEvent::CaughtUp { .. } => break,
            _ => {}
        }
    }

    db.close().await?;
    println!("the store stays in {}; `cargo run -p eventfold-cli -- read` shows what is in it", directory.display());
    Ok(())
}
