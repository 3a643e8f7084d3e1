//! What is shown, and how: tables for people, JSON for programs.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::time::Duration;

use crate::clock;
use crate::exit::Failure;

/// Standard output. Nothing reaches it that its reader has not asked for: no colours where it is no terminal, and no panic
/// where it was closed.
#[derive(Debug)]
pub(crate) struct Output {
    out: BufWriter<Stdout>,
    colours: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        let variable = |name| std::env::var_os(name).unwrap_or_default();
        let plain = !variable("NO_COLOR").is_empty() || variable("TERM") == "dumb";
        let out = io::stdout();
        let colours = cfg!(unix) && out.is_terminal() && !plain;
        Self { out: BufWriter::new(out), colours }
    }

    /// Writes a line, whose control characters were seen to.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.out, "{line}").map_err(Failure::of_output)
    }

    /// Hands on what was written.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::of_output)
    }
}

/// Writes bytes to standard output.
pub(crate) fn write_all(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::of_output)
}

/// Ends once nobody reads standard output any more, which writing would only tell when there is something to write.
pub(crate) async fn abandoned() {
    while !is_abandoned() {
        clock::sleep(Duration::from_secs(1)).await;
    }
}

#[cfg(unix)]
fn is_abandoned() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let out = io::stdout();
    let mut watched = [PollFd::new(&out, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // A pipe whose other end is closed is an error on some systems, and hung up on others; of a file nothing is told.
    poll(&mut watched, Some(&at_once)).is_ok() && watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

#[cfg(not(unix))]
fn is_abandoned() -> bool {
    false
}

/// Says something beside the answer, on standard error, in one line or several.
pub(crate) fn note(text: &str) {
    for line in text.trim_end().split('\n') {
        // Where nobody listens, nobody misses it.
        let _ = writeln!(io::stderr(), "{}", shown(line));
    }
}

/// A text as a terminal can be shown it: what is not to be seen is written as Rust would, `\u{1b}`.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

/// A number of things, by what one of them is called.
pub(crate) fn count(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// The beginning of a text, where it is long.
pub(crate) fn shortened(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A table that is shown while it grows: columns are as wide as what was there when rows were shown.
#[derive(Debug)]
pub(crate) struct Table {
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
    heading: Option<Vec<String>>,
}

/// Rows that wait to be shown, so that columns fit.
const ROWS_MAX: usize = 64;

const BOLD: (&str, &str) = ("\x1b[1m", "\x1b[0m");

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        let heading = heading.iter().map(|cell| (*cell).to_owned()).collect();
        Self { widths: Vec::new(), rows: Vec::new(), heading: Some(heading) }
    }

    /// Adds a row, whose control characters were seen to.
    pub(crate) fn row(&mut self, output: &mut Output, row: Vec<String>) -> Result<(), Failure> {
        self.rows.push(row);
        if self.rows.len() < ROWS_MAX { Ok(()) } else { self.show(output) }
    }

    /// Shows the rows that wait.
    pub(crate) fn show(&mut self, output: &mut Output) -> Result<(), Failure> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let heading = self.heading.take();
        for row in heading.iter().chain(&self.rows) {
            self.widths.resize(row.len(), 0);
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        if let Some(heading) = heading {
            let line = self.line(&heading);
            let (on, off) = if output.colours { BOLD } else { ("", "") };
            output.line(&format!("{on}{line}{off}"))?;
        }
        for row in std::mem::take(&mut self.rows) {
            output.line(&self.line(&row))?;
        }
        Ok(())
    }

    fn line(&self, row: &[String]) -> String {
        let cells = row.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }
}

/// A time, given in Unix milliseconds.
pub(crate) fn time(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The date so many days after the beginning of 1970. Years begin in March here, so that the day of a leap year is their last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_999, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ];
        for (unix_ms, expected) in table {
            assert_eq!(time(unix_ms), expected);
        }
        assert!(time(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn a_terminal_is_told_nothing_but_text() {
        assert_eq!(shown("{\"a\":'b\\'}"), "{\"a\":'b\\'}");
        assert_eq!(shown("a\x1b[2Jb\nc\r"), "a\\u{1b}[2Jb\\nc\\r");
        assert_eq!(shown("\u{9b}1m \u{202e}x é 漢"), "\\u{9b}1m \\u{202e}x é 漢");
        assert_eq!((shortened("éé", 2).as_str(), shortened("ééé", 2).as_str()), ("éé", "éé…"));
    }
}
