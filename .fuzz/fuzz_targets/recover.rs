//! Whole stores that were damaged, or made up under right checksums, opened again.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| eventfold_fuzz::store::recover(data));
