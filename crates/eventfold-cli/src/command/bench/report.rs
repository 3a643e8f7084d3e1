//! What was measured, as it is told.

use serde_json::{Value, json};

use crate::command::bench::load::Appended;
use crate::exit::Failure;
use crate::json::line;
use crate::output::{Output, Table};

/// All of it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) event_bytes: u32,
    pub(super) callers: Vec<Callers>,
    pub(super) reads_per_second: u64,
}

/// What was measured with so many callers, turn by turn.
#[derive(Debug)]
pub(super) struct Callers {
    pub(super) count: u32,
    /// Writes a second, of which each could hold an append of each caller.
    raw: Vec<u64>,
    appends: Vec<u64>,
    /// Thousandths.
    ratios: Vec<u64>,
    latencies: Vec<u64>,
}

const HEADING: [&str; 8] = ["CALLERS", "RAW SYNCS/S", "APPENDS/S", "RATIO", "P50", "P90", "P99", "MAX"];

const BAR: u64 = 40;

impl Callers {
    pub(super) fn new(callers: u32) -> Self {
        Self { count: callers, raw: Vec::new(), appends: Vec::new(), ratios: Vec::new(), latencies: Vec::new() }
    }

    /// Adds a turn.
    pub(super) fn add(&mut self, raw: Option<u64>, appended: Appended) {
        if let Some(raw) = raw {
            let limit = raw.saturating_mul(self.count.into()).max(1);
            self.ratios.push(appended.per_second.saturating_mul(1000) / limit);
            self.raw.push(raw);
        }
        self.appends.push(appended.per_second);
        self.latencies.extend(appended.latencies);
    }
}

impl Report {
    pub(super) fn show(mut self, json: bool) -> Result<(), Failure> {
        for of in &mut self.callers {
            for values in [&mut of.raw, &mut of.appends, &mut of.ratios, &mut of.latencies] {
                values.sort_unstable();
            }
        }
        let mut output = Output::new();
        if json {
            output.line(&line(&self.as_json()))?;
        } else {
            self.tell(&mut output)?;
        }
        output.flush()
    }

    fn tell(&self, output: &mut Output) -> Result<(), Failure> {
        output.line(&format!(
            "appends of one event of {} bytes, each answered before its caller's next",
            self.event_bytes
        ))?;
        let mut table = Table::new(&HEADING);
        for of in &self.callers {
            let known =
                |values: &[u64], shown: fn(u64) -> String| quantile(values, 50).map_or_else(|| "-".to_owned(), shown);
            let latency = |percent| quantile(&of.latencies, percent).map_or_else(String::new, time);
            table.row(
                output,
                vec![
                    of.count.to_string(),
                    known(&of.raw, |raw| raw.to_string()),
                    known(&of.appends, |appends| appends.to_string()),
                    known(&of.ratios, |ratio| format!("{}.{:02}", ratio / 1000, ratio % 1000 / 10)),
                    latency(50),
                    latency(90),
                    latency(99),
                    latency(100),
                ],
            )?;
        }
        table.show(output)?;
        for of in &self.callers {
            output.line(&format!("\nlatency, callers: {}", of.count))?;
            let buckets = buckets(&of.latencies);
            let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(1);
            for (below, count) in buckets {
                let bar = "#".repeat(usize::try_from((count * BAR).div_ceil(most)).unwrap_or(0));
                let share = count * 1000 / of.latencies.len().max(1) as u64;
                output.line(&format!(
                    "{:>12}  {:3}.{} %  {bar}",
                    format!("< {}", time(below)),
                    share / 10,
                    share % 10
                ))?;
            }
        }
        output.line(&format!("\nreading, what was just appended: {} events/s", self.reads_per_second))
    }

    fn as_json(&self) -> Value {
        let callers = |of: &Callers| {
            json!({
                "callers": of.count,
                "raw_syncs_per_s": quantile(&of.raw, 50),
                "appends_per_s": quantile(&of.appends, 50),
                "ratio_per_mille": quantile(&of.ratios, 50),
                "latency_ns": {
                    "p50": quantile(&of.latencies, 50),
                    "p90": quantile(&of.latencies, 90),
                    "p99": quantile(&of.latencies, 99),
                    "max": quantile(&of.latencies, 100),
                },
            })
        };
        json!({
            "event_bytes": self.event_bytes,
            "appending": self.callers.iter().map(callers).collect::<Vec<_>>(),
            "reads_per_s": self.reads_per_second,
        })
    }
}

/// Of sorted values, the smallest that so many hundredths of all are not above.
fn quantile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// How many of sorted values are below each doubling of a microsecond, and not below the one before: from the first that has some to
/// the last.
fn buckets(sorted: &[u64]) -> Vec<(u64, u64)> {
    let Some((first, last)) = sorted.first().zip(sorted.last()) else { return Vec::new() };
    let doubling = |value: u64| (value / 1000).checked_ilog2().map_or(0, |log| log + 1);
    let mut below = 0;
    let bucket = |doubling: u32| {
        // Less than 2^54 microseconds are below the largest value.
        let end = 1000_u64.saturating_mul(1 << doubling);
        let to = sorted.partition_point(|value| *value < end);
        let count = to - below;
        below = to;
        (end, count as u64)
    };
    (doubling(*first)..=doubling(*last)).map(bucket).collect()
}

/// Nanoseconds, as people read them.
fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{}.{} ms", ns / 1_000_000, ns / 100_000 % 10),
        _ => format!("{}.{} s", ns / 1_000_000_000, ns / 100_000_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_there() {
        let values: Vec<u64> = (1..=200).collect();
        for (percent, expected) in [(0, 1), (50, 100), (90, 180), (99, 198), (100, 200)] {
            assert_eq!(quantile(&values, percent), Some(expected));
        }
        assert_eq!((quantile(&[7], 50), quantile(&[], 50)), (Some(7), None));
    }

    #[test]
    fn every_value_is_in_one_bucket() {
        assert_eq!(buckets(&[]), []);
        let expected = [(1000, 2), (2000, 1), (4000, 2), (8000, 0), (16_000, 1)];
        assert_eq!(buckets(&[0, 999, 1000, 2000, 3999, 8000]), expected);
    }

    #[test]
    fn times_are_short() {
        let table = [(999, "999 ns"), (1_999, "1 µs"), (2_560_000, "2.5 ms"), (61_000_000_000, "61.0 s")];
        for (ns, expected) in table {
            assert_eq!(time(ns), expected);
        }
    }
}
