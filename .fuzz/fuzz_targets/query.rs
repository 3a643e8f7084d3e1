//! Queries and conditions, through the index and by looking at every event.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| eventfold_fuzz::store::query(data));
