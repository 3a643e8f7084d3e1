//! Appends of one event by several clients at once, each of which waits for its answer.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Asked;
use crate::caller::Caller;
use crate::figures::{median, percentile};
use crate::server::{Kind, Running};

/// One server and those who append to it.
struct Side {
    server: Running,
    callers: Vec<Caller>,
    turns: Vec<Turn>,
}

/// What one side did in one turn: appends a second, and how many seconds one took.
struct Turn {
    rate: f64,
    p50: f64,
    p99: f64,
}

pub(crate) async fn run(asked: &Asked) {
    println!("Appends of one event of 256 bytes with one tag:\n");
    println!("| clients | condition | eventfold, a second | UmaDB, a second | ratio | p50 and p99, ms | UmaDB's |");
    println!("|---|---|---|---|---|---|---|");
    let mut sides = [Kind::Eventfold, Kind::Umadb].map(|kind| Side::start(kind, &asked.directory));
    for &clients in &asked.clients {
        for side in &mut sides {
            side.connect(clients).await;
        }
        for is_conditional in [false, true] {
            take_turns(&mut sides, asked, is_conditional).await;
            print(&sides, clients, is_conditional);
        }
    }
    println!();
}

async fn take_turns(sides: &mut [Side; 2], asked: &Asked, is_conditional: bool) {
    for side in &mut *sides {
        // Connections are new, and the first appends pay for it.
        side.take_turn(asked.turn / 5, is_conditional).await;
        side.turns.clear();
    }
    for turn in 0..asked.turns {
        for side in &mut *sides {
            side.take_turn(asked.turn, is_conditional).await;
        }
        // Whoever was last is the first now, so that neither always follows the other.
        if turn + 1 < asked.turns {
            sides.reverse();
        }
    }
    sides.sort_by_key(|side| side.server.kind != Kind::Eventfold);
}

fn print([ours, theirs]: &[Side; 2], clients: usize, is_conditional: bool) {
    let condition = if is_conditional { "no event with the tag since" } else { "none" };
    let ratio = median(ours.turns.iter().zip(&theirs.turns).map(|(our, their)| our.rate / their.rate));
    let of = |side: &Side, figure: fn(&Turn) -> f64| median(side.turns.iter().map(figure));
    let times = |side: &Side| format!("{:.2}, {:.2}", of(side, |turn| turn.p50) * 1e3, of(side, |turn| turn.p99) * 1e3);
    println!(
        "| {clients} | {condition} | {:.0} | {:.0} | {ratio:.2} | {} | {} |",
        of(ours, |turn| turn.rate),
        of(theirs, |turn| turn.rate),
        times(ours),
        times(theirs),
    );
}

impl Side {
    fn start(kind: Kind, directory: &Path) -> Self {
        Self { server: Running::start(kind, directory), callers: Vec::new(), turns: Vec::new() }
    }

    /// So many clients, which know nothing of the ones before.
    async fn connect(&mut self, clients: usize) {
        self.callers.clear();
        for client in 0..clients {
            self.callers.push(Caller::connect(&self.server, format!("account-{clients}-{client}")).await);
        }
    }

    async fn take_turn(&mut self, time: Duration, is_conditional: bool) {
        let begun = Instant::now();
        let mut running = JoinSet::new();
        for mut caller in self.callers.drain(..) {
            running.spawn(async move {
                let mut took = Vec::new();
                while begun.elapsed() < time {
                    let asked = Instant::now();
                    caller.append(1, is_conditional).await;
                    took.push(asked.elapsed().as_secs_f64());
                }
                (caller, took)
            });
        }
        let mut took = Vec::new();
        while let Some(done) = running.join_next().await {
            let (caller, of_caller) = done.expect("no client fails");
            self.callers.push(caller);
            took.extend(of_caller);
        }
        let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
        self.turns.push(Turn { rate, p50: percentile(&took, 50), p99: percentile(&took, 99) });
    }
}
