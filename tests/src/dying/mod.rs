//! Processes that die: a child that works on a store and tells each step, and the parent that keeps what it was told, has
//! the child killed, or the power cut, and holds the store against it.
//!
//! A [`Deed`] is an append whose contents follow from its number, a [`Word`] a line that the child tells, [`Life`] what a child
//! is told to do, and the [`Ledger`] what the parent knows. A [`Ground`] is where the store is and how it is struck, and a
//! [`Saga`] is one store through many lives.

mod deed;
mod ground;
mod ledger;
mod life;
#[cfg(target_os = "linux")]
mod power;
mod process;
mod saga;
mod word;

pub use deed::{Deed, Terms};
pub use ground::{Directory, Ground};
pub use ledger::{Breach, Ledger};
pub use life::{Life, live_if_told};
#[cfg(target_os = "linux")]
pub use power::PoweredDisk;
pub use process::{Ended, Fate, Process, When};
pub use saga::{Saga, Tally, builder};
pub use word::{Failure, Word};

/// What a line of the environment asks for, or what is done where it says nothing.
///
/// # Panics
///
/// If it is no number.
pub fn asked_for(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("it is a number"))
}
