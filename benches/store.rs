//! Benches of the store: criterion's groups for what things cost, then the limits of `docs/PERFORMANCE.md`.
//!
//! A limit compares two sides that take turns in one run, since what a sync costs changes from one second to the next. Files
//! lie in the directory that `EVENTFOLD_BENCH_DIR` names, else in the target directory: one for temporary files is often in
//! memory, where a sync costs nothing and tells nothing.
//!
//! ```text
//! cargo bench -p eventfold-store --bench store                 # what things cost, then the quick limits
//! cargo bench -p eventfold-store --bench store -- commits      # some of them: commits, rolls, scan
//! cargo bench -p eventfold-store --bench store -- scale        # those that take stores of ten million events (15 GB)
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "a bench is where the clock comes from, and it reads and writes past the store"
)]
#![expect(clippy::cast_precision_loss, reason = "counts and sizes of a bench are far below 2^52")]

#[path = "store/commits.rs"]
mod commits;
#[path = "store/costs.rs"]
mod costs;
#[path = "store/scale.rs"]
mod scale;
#[path = "store/scans.rs"]
mod scans;
#[path = "store/support.rs"]
mod support;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    if let Some(at) = arguments.iter().position(|argument| argument == scale::CHILD) {
        scale::child(&arguments[at + 1..]);
        return;
    }
    let sections: [(&str, fn()); 4] =
        [("commits", commits::ratios), ("rolls", commits::rolls), ("scan", scans::ratios), ("scale", scale::ratios)];
    let chosen: Vec<_> = sections.iter().filter(|(name, _)| given(name)).collect();
    if !chosen.is_empty() {
        for (_, section) in chosen {
            section();
        }
        return;
    }
    costs::run();
    // `cargo bench` passes `--bench`; without it, as under `cargo test`, each bench runs once to see that it works.
    if given("--bench") && !given("--test") && !given("--list") && !given("--profile-time") {
        for (name, section) in sections {
            if name != "scale" {
                section();
            }
        }
    }
}
