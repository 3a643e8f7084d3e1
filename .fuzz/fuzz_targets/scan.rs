//! Segments built from a list of operations, read to their end, judged and recovered.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| eventfold_fuzz::bodies::scan(data));
