//! The footer of a sealed segment, from its trailer to its sections.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| eventfold_fuzz::bodies::footer(data));
