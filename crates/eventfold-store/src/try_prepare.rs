//! Preparing an append without waiting for the disk, where what that takes is in memory.

use crate::append::{Append, CheckedAppend};
use crate::cached_only::{self, CachedOnly};
use crate::environment::NewIds;
use crate::error::Error;
use crate::log::EventLog;
use crate::prepare::{Prepared, PreparedAppend};

/// What came of preparing an append without the disk.
#[derive(Debug)]
pub enum Preparation {
    /// Everything was in memory.
    Ready(PreparedAppend),
    /// Something has to be read: [`EventLog::finish_preparing`] does that.
    NeedsDisk(Unprepared),
}

/// An append that is checked, and of which something has to be read before it can be decided.
#[derive(Clone, Debug)]
pub struct Unprepared {
    checked: Box<CheckedAppend>,
    /// See [`PreparedAppend`].
    in_window: Option<u64>,
}

impl Preparation {
    /// About how many bytes of memory it takes until it is committed: its events, as they are proposed and as they are recorded,
    /// and its conditions.
    pub fn weight(&self) -> usize {
        match self {
            Self::Ready(prepared) => prepared.0.checked.weight(),
            Self::NeedsDisk(unprepared) => unprepared.checked.weight(),
        }
    }
}

impl Unprepared {
    /// Whether it has conditions that are queries, which can take reading much.
    pub fn has_queries(&self) -> bool {
        self.checked.queries().next().is_some()
    }
}

impl From<PreparedAppend> for Unprepared {
    /// What was looked up is forgotten, since too much happened in between.
    fn from(prepared: PreparedAppend) -> Self {
        let Prepared { checked, in_window, .. } = *prepared.0;
        Self { checked: Box::new(checked), in_window }
    }
}

impl EventLog {
    /// As [`prepare`](Self::prepare), but never waits for the disk: an async caller can do this while it is polled.
    ///
    /// # Errors
    ///
    /// What is wrong with the append itself, or with what is in memory.
    pub fn try_prepare(&self, append: Append) -> Result<Preparation, Error> {
        let mut ids = NewIds::new(&self.shared.event_ids);
        let checked = append.check(|| ids.next())?;
        let _guard = CachedOnly::begin();
        let facts = self.snapshot().facts(&checked, None);
        if cached_only::is_refused() {
            return Ok(Preparation::NeedsDisk(Unprepared { checked: Box::new(checked), in_window: None }));
        }
        Ok(Preparation::Ready(PreparedAppend(Box::new(Prepared { checked, facts: facts?, in_window: None }))))
    }

    /// Reads what an append's decision takes. Any thread can do that, while the writer goes on.
    ///
    /// # Errors
    ///
    /// What went wrong when it was looked up.
    pub fn finish_preparing(&self, unprepared: Unprepared) -> Result<PreparedAppend, Error> {
        let Unprepared { checked, in_window } = unprepared;
        let facts = self.snapshot().facts(&checked, in_window)?;
        Ok(PreparedAppend(Box::new(Prepared { checked: *checked, facts, in_window })))
    }
}

#[cfg(test)]
mod tests {
    use eventfold_codec::{ExpectedVersion, ProposedEvent};
    use eventfold_io::sim::{SimDisk, SimOptions};

    use super::*;
    use crate::{QueryItem, Store};

    #[test]
    fn what_is_in_memory_is_prepared_at_once_and_what_is_not_without_a_read() {
        let sim = SimDisk::new(SimOptions::new(1));
        let options = || Store::builder().segment_size(64 << 10).background(false);
        let mut store = options().open_on(sim.attach()).unwrap();
        for number in 0..300 {
            let event = ProposedEvent::new("Opened", vec![7; 1000]).with_tags(["owner:ann"]);
            store.append(format!("account-{number}"), ExpectedVersion::NoStream, vec![event]).unwrap();
        }
        store.close().unwrap();
        let mut store = options().open_on(sim.attach()).unwrap();
        let log = store.log();
        let append = |event: &str| {
            let expected = ExpectedVersion::Exact(0);
            Append::new().expect("account-3", expected).events("account-3", vec![ProposedEvent::new(event, "{}")])
        };

        let before = sim.operations();
        let Preparation::NeedsDisk(unprepared) = log.try_prepare(append("Closed")).unwrap() else {
            panic!("nothing of the sealed segments is in memory")
        };
        let none = Append::new().no_match(QueryItem::new().tags(["owner:ann"]), None);
        let none = none.events("account-3", vec![ProposedEvent::new("Closed", "{}")]);
        assert!(matches!(log.try_prepare(none), Ok(Preparation::NeedsDisk(_))));
        assert_eq!(sim.operations(), before);

        store.stage(log.finish_preparing(unprepared).unwrap()).unwrap();
        store.commit().unwrap();
        let before = sim.operations();
        let Preparation::Ready(prepared) = log.try_prepare(append("Again")).unwrap() else {
            panic!("the stream is known now")
        };
        assert_eq!(sim.operations(), before);
        assert!(matches!(store.stage(prepared), Err(crate::NotStaged::Refused(Error::WrongExpectedVersion { .. }))));
        assert_eq!(log.stream_version("account-3").unwrap(), Some(1));
    }
}
