//! Scenarios that cross the layers, through the facade alone. Each file beside this directory is a group of them.
//!
//! Here is what they share: a [log in a few lists](Model), a [record](History) of what concurrent clients asked and were
//! told, and the [check](History::check) that all of it is true of one order of the appends; a [disk](HangingDisk) that
//! hangs; and, for what real systems do, [processes](Own) and [file systems](Mounted) of a test's own, with a
//! [witness](Witness) of what was acknowledged there, and what a process [asks of the system](Traced). [`dying`] is about processes that are killed, and power that is cut.

mod aloud;
#[cfg(target_os = "linux")]
mod apart;
mod asked;
mod check;
mod client;
pub mod dying;
mod hanging;
mod history;
mod model;
#[cfg(target_os = "linux")]
mod mounted;
mod place;
mod random;
#[cfg(target_os = "linux")]
mod traced;
mod witness;

pub use aloud::tell;
#[cfg(target_os = "linux")]
pub use apart::{Own, die, have_killed, victims_directory};
pub use asked::{Asked, Condition, Criteria, query};
pub use check::Lie;
pub use client::{Client, World};
pub use hanging::HangingDisk;
pub use history::{Answer, Call, Found, History, Question, Reading, Span, tells_of_damage};
pub use model::{Decided, Model};
#[cfg(target_os = "linux")]
pub use mounted::{Ballast, Frozen, Mounted};
pub use place::{Place, quick_directory};
pub use random::Random;
#[cfg(target_os = "linux")]
pub use traced::{Traced, strace_lacks, watch, watched_directory};
pub use witness::{Witness, disks_error};
