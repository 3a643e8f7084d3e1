//! The names of streams and files, and what else is bounded of an append.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| eventfold_fuzz::store::names(data));
