//! Scenarios that cross the layers, through the facade alone. Each file beside this directory is a group of them.
//!
//! Here is what they share: a [log in a few lists](Model), a [record](History) of what concurrent clients asked and were
//! told, and the [check](History::check) that all of it is true of one order of the appends; and a [disk](HangingDisk) that
//! hangs.

mod asked;
mod check;
mod hanging;
mod history;
mod model;
mod place;
mod random;

pub use asked::{Asked, Condition, Criteria, query};
pub use check::Lie;
pub use hanging::HangingDisk;
pub use history::{Answer, Call, Found, History, Question, Reading, Span};
pub use model::{Decided, Model};
pub use place::Place;
pub use random::Random;
