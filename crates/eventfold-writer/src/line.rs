//! Admission: who is let in at once, and who waits for space.
//!
//! What is let in counts towards the bounds until it is released. Nobody is let in past one who waits, so that the large ones
//! get their turn.

use std::collections::VecDeque;

/// Requests and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) requests: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Line<T> {
    bounds: Load,
    held: Load,
    peak: Load,
    /// In the order of their tickets.
    waiting: VecDeque<Waiting<T>>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    ticket: u64,
    bytes: usize,
    item: T,
}

impl<T> Line<T> {
    /// At least one request is let in, whatever the bounds.
    pub(crate) fn new(bounds: Load) -> Self {
        let bounds = Load { requests: bounds.requests.max(1), ..bounds };
        Self { bounds, held: Load::default(), peak: Load::default(), waiting: VecDeque::new(), next_ticket: 0 }
    }

    /// Lets this in, or puts it in line: then it is told by a ticket.
    pub(crate) fn enter(&mut self, item: T, bytes: usize) -> Result<T, u64> {
        self.try_enter(item, bytes).map_err(|item| {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.waiting.push_back(Waiting { ticket, bytes, item });
            ticket
        })
    }

    /// Lets this in if there is space now and nobody waits for it. Gives it back either way.
    pub(crate) fn try_enter(&mut self, item: T, bytes: usize) -> Result<T, T> {
        if !self.waiting.is_empty() || !self.has_space(bytes) {
            return Err(item);
        }
        self.hold(bytes);
        Ok(item)
    }

    /// The first in line, if there is space for it by now: it is let in.
    pub(crate) fn next(&mut self) -> Option<T> {
        if !self.first_fits() {
            return None;
        }
        let first = self.waiting.pop_front()?;
        self.hold(first.bytes);
        Some(first.item)
    }

    /// Takes one out of the line. Those behind it may fit where it did not.
    pub(crate) fn withdraw(&mut self, ticket: u64) -> Option<T> {
        let index = self.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket).ok()?;
        self.waiting.remove(index).map(|waiting| waiting.item)
    }

    /// So much is held no more.
    pub(crate) fn release(&mut self, load: Load) {
        self.held.requests -= load.requests;
        self.held.bytes -= load.bytes;
    }

    /// What is held.
    pub(crate) fn held(&self) -> Load {
        self.held
    }

    /// The most that was.
    pub(crate) fn peak(&self) -> Load {
        self.peak
    }

    /// Whether nothing is held and nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.held == Load::default() && self.waiting.is_empty()
    }

    /// Whether the first in line could be let in.
    pub(crate) fn first_fits(&self) -> bool {
        self.waiting.front().is_some_and(|first| self.has_space(first.bytes))
    }

    /// Takes all out of the line, and forgets what is held.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = T> {
        self.held = Load::default();
        std::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.item)
    }

    /// Whether a request fits. One that is larger than the bound is let in when nothing else is.
    fn has_space(&self, bytes: usize) -> bool {
        let fits = self.held.bytes.saturating_add(bytes) <= self.bounds.bytes;
        self.held.requests == 0 || self.held.requests < self.bounds.requests && fits
    }

    fn hold(&mut self, bytes: usize) {
        self.held.requests += 1;
        self.held.bytes += bytes;
        self.peak.requests = self.peak.requests.max(self.held.requests);
        self.peak.bytes = self.peak.bytes.max(self.held.bytes);
    }
}
