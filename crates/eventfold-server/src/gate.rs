//! What is let in: calls and the bytes of their requests, counted over all connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventfold_proto::convert::Failed;
use eventfold_proto::v1::failure::Cause;
use eventfold_proto::v1::{Advice, LimitExceeded};
use tonic::Code;

use crate::options::Limits;

/// A number that is not to go above a bound.
#[derive(Debug)]
pub(crate) struct Bounded {
    /// What callers are told that it is.
    name: &'static str,
    now: AtomicU64,
    max: u64,
}

impl Bounded {
    pub(crate) fn new(name: &'static str, max: impl Into<u64>) -> Arc<Self> {
        Arc::new(Self { name, now: AtomicU64::new(0), max: max.into() })
    }

    /// Adds so much, unless it is more than there is room for.
    pub(crate) fn take(&self, amount: u64) -> bool {
        let add = |now: u64| now.checked_add(amount).filter(|sum| *sum <= self.max);
        self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    pub(crate) fn give_back(&self, amount: u64) {
        self.now.fetch_sub(amount, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// There is more of it at once than this server takes: it helps to try again.
    fn too_much(&self, value: u64) -> Failed {
        let (limit, max) = (self.name.to_owned(), self.max);
        let message = format!("the server has too much to do at once: {limit} is {max}");
        let cause = Cause::LimitExceeded(LimitExceeded { limit, value: Some(value), max });
        Failed::new(Code::ResourceExhausted, Advice::Retry, message, Some(cause)).retry_after(TRY_AGAIN)
    }
}

/// When who was refused for want of room may come again.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// One of a [`Bounded`], given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Bounded>);

impl Place {
    pub(crate) fn take(bounded: &Arc<Bounded>) -> Result<Self, Failed> {
        if bounded.take(1) { Ok(Self(bounded.clone())) } else { Err(bounded.too_much(bounded.now())) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.give_back(1);
    }
}

/// The bounds that all connections share.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) connections: Arc<Bounded>,
    pub(crate) calls: Arc<Bounded>,
    pub(crate) subscriptions: Arc<Bounded>,
    pub(crate) reads: Arc<Bounded>,
    pub(crate) request_bytes: Arc<Bounded>,
    pub(crate) admin_calls: Arc<Bounded>,
    /// Probes, and the bytes of their requests, which are of peers who need not have said who they are: they take nothing of what the others
    /// have.
    pub(crate) probes: Arc<Bounded>,
    pub(crate) probe_bytes: Arc<Bounded>,
}

/// Far more probes than anybody makes who looks after a server, and as many bytes as they take.
const PROBES_MAX: u64 = 1024;
const PROBE_BYTES_MAX: u64 = 1 << 20;

impl Gate {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            connections: Bounded::new("limits.connections", limits.connections),
            calls: Bounded::new("limits.calls", limits.calls),
            subscriptions: Bounded::new("limits.subscriptions", limits.subscriptions),
            reads: Bounded::new("limits.reads", limits.reads),
            request_bytes: Bounded::new("limits.request_bytes", limits.request_bytes),
            admin_calls: Bounded::new("limits.admin_calls", limits.admin_calls),
            probes: Bounded::new("the number of probes", PROBES_MAX),
            probe_bytes: Bounded::new("the bytes of probes", PROBE_BYTES_MAX),
        }
    }
}

/// Calls whose answer was a failure from its first byte on, since the start, by their codes.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    codes: [AtomicU64; CODES.len()],
    /// Appends for which nobody waited any more.
    pub(crate) late_appends: AtomicU64,
}

impl Failures {
    pub(crate) fn count(&self, code: Code) {
        if let Some(at) = CODES.iter().position(|(counted, _)| *counted == code) {
            self.codes[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The name of each code, and how many calls have failed with it.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CODES.iter().zip(&self.codes).map(|((_, name), count)| (*name, count.load(Ordering::Relaxed)))
    }
}

const CODES: [(Code, &str); 16] = [
    (Code::Cancelled, "cancelled"),
    (Code::Unknown, "unknown"),
    (Code::InvalidArgument, "invalid_argument"),
    (Code::DeadlineExceeded, "deadline_exceeded"),
    (Code::NotFound, "not_found"),
    (Code::AlreadyExists, "already_exists"),
    (Code::PermissionDenied, "permission_denied"),
    (Code::ResourceExhausted, "resource_exhausted"),
    (Code::FailedPrecondition, "failed_precondition"),
    (Code::Aborted, "aborted"),
    (Code::OutOfRange, "out_of_range"),
    (Code::Unimplemented, "unimplemented"),
    (Code::Internal, "internal"),
    (Code::Unavailable, "unavailable"),
    (Code::DataLoss, "data_loss"),
    (Code::Unauthenticated, "unauthenticated"),
];

/// The bytes of one call's request that were received and are not answered yet.
#[derive(Debug)]
pub(crate) struct Charge {
    bytes: Arc<Bounded>,
    held: AtomicU64,
    /// Of these, the bytes of a message that is not whole.
    begun: AtomicU64,
}

impl Charge {
    pub(crate) fn new(bytes: &Arc<Bounded>) -> Arc<Self> {
        Arc::new(Self { bytes: bytes.clone(), held: AtomicU64::new(0), begun: AtomicU64::new(0) })
    }

    /// So much was received.
    pub(crate) fn take(&self, amount: u64) -> Result<(), Failed> {
        if !self.bytes.take(amount) {
            return Err(self.bytes.too_much(amount));
        }
        self.held.fetch_add(amount, Ordering::Relaxed);
        Ok(())
    }

    /// So much is there of a message that is not whole.
    pub(crate) fn begin(&self, amount: u64) {
        self.begun.store(amount, Ordering::Relaxed);
    }

    /// All messages that are whole were answered.
    pub(crate) fn give_back_whole(&self) {
        let begun = self.begun.load(Ordering::Relaxed);
        self.give_back(self.held.load(Ordering::Relaxed).saturating_sub(begun));
    }

    /// So much was answered.
    pub(crate) fn give_back(&self, amount: u64) {
        let take = |held: u64| Some(held.saturating_sub(amount));
        let held = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(0);
        self.bytes.give_back(held.min(amount));
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.bytes.give_back(*self.held.get_mut());
    }
}
