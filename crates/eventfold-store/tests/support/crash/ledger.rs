//! What a store has promised by some moment.

use std::sync::Arc;

use eventfold_store::{Append, RecordedEvent};
use uuid::Uuid;

/// What a store has promised, and what it was asked for beyond that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Acknowledged, or served to a reader: these must be there.
    pub(super) certain: Arc<Vec<RecordedEvent>>,
    /// Asked for, in order, and not answered: each may be there whole if those before it are.
    pub(super) pending: Vec<Submitted>,
    /// The last append that is certain, to be asked for again.
    pub(super) last: Option<Submitted>,
    /// The store was closed, and that was acknowledged.
    pub(super) closed: bool,
    /// Opening the store was acknowledged, so it exists.
    pub(super) exists: bool,
    /// A recovery was at work, which makes events durable that nobody has seen yet.
    pub(super) recovering: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Submitted {
    pub(super) append: Append,
    pub(super) events: Vec<RecordedEvent>,
}

impl Ledger {
    /// Moves to `certain` what readers see: everything below `head`.
    pub(super) fn serve(&mut self, head: u64) {
        while (self.certain.len() as u64) < head {
            assert!(!self.pending.is_empty(), "readers see events up to {head}, which nobody has appended");
            let first = self.pending.remove(0);
            Arc::make_mut(&mut self.certain).extend(first.events.iter().cloned());
            self.last = Some(first);
        }
        assert!(
            self.certain.len() as u64 == head,
            "readers see a part of an append, or less than what was acknowledged"
        );
    }

    pub(super) fn last_version(&self, stream: Uuid) -> Option<u64> {
        let pending = self.pending.iter().rev().flat_map(|submitted| submitted.events.iter().rev());
        let mut events = pending.chain(self.certain.iter().rev());
        events.find(|event| event.stream_id == stream).map(|event| event.stream_version)
    }
}
