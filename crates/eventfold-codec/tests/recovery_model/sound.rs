//! All rules kept: no adversary finds anything.

use crate::property::Property;
use crate::scope::{Budget, Rules, Scope};
use crate::search::search;

/// What the adversary has in every scope, unless the scope says otherwise: nothing.
const NONE: Budget = Budget { crashes: 0, failures: 0, rots: 0, losses: 0 };

/// Ten units in two segments, groups of one to three frames.
const TINY: Scope = Scope {
    name: "",
    sizes: [6, 4],
    groups: &[&[1], &[1, 1], &[1, 1, 1]],
    writes: 3,
    tears: 1,
    budget: NONE,
    rules: Rules::ALL,
    properties: Property::ALL,
};

/// A frame of two events too, so that positions and offsets do not run in step, more tears, and room for more frames.
const SMALL: Scope = Scope { sizes: [7, 5], groups: &[&[1], &[2], &[1, 1], &[1, 1, 1]], tears: 2, ..TINY };

fn holds(scope: &Scope) {
    let outcome = search(scope);
    println!(
        "{}: {} states, {} moves, depth {}, {} recoveries given up on a full disk",
        scope.name, outcome.states, outcome.moves, outcome.depth, outcome.full
    );
    if let Some((_, counterexample)) = outcome.counterexample {
        panic!("{}:\n{counterexample}", scope.name);
    }
}

#[test]
fn kills_and_power_cuts() {
    let budget = Budget { crashes: 3, ..NONE };
    holds(&Scope { name: "kills and power cuts", writes: 4, budget, ..TINY });
}

#[test]
fn many_tears() {
    let budget = Budget { crashes: 2, ..NONE };
    holds(&Scope { name: "many tears", tears: 6, budget, ..TINY });
}

#[test]
fn a_failed_sync() {
    let budget = Budget { crashes: 2, failures: 1, ..NONE };
    holds(&Scope { name: "a failed sync", budget, ..TINY });
}

#[test]
fn a_rotten_unit() {
    let budget = Budget { crashes: 2, rots: 1, ..NONE };
    holds(&Scope { name: "a rotten unit", budget, ..TINY });
}

#[test]
fn a_rotten_unit_and_a_failed_sync() {
    let budget = Budget { crashes: 1, failures: 1, rots: 1, ..NONE };
    holds(&Scope { name: "a rotten unit and a failed sync", budget, ..TINY });
}

#[test]
fn a_lost_write() {
    let budget = Budget { crashes: 3, losses: 1, ..NONE };
    holds(&Scope { name: "a lost write", budget, ..TINY });
}

#[test]
fn a_lost_write_and_a_failed_sync() {
    let budget = Budget { crashes: 1, failures: 1, losses: 1, ..NONE };
    holds(&Scope { name: "a lost write and a failed sync", budget, ..TINY });
}

/// Minutes, and some GiB of memory:
/// `cargo test --release -p eventfold-codec --test recovery_model -- --ignored --nocapture --test-threads 1`.
#[test]
#[ignore = "takes minutes"]
fn larger_failed_sync() {
    let budget = Budget { crashes: 3, failures: 1, ..NONE };
    holds(&Scope { name: "larger: a failed sync", budget, ..SMALL });
}

/// See [`larger_failed_sync`].
#[test]
#[ignore = "takes minutes"]
fn larger_rotten_unit() {
    let budget = Budget { crashes: 2, failures: 0, rots: 1, ..NONE };
    holds(&Scope { name: "larger: a rotten unit", writes: 4, budget, ..SMALL });
}

/// See [`larger_failed_sync`].
#[test]
#[ignore = "takes minutes"]
fn larger_lost_write() {
    let budget = Budget { crashes: 3, losses: 1, ..NONE };
    holds(&Scope { name: "larger: a lost write", writes: 4, budget, ..SMALL });
}
