//! What the bodies of the codec and of the store have in common.

pub(crate) mod noise;
pub(crate) mod reader;
pub(crate) mod sums;
