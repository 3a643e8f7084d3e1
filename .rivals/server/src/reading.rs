//! Appends of many events by one client, and reading all of them.

use std::time::Instant;

use crate::Asked;
use crate::caller::Caller;
use crate::figures::median;
use crate::server::{Kind, Running};

const EVENTS: usize = 100_000;
const EVENTS_PER_APPEND: usize = 1000;

pub(crate) async fn run(asked: &Asked) {
    let servers = [Kind::Eventfold, Kind::Umadb].map(|kind| Running::start(kind, &asked.directory));
    let mut callers = Vec::new();
    for server in &servers {
        callers.push(Caller::connect(server, "account".to_owned()).await);
    }
    let mut appends = [Vec::new(), Vec::new()];
    for _ in 0..EVENTS / EVENTS_PER_APPEND {
        for (caller, took) in callers.iter_mut().zip(&mut appends) {
            let begun = Instant::now();
            caller.append(EVENTS_PER_APPEND, false).await;
            took.push(begun.elapsed().as_secs_f64() / EVENTS_PER_APPEND as f64);
        }
    }
    let mut reads = [Vec::new(), Vec::new()];
    for _ in 0..asked.turns {
        for (caller, took) in callers.iter().zip(&mut reads) {
            let begun = Instant::now();
            assert_eq!(caller.read_all().await, EVENTS);
            took.push(begun.elapsed().as_secs_f64() / EVENTS as f64);
        }
    }
    println!("One client with {EVENTS} events of 256 bytes:\n");
    println!("| what | eventfold, events a second | UmaDB, events a second | ratio |");
    println!("|---|---|---|---|");
    print(&format!("appending {EVENTS_PER_APPEND} at a time"), &appends);
    print("reading all", &reads);
}

/// From the seconds that an event took, turn by turn.
fn print(what: &str, [ours, theirs]: &[Vec<f64>; 2]) {
    let ratio = median(ours.iter().zip(theirs).map(|(our, their)| their / our));
    let rate = |took: &[f64]| 1.0 / median(took.iter().copied());
    println!("| {what} | {:.0} | {:.0} | {ratio:.2} |", rate(ours), rate(theirs));
}
