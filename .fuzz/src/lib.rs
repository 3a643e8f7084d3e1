//! What the fuzz targets of eventfold's codec and store do, as plain functions over bytes.
//!
//! The targets hand libFuzzer's inputs to these bodies. A test of each of the two includes the same source and runs it on a
//! stable toolchain, over the corpus that is checked in, so nothing here may need libFuzzer or nightly.

pub mod bodies;
mod shared;
pub mod store;
