//! Iterators over more events than should be held at once.

use std::vec;

use eventfold_store::{Error, RecordedEvent, Snapshot};

use crate::source::Source;

/// The events of a log as it was when this was made. It reads on the calling thread, and holds one batch of them.
///
/// An error is the last that it yields, behind all events before the one that can't be read.
#[derive(Debug)]
pub struct Events {
    snapshot: Snapshot,
    source: Source,
    batch: vec::IntoIter<RecordedEvent>,
    next: u64,
}

impl Events {
    pub(crate) fn new(snapshot: Snapshot, source: Source, from: u64) -> Self {
        Self { snapshot, source, batch: Vec::new().into_iter(), next: from }
    }
}

impl Iterator for Events {
    type Item = Result<RecordedEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.batch.next() {
                return Some(Ok(event));
            }
            if self.next >= self.snapshot.head() {
                return None;
            }
            match self.source.read_snapshot(&self.snapshot, self.next, true) {
                Ok(found) => {
                    self.batch = found.events.into_iter();
                    self.next = found.next;
                }
                Err(error) => {
                    self.next = u64::MAX;
                    return Some(Err(error));
                }
            }
        }
    }
}
