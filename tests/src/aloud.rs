//! What a test says that is to be seen though it passes.

use std::io::{self, Write as _};

/// Writes a line past what captures a test's output. What a machine keeps from being tested is told so, as a line that begins
/// with `SKIPPED:`: a test that passes by doing nothing looks like one that passed.
///
/// # Panics
///
/// If there is nowhere to write errors.
pub fn tell(line: &str) {
    writeln!(io::stderr(), "{line}").expect("there is somewhere to write errors");
}
