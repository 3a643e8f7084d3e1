//! The two copies of a segment header.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| eventfold_fuzz::bodies::header(data));
