//! An account that is never overdrawn, whoever withdraws from it at once: `cargo run -p eventfold-db --features serde --example
//! bank_account`.
//!
//! A decision is made on what was read, and appended under the condition that nothing came in between. If something did, it
//! is made again.

use eventfold_db::{Error, EventfoldDb, ExpectedVersion, ProposedEvent, RecordedEvent};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Moved {
    cents: u64,
}

#[derive(Debug, PartialEq)]
enum Withdrawal {
    Done { left: u64 },
    NotEnough { there: u64 },
}

/// What the events come to.
fn balance(events: &[RecordedEvent]) -> Result<u64, serde_json::Error> {
    let mut cents = 0;
    for event in events {
        let moved: Moved = event.json()?;
        match &*event.event_type {
            "Deposited" => cents += moved.cents,
            "Withdrawn" => cents -= moved.cents,
            _ => {}
        }
    }
    Ok(cents)
}

async fn withdraw(
    db: &EventfoldDb,
    account: &str,
    cents: u64,
) -> Result<Withdrawal, Box<dyn std::error::Error + Send + Sync>> {
    loop {
        // This blocks, for microseconds: the events were just appended, and are in memory. Where they may not be,
        // `reads().in_background()` reads on other threads.
        let events = db.reads().read_stream(account, 0, u64::MAX)?;
        let there = balance(&events)?;
        if there < cents {
            return Ok(Withdrawal::NotEnough { there });
        }
        let expected =
            events.last().map_or(ExpectedVersion::NoStream, |last| ExpectedVersion::Exact(last.stream_version));
        let withdrawn = ProposedEvent::json("Withdrawn", &Moved { cents })?;
        match db.append(account, expected, vec![withdrawn]).await {
            Ok(_) => return Ok(Withdrawal::Done { left: there - cents }),
            Err(Error::WrongExpectedVersion { .. }) => println!("somebody was faster: deciding again"),
            Err(other) => return Err(other.into()),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let directory = tempfile::tempdir()?;
    let db = EventfoldDb::open(directory.path())?;
    let deposited = ProposedEvent::json("Deposited", &Moved { cents: 1000 })?;
    db.append("account-7", ExpectedVersion::NoStream, vec![deposited]).await?;

    let withdrawals = join_all((0..5).map(|_| withdraw(&db, "account-7", 300))).await;
    let mut done = 0;
    for withdrawal in withdrawals {
        let withdrawal = withdrawal?;
        println!("{withdrawal:?}");
        done += usize::from(matches!(withdrawal, Withdrawal::Done { .. }));
    }
    assert_eq!(done, 3, "1000 cents are enough for three times 300");
    assert_eq!(balance(&db.reads().read_stream("account-7", 0, u64::MAX)?)?, 100);
    db.close().await?;
    Ok(())
}
