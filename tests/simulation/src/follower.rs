//! A subscriber that goes on where it was, from one life of the store to the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventfold_db::{Error, ReadIndex, RecordedEvent, SubscriptionEvent};
use eventfold_sync::simulation::block_on;
use eventfold_tests::{Criteria, Model, Random, query};
use futures_util::StreamExt;

#[derive(Clone, Debug)]
pub(crate) struct Follower(Arc<Mutex<Seen>>);

#[derive(Debug)]
struct Seen {
    items: Vec<Criteria>,
    from: u64,
    /// Everything below is in `events`, or not subscribed to.
    position: u64,
    events: Vec<RecordedEvent>,
}

impl Follower {
    pub(crate) fn new(random: &mut Random) -> Self {
        let from = if random.percent(70) { 0 } else { random.below(30) };
        let criteria = match random.below(4) {
            0 => Some(Criteria { types: vec!["Opened".to_owned()], ..Criteria::default() }),
            1 => Some(Criteria { prefix: Some("account-".to_owned()), ..Criteria::default() }),
            2 => Some(Criteria { stream: Some("course-1".to_owned()), ..Criteria::default() }),
            _ => None,
        };
        let items = criteria.into_iter().collect();
        Self(Arc::new(Mutex::new(Seen { items, from, position: from, events: Vec::new() })))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the log until it ends, it fails, or so many events have come.
    pub(crate) fn follow(&self, reads: &ReadIndex, leaves_after: u64) -> Result<(), Error> {
        let (items, position) = {
            let seen = self.seen();
            (seen.items.clone(), seen.position)
        };
        let mut subscription = reads.subscribe(query(&items), position)?;
        let mut left = leaves_after;
        while left > 0 {
            let Some(item) = block_on(subscription.next()) else { return self.has_all(reads) };
            let mut seen = self.seen();
            match item? {
                SubscriptionEvent::Event(event) => {
                    seen.position = event.global_position + 1;
                    seen.events.push(event);
                    left -= 1;
                }
                SubscriptionEvent::CaughtUp { position } | SubscriptionEvent::Checkpoint { position } => {
                    assert!(position >= seen.position, "a subscription has gone back to {position}");
                    seen.position = position;
                }
                other => panic!("a subscription has never told this: {other:?}"),
            }
        }
        Ok(())
    }

    /// Everything below was given to it, or is not subscribed to.
    pub(crate) fn position(&self) -> u64 {
        self.seen().position
    }

    /// The position behind the last event that it subscribes to.
    pub(crate) fn end_of_what_it_wants(&self, reads: &ReadIndex) -> Result<u64, Error> {
        let items = self.seen().items.clone();
        let last = reads.query_backward(query(&items), u64::MAX, 1)?;
        Ok(last.first().map_or(0, |last| last.global_position + 1))
    }

    /// Its subscription has ended, and not by an error: nothing may be missing.
    fn has_all(&self, reads: &ReadIndex) -> Result<(), Error> {
        let (position, end) = (self.position(), self.end_of_what_it_wants(reads)?);
        assert!(position >= end, "a subscription has ended at {position}, and there is more up to {end}");
        Ok(())
    }

    /// What it was given.
    pub(crate) fn events(&self) -> Vec<RecordedEvent> {
        self.seen().events.clone()
    }

    /// It was given every event that it asked for, once, in order.
    pub(crate) fn check(&self, model: &Model) {
        let seen = self.seen();
        let log = model.events();
        let wanted = log.iter().filter(|event| {
            (seen.from..seen.position).contains(&event.global_position) && model.matches(&seen.items, event)
        });
        assert!(wanted.eq(&seen.events), "a subscriber to {:?} was given something else than the log has", seen.items);
    }
}
