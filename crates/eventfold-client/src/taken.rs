//! What of a call a connection has taken.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many messages of a call a connection has taken. Once it is closed no more are: who gives a call up can say then what was
/// sent, though the connection may still hold on to it for a moment.
#[derive(Debug, Default)]
pub(crate) struct Taken(AtomicUsize);

const CLOSED: usize = 1 << (usize::BITS - 1);

impl Taken {
    /// Counts one that is to be taken, if it may be.
    pub(crate) fn take(&self) -> bool {
        let one_more = |count: usize| (count & CLOSED == 0).then_some(count + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire) & !CLOSED
    }

    /// Lets no more be taken, and returns how many were.
    pub(crate) fn close(&self) -> usize {
        self.0.fetch_or(CLOSED, Ordering::AcqRel) & !CLOSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_of_what_is_closed() {
        let taken = Taken::default();
        assert!(taken.take() && taken.take());
        assert_eq!((taken.count(), taken.close()), (2, 2));
        assert!(!taken.take());
        assert_eq!((taken.count(), taken.close()), (2, 2));
    }
}
