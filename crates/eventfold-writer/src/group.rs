//! Groups: appends that are committed together, and those whose answers wait for that.

use std::time::{Duration, Instant};

use eventfold_store::{Error, Staged};
use eventfold_sync::clock;

use crate::line::Load;
use crate::request::Asked;
use crate::shared::Shared;
use crate::stats::Rejections;

/// A group, from its first member until all are answered.
#[derive(Debug, Default)]
pub(crate) struct Group {
    members: Vec<Member>,
    began: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    asked: Asked,
    /// A refusal is answered with the group as well: it may rest on what is staged before it.
    outcome: Result<Staged, Error>,
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn add(&mut self, asked: Asked, outcome: Result<Staged, Error>) {
        if self.members.is_empty() {
            self.began = Some(clock::now());
        }
        self.members.push(Member { asked, outcome });
    }

    /// Counts what was committed.
    pub(crate) fn count(&self, shared: &Shared, bytes: usize, sync: Duration) {
        let mut stats = shared.stats();
        let mut appends = 0;
        for member in &self.members {
            if let Ok(Staged::Accepted(events)) = &member.outcome {
                appends += 1;
                stats.events += events.len() as u64;
            }
        }
        stats.groups += 1;
        stats.appends += appends;
        stats.bytes += bytes as u64;
        stats.group_size.record(appends);
        stats.sync_latency.record_time(sync);
        if let Some(began) = self.began {
            stats.commit_latency.record_time(clock::since(began));
        }
    }

    /// Answers all members: with what they were told when they were staged, where the group stands.
    pub(crate) fn answer(self, shared: &Shared, stands: bool) {
        let mut load = Load::default();
        let mut answers = Vec::with_capacity(self.members.len());
        let mut rejections = Rejections::default();
        for Member { asked, outcome } in self.members {
            load.requests += 1;
            load.bytes += asked.bytes;
            let answer = match outcome {
                Ok(staged) if stands => Ok(staged.into_events()),
                Ok(_) => Err(Error::OutcomeUnknown { cause: shared.log.poison() }),
                Err(error) if stands => Err(error),
                // It was not staged, so it does not stand, and what it was refused for may not either.
                Err(_) => Err(shared.stopped()),
            };
            if let Err(error) = &answer {
                rejections.count(error);
            }
            answers.push((asked, answer));
        }
        shared.stats().rejections.add(&rejections);
        // Before the answers, so that whoever gets one finds the space it has left.
        shared.inbox.release(load);
        for (asked, answer) in answers {
            asked.answer(answer);
        }
    }
}
