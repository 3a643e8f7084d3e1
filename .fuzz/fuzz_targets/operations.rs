//! Operations with faults, on a store and on a reference.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| eventfold_fuzz::store::operations(data));
