//! A bank on an event store, from an empty directory to a closed, reopened and verified one.
//!
//! ```text
//! cargo run -p eventfold-store --example accounts
//! ```

use std::error::Error;

use eventfold_store::{Append, Direction, ExpectedVersion, ProposedEvent, QueryItem, Store};
use uuid::Uuid;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let mut store = Store::open(directory.path())?;
    println!("A new store in {}\n", directory.path().display());

    println!("Accounts are streams. Opening one expects that there is none of that name yet:");
    for (account, owner) in [("account-7", "ann"), ("account-8", "bob")] {
        let opened =
            ProposedEvent::new("Opened", format!(r#"{{"owner":"{owner}"}}"#)).with_tags([format!("owner:{owner}")]);
        let recorded = store.append(account, ExpectedVersion::NoStream, vec![opened])?;
        println!("  {account} is opened at position {}", recorded[0].global_position);
    }
    let again = store.append("account-7", ExpectedVersion::NoStream, vec![ProposedEvent::new("Opened", "{}")]);
    println!("  a second time: {}\n", again.expect_err("the account is there"));

    println!("A transfer goes to two streams at once, or to neither:");
    let withdrawn = ProposedEvent::new("Withdrawn", "500").with_id(Uuid::from_u128(1)).with_tags(["transfer:1"]);
    let deposited = ProposedEvent::new("Deposited", "500").with_id(Uuid::from_u128(2)).with_tags(["transfer:1"]);
    let transfer = Append::new()
        .expect("account-7", ExpectedVersion::Exact(0))
        .no_match(QueryItem::new().tags(["transfer:1"]), None)
        .events("account-7", vec![withdrawn])
        .events("account-8", vec![deposited]);
    let first = store.append_all(transfer.clone())?;
    println!("  positions {} and {}", first[0].global_position, first[1].global_position);
    let second = store.append_all(transfer)?;
    println!("  sent again, with the same event ids, it changes nothing: {}\n", first == second);

    println!("What happened to account-8:");
    for event in store.read_stream("account-8", 0, 100)? {
        println!(
            "  version {}: {} {}",
            event.stream_version,
            event.event_type,
            String::from_utf8_lossy(&event.payload)
        );
    }
    let of_transfer = store.query(QueryItem::new().tags(["transfer:1"]), 0, 100)?;
    println!("What belongs to transfer 1: {} events", of_transfer.len());
    let last = store.log().snapshot().read_all(u64::MAX, 1, Direction::Backward)?;
    println!("The last event of all: {} at position {}\n", last[0].event_type, last[0].global_position);

    store.close()?;
    let store = Store::open(directory.path())?;
    let report = store.recovery_report();
    println!("Opened again: {} events, the log's end was found {:?}", store.global_position(), report.end);
    store.close()?;

    let report = eventfold_store::verify(directory.path(), |_| {})?;
    println!("Verified: {} frames in {} segments, {} findings", report.frames, report.segments, report.findings.len());
    Ok(())
}
