//! Figures: counters, and histograms with fixed buckets.

use std::time::Duration;

use eventfold_store::Error;

/// What a writer has done so far.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WriterStats {
    /// Requests that are queued and not answered yet.
    pub queued_requests: usize,
    /// About how much memory they take.
    pub queued_bytes: usize,
    /// The most requests that were.
    pub queued_requests_peak: usize,
    /// The most memory that they took.
    pub queued_bytes_peak: usize,
    /// Requests that are not queued yet, since something is read for them first.
    pub preparing_requests: usize,
    /// Groups that were committed.
    pub groups: u64,
    /// Appends that were committed.
    pub appends: u64,
    /// Their events.
    pub events: u64,
    /// Bytes that were written for them.
    pub bytes: u64,
    /// How many appends a group had.
    pub group_size: Histogram,
    /// Nanoseconds from staging the first append of a group until it was published.
    pub commit_latency: Histogram,
    /// Nanoseconds that writing and syncing a group took.
    pub sync_latency: Histogram,
    /// Appends that were refused, by cause.
    pub rejections: Rejections,
    /// Panics that were caught.
    pub panics: u64,
}

/// Appends that were not accepted, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejections {
    /// A stream was at another version, or a query matched.
    pub conflict: u64,
    /// The append broke a rule, or repeated an event id with other contents.
    pub invalid: u64,
    /// There was no space in the queue.
    pub backpressure: u64,
    /// The log moved on too fast.
    pub busy: u64,
    /// The disk was full.
    pub storage_full: u64,
    /// What its decision takes could not be read.
    pub unreadable: u64,
    /// It is not known whether it stands.
    pub outcome_unknown: u64,
    /// The writer was closed, or an earlier failure had stopped it.
    pub stopped: u64,
}

impl Rejections {
    pub(crate) fn count(&mut self, error: &Error) {
        let counter = match error {
            Error::WrongExpectedVersion { .. } | Error::QueryMatched { .. } | Error::NotReached => &mut self.conflict,
            Error::Backpressure { .. } => &mut self.backpressure,
            Error::Busy { .. } => &mut self.busy,
            Error::StorageFull { .. } => &mut self.storage_full,
            Error::Read(_) | Error::Io(_) => &mut self.unreadable,
            Error::OutcomeUnknown { .. } => &mut self.outcome_unknown,
            Error::Poisoned { .. } | Error::Closed => &mut self.stopped,
            _ => &mut self.invalid,
        };
        *counter += 1;
    }

    pub(crate) fn add(&mut self, more: &Self) {
        let Self { conflict, invalid, backpressure, busy, storage_full, unreadable, outcome_unknown, stopped } = more;
        self.conflict += conflict;
        self.invalid += invalid;
        self.backpressure += backpressure;
        self.busy += busy;
        self.storage_full += storage_full;
        self.unreadable += unreadable;
        self.outcome_unknown += outcome_unknown;
        self.stopped += stopped;
    }
}

/// Buckets to a doubling: a value is known to within an eighth.
const STEPS: usize = 8;
const STEP_BITS: u32 = STEPS.ilog2();

/// Values below 8 have buckets of their own, and each doubling above them eight.
const BUCKETS: usize = (u64::BITS - STEP_BITS + 1) as usize * STEPS;

/// How often values of which size occurred.
#[derive(Clone)]
pub struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), count: 0, sum: 0, max: 0 }
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, value: u64) {
        self.buckets[bucket_of(value)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    pub(crate) fn record_time(&mut self, time: Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// A value that this share of all is not above, at most an eighth too high: `quantile(0.99)`. 0 where there were none.
    pub fn quantile(&self, share: f64) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a count, which is far below 2^52 and not negative"
        )]
        let rank = ((self.count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= rank {
                return highest_in(bucket).min(self.max);
            }
        }
        self.max
    }
}

fn bucket_of(value: u64) -> usize {
    let doubling = value.max(1).ilog2().saturating_sub(STEP_BITS);
    let step = usize::try_from(value >> doubling).expect("fewer than two times the steps are left");
    doubling as usize * STEPS + step
}

fn highest_in(bucket: usize) -> u64 {
    if bucket < 2 * STEPS {
        return bucket as u64;
    }
    let doubling = bucket / STEPS - 1;
    let step = (bucket % STEPS + STEPS) as u64;
    // The highest bucket ends with the largest value.
    (u128::from(step + 1) << doubling).saturating_sub(1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_of_few_values_are_exact_and_of_many_close() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        histogram.record(3);
        assert_eq!((histogram.quantile(0.0), histogram.quantile(1.0)), (3, 3));
        let mut histogram = Histogram::default();
        for value in 1..=10_000 {
            histogram.record(value);
        }
        for (share, exact) in [(0.5, 5_000), (0.99, 9_900)] {
            let found = histogram.quantile(share);
            assert!(found >= exact && found <= exact + exact / 8, "{found} for {exact}");
        }
        assert_eq!((histogram.count(), histogram.max(), histogram.sum()), (10_000, 10_000, 50_005_000));
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(bits in 0_u32..64, low: u64) {
            let value = low >> bits;
            let bucket = bucket_of(value);
            prop_assert!(bucket < BUCKETS);
            prop_assert!(value <= highest_in(bucket));
            prop_assert!(bucket == 0 || value > highest_in(bucket - 1));
        }
    }

    #[test]
    fn the_largest_value_has_a_bucket() {
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(highest_in(BUCKETS - 1), u64::MAX);
    }
}
