//! The whole store, its writer, readers and subscribers, on a simulated disk, with simulated threads and time: what happens in a
//! run follows from one seed.
//!
//! It is compiled with other locks, threads and clocks, which `cargo simulation` asks for: see `docs/TESTING.md`.

#[cfg(eventfold_simulation)]
mod campaign;
#[cfg(eventfold_simulation)]
mod faults;
#[cfg(eventfold_simulation)]
mod follower;
#[cfg(eventfold_simulation)]
mod life;
#[cfg(eventfold_simulation)]
mod oracle;
#[cfg(eventfold_simulation)]
mod plan;
#[cfg(eventfold_simulation)]
mod run;
#[cfg(eventfold_simulation)]
mod trouble;
#[cfg(eventfold_simulation)]
mod world;

#[cfg(eventfold_simulation)]
fn main() -> std::process::ExitCode {
    campaign::main()
}

#[cfg(not(eventfold_simulation))]
fn main() -> std::process::ExitCode {
    eprintln!("This is compiled with the system's threads and clock. To simulate: cargo simulation --help");
    std::process::ExitCode::from(2)
}
