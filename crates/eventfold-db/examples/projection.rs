//! A read model in `SQLite` that takes each event exactly once: `cargo run -p eventfold-db --features serde --example projection`.
//!
//! The position up to which events were taken is committed in the same transaction as what they changed. So whenever the
//! program is stopped, the next run goes on with the first event whose effect is not there.

use eventfold_db::{EventfoldDb, ExpectedVersion, ProposedEvent, Query, RecordedEvent, SubscriptionEvent};
use rusqlite::{Connection, Transaction, params};
use serde::{Deserialize, Serialize};

type AnyError = Box<dyn std::error::Error>;

#[derive(Serialize, Deserialize)]
struct Deposited {
    account: String,
    cents: i64,
}

/// How many events go into one transaction.
const BATCH: usize = 10;

fn open_model(path: &std::path::Path) -> Result<Connection, AnyError> {
    let model = Connection::open(path)?;
    model.execute_batch(
        "CREATE TABLE IF NOT EXISTS balance (account TEXT PRIMARY KEY, cents INTEGER NOT NULL);
         CREATE TABLE IF NOT EXISTS checkpoint (id INTEGER PRIMARY KEY CHECK (id = 0), next INTEGER NOT NULL);
         INSERT OR IGNORE INTO checkpoint VALUES (0, 0);",
    )?;
    Ok(model)
}

/// The first position that the model has not taken.
fn next_position(model: &Connection) -> Result<u64, AnyError> {
    let next: i64 = model.query_row("SELECT next FROM checkpoint", [], |row| row.get(0))?;
    Ok(u64::try_from(next)?)
}

fn take(transaction: &Transaction<'_>, event: &RecordedEvent) -> Result<(), AnyError> {
    if event.event_type == "Deposited" {
        let Deposited { account, cents } = event.json()?;
        transaction.execute(
            "INSERT INTO balance VALUES (?1, ?2) ON CONFLICT (account) DO UPDATE SET cents = cents + ?2",
            params![account, cents],
        )?;
    }
    Ok(())
}

/// Takes events until there are no more, or `crash_after` transactions were committed.
fn project(db: &EventfoldDb, model: &mut Connection, crash_after: Option<usize>) -> Result<(), AnyError> {
    let mut subscription = db.reads().subscribe_blocking(Query::all(), next_position(model)?)?;
    let (mut caught_up, mut committed) = (false, 0);
    while !caught_up && crash_after.is_none_or(|after| committed < after) {
        let transaction = model.transaction()?;
        let mut taken = 0;
        while taken < BATCH && !caught_up {
            match subscription.next().transpose()? {
                Some(SubscriptionEvent::Event(event)) => {
                    take(&transaction, &event)?;
                    taken += 1;
                }
                Some(SubscriptionEvent::CaughtUp { .. }) | None => caught_up = true,
                Some(_) => {}
            }
        }
        let next = i64::try_from(subscription.position())?;
        transaction.execute("UPDATE checkpoint SET next = ?1", [next])?;
        transaction.commit()?;
        committed += 1;
    }
    Ok(())
}

fn main() -> Result<(), AnyError> {
    let directory = tempfile::tempdir()?;
    let model_path = directory.path().join("model.sqlite");
    let db = EventfoldDb::open(directory.path().join("events"))?;
    for number in 0..100i64 {
        let deposited = Deposited { account: format!("account-{}", number % 3), cents: number };
        let event = ProposedEvent::json("Deposited", &deposited)?;
        db.append_blocking(deposited.account.as_str(), ExpectedVersion::Any, vec![event])?;
    }

    // The first run is stopped after three transactions, the second goes on where it was.
    project(&db, &mut open_model(&model_path)?, Some(3))?;
    let mut model = open_model(&model_path)?;
    println!("stopped at position {}", next_position(&model)?);
    project(&db, &mut model, None)?;

    let mut balances = model.prepare("SELECT account, cents FROM balance ORDER BY account")?;
    let balances: Vec<(String, i64)> =
        balances.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (account, cents) in &balances {
        println!("{account}: {cents} cents");
    }
    assert_eq!(balances.iter().map(|(_, cents)| cents).sum::<i64>(), (0..100).sum::<i64>());
    db.close_blocking()?;
    Ok(())
}
