//! What is let in: calls and the bytes of their requests, counted over all connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tonic::Code;

use crate::options::Limits;

/// A number that is not to go above a bound.
#[derive(Debug)]
pub(crate) struct Bounded {
    now: AtomicU64,
    max: u64,
}

impl Bounded {
    pub(crate) fn new(max: impl Into<u64>) -> Self {
        Self { now: AtomicU64::new(0), max: max.into() }
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

    pub(crate) fn max(&self) -> u64 {
        self.max
    }
}

/// One of a [`Bounded`], given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Bounded>);

impl Place {
    pub(crate) fn take(bounded: &Arc<Bounded>) -> Option<Self> {
        bounded.take(1).then(|| Self(bounded.clone()))
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
}

impl Gate {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            connections: Arc::new(Bounded::new(limits.connections)),
            calls: Arc::new(Bounded::new(limits.calls)),
            subscriptions: Arc::new(Bounded::new(limits.subscriptions)),
            reads: Arc::new(Bounded::new(limits.reads)),
            request_bytes: Arc::new(Bounded::new(limits.request_bytes)),
            admin_calls: Arc::new(Bounded::new(limits.admin_calls)),
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

    /// So much was received; whether there is room for it.
    pub(crate) fn take(&self, amount: u64) -> bool {
        let is_taken = self.bytes.take(amount);
        if is_taken {
            self.held.fetch_add(amount, Ordering::Relaxed);
        }
        is_taken
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
