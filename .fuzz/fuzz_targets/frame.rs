//! One frame: bytes as they come, bytes whose checksums were made right, and frames that were built.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| eventfold_fuzz::bodies::frame(data));
