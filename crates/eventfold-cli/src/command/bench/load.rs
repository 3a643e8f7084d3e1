//! What the store makes of it: callers that append, each waiting for its answer before the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventfold_client::{Bytes, Error, EventStore, EventStoreExt, ExpectedVersion, ProposedEvent, Read};
use futures_util::StreamExt;
use tokio::task::JoinSet;

use crate::clock;
use crate::command::bench::rate;
use crate::exit::{Failure, code};

/// What is appended, and where.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) stream: String,
    /// Of which the events have parts.
    pub(super) contents: Bytes,
    pub(super) size: usize,
}

/// What came of some time of it.
#[derive(Debug, Default)]
pub(super) struct Appended {
    pub(super) per_second: u64,
    /// Nanoseconds that each append took.
    pub(super) latencies: Vec<u64>,
}

impl Load {
    /// Appends for so long.
    pub(super) async fn appends(&self, callers: u32, time: Duration) -> Result<Appended, Failure> {
        let begun = clock::now();
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            tasks.spawn(self.clone().one_caller(caller, begun + time));
        }
        let mut latencies = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            let ended = joined.map_err(|error| Failure::new(code::FAILED, format!("a caller ended: {error}")))?;
            latencies.extend(ended?);
        }
        Ok(Appended { per_second: rate(latencies.len() as u64, clock::since(begun)), latencies })
    }

    async fn one_caller(self, caller: u32, until: Instant) -> Result<Vec<u64>, Error> {
        let mut latencies = Vec::new();
        let spread = self.contents.len() - self.size;
        loop {
            let at = (caller as usize * 31 + latencies.len() * 7) % (spread + 1);
            let event = ProposedEvent::new("Measured", self.contents.slice(at..at + self.size));
            let begun = clock::now();
            self.store.append(self.stream.as_str(), ExpectedVersion::Any, vec![event]).await?;
            let now = clock::now();
            latencies.push(nanoseconds(now.saturating_duration_since(begun)));
            if now >= until {
                return Ok(latencies);
            }
        }
    }

    /// Reads what was appended, for so long at the most: how many events in a second.
    pub(super) async fn reads(&self, time: Duration) -> Result<u64, Failure> {
        let begun = clock::now();
        let mut events = self.store.read(Read::stream(self.stream.as_str()));
        let mut count = 0;
        while let Some(event) = events.next().await {
            event?;
            count += 1;
            if count % 1024 == 0 && clock::since(begun) >= time {
                break;
            }
        }
        Ok(rate(count, clock::since(begun)))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
