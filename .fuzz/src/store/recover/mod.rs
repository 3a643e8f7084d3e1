//! Whole stores: left by a process in some way, damaged or made up, and opened again.

mod base;
mod damage;
mod reading;

use std::collections::BTreeMap;

use eventfold_io::sim::{Keep, SimDisk};
use eventfold_store::{
    Consequence, Direction, Error, EventLog, ExpectedVersion, Finding, FindingCause, ProposedEvent, QueryItem,
    RecordedEvent, RecoveryReport, Store, TailEnd, VerifyReport, verify_on,
};

use self::base::Base;
use self::damage::{Damaged, Damaging};
use self::reading::{Files, Found};
use super::scenario::{World, id};
use crate::shared::reader::Reader;

/// A store that was left in some way, with up to four things done to its files.
///
/// # Panics
///
/// If a property does not hold.
pub fn recover(data: &[u8]) {
    let mut input = Reader::new(data);
    let recipe = input.u16();
    let base = base::base(recipe);
    let sim = base.sim.fork();
    let damaged = Damaged { places: Vec::new(), forged: false, count: 0 };
    let mut damaging = Damaging { sim: &sim, frames: &base.frames, recipe, damaged };
    for _ in 0..input.u8() % 5 {
        damaging.one(&mut input);
    }
    let damaged = damaging.damaged;
    sim.crash(&Keep::Everything);
    let case = Case::new(&base, &damaged, &sim);
    let verified = verify_on(sim.fork().attach(), |_| {});
    let read_only = open(&sim.fork(), 1, true);
    match open(&sim, 2, false) {
        Ok(store) => {
            let verified = match verified {
                Ok(verified) => verified,
                // Opening does not look at the frames of sealed segments.
                Err(Error::Unsupported { .. }) if damaged.forged => return,
                Err(error) => panic!("it opens, and verifying says {error}"),
            };
            let read_only = read_only.unwrap_or_else(|error| panic!("it opens, and read-only it does not: {error}"));
            case.opened(&sim, store, &read_only, &verified);
        }
        Err(error) => {
            assert!(damaged.count > 0, "nothing was done to it: {error:?}");
            assert!(files(&sim) == case.before, "what is refused is not changed: {error:?}");
            let told =
                |error: &Error| matches!(error, Error::Corrupt(_) | Error::Unsupported { .. } | Error::NoStore { .. });
            assert!(told(&error), "{error:?}");
            assert!(read_only.is_err_and(|error| told(&error)), "read-only it opens, and else {error:?}");
            match verified {
                Ok(report) => assert_eq!(report.worst(), Some(Consequence::Refused), "{error:?}"),
                Err(other) => assert!(told(&other), "{error:?}, and verifying says {other:?}"),
            }
        }
    }
}

/// Each opening has numbers of its own, as with a real source of them.
fn open(sim: &SimDisk, process: u64, read_only: bool) -> Result<Store, Error> {
    let world = World::on(sim.clone(), 0xAAAA_0000 + process);
    world.options().create_if_missing(false).read_only(read_only).open_on(sim.attach())
}

fn files(sim: &SimDisk) -> Files {
    let names = sim.names().into_iter().filter(|name| name != "LOCK");
    names.map(|name| (name.clone(), sim.contents(&name).unwrap_or_default())).collect()
}

/// All events, those that can't be read as `None`.
fn serve(log: &EventLog) -> Vec<Option<RecordedEvent>> {
    match log.read_all(0, u64::MAX) {
        Ok(events) => events.into_iter().map(Some).collect(),
        Err(Error::Read(_)) => {
            let snapshot = log.snapshot();
            let read = |position| match snapshot.event(position) {
                Ok(event) => event,
                Err(Error::Read(_)) => None,
                Err(error) => panic!("{error:?}"),
            };
            (0..snapshot.head()).map(read).collect()
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// Where segments have damage that stays: frames that can't be read, pages that are made again when they are.
fn lasting(report: &VerifyReport) -> Vec<(&str, Option<u64>)> {
    let findings = report.findings.iter().filter(|finding| finding.file.ends_with(".segment"));
    findings.map(|finding| (finding.file.as_str(), finding.offset)).collect()
}

/// A store that was damaged, before it is opened.
struct Case<'a> {
    base: &'a Base,
    damaged: &'a Damaged,
    before: Files,
    frames: Vec<Found>,
}

impl<'a> Case<'a> {
    fn new(base: &'a Base, damaged: &'a Damaged, sim: &SimDisk) -> Self {
        let before = files(sim);
        let frames = reading::frames(&before);
        Self { base, damaged, before, frames }
    }

    /// Below this position nothing was touched that is not derived from something else.
    fn floor(&self) -> u64 {
        let touched = |frame: &&Found| {
            self.damaged.places.iter().any(|(file, range)| {
                *file == frame.file
                    && (range.start < 8192 || range.start < frame.range.end && frame.range.start < range.end)
            })
        };
        let first = self.base.frames.iter().filter(touched).map(|frame| frame.first_position).min();
        first.unwrap_or(u64::MAX).min(self.base.certain)
    }

    fn opened(&self, sim: &SimDisk, mut store: Store, read_only: &Store, verified: &VerifyReport) {
        let report = store.recovery_report().clone();
        let head = store.global_position();
        let what = || format!("{report:?}, verified {verified:?}");
        assert!(!report.created && report.position == head, "{}", what());
        self.head_is_right(&report, verified.sealed_segments, &what);
        assert_ne!(verified.worst(), Some(Consequence::Refused), "{}", what());
        assert!(verified.end == report.end && verified.position == head, "{}", what());

        let served = serve(&store.log());
        self.events_are_right(&served, verified, &what);
        let index_is_lost = verified.findings.iter().any(is_of_a_lost_index);
        if !self.damaged.forged && !index_is_lost && served.iter().all(Option::is_some) {
            self.index_is_right(&store.log(), &what);
        }

        // Read-only, the same is served up to what is proven.
        let proven = serve(&read_only.log());
        assert_eq!(Some(proven.len() as u64), report.proven.map(|proven| proven.position), "{}", what());
        assert!(proven[..] == served[..proven.len()], "{}", what());

        // What was served stays, though nothing is synced behind it.
        let after = sim.fork();
        after.crash(&Keep::Nothing);
        let again = open(&after, 3, false).unwrap_or_else(|error| panic!("{error:?}, before {}", what()));
        let second = again.recovery_report();
        assert!(serve(&again.log()) == served, "{second:?}, before {}", what());
        assert!(second.dropped.is_empty(), "what was dropped is gone: {second:?}, before {}", what());

        // A frame that can't be read, in a segment that is not sealed yet, is in the way of sealing it; an index that can't be made
        // again, of looking up what is appended to.
        let in_the_way = |finding: &Finding| {
            let number = reading::number_of(&finding.file).map(u64::from);
            finding.consequence == Consequence::EventsUnreadable && number >= Some(verified.sealed_segments)
        };
        if index_is_lost || verified.findings.iter().any(in_the_way) {
            return;
        }
        let event = ProposedEvent::new("Later", "on").with_id(id(u64::MAX));
        let appended = store.append("later", ExpectedVersion::Any, vec![event]);
        let closed = store.close();
        if self.damaged.forged {
            return;
        }
        appended.unwrap_or_else(|error| panic!("{error:?}: {}", what()));
        closed.unwrap_or_else(|error| panic!("{error:?}: {}", what()));
        let clean = verify_on(sim.attach(), |_| {}).unwrap_or_else(|error| panic!("{error:?}: {}", what()));
        let known = lasting(verified);
        assert!(lasting(&clean).iter().all(|place| known.contains(place)), "{clean:?}: {}", what());
        assert!(!known.is_empty() || clean.findings.iter().all(is_a_side_files), "{clean:?}: {}", what());
        let store = open(sim, 4, false).unwrap_or_else(|error| panic!("{error:?}: {}", what()));
        assert_eq!(store.global_position(), head + 1, "{}", what());
        assert_eq!(store.recovery_report().end, Some(TailEnd::Closed), "{}", what());
    }

    /// Everything that follows on from the start is there, and nothing else is.
    fn head_is_right(&self, report: &RecoveryReport, sealed: u64, what: &dyn Fn() -> String) {
        let head = report.position;
        let walk = reading::walk(&self.before, &self.frames);
        // What was made up in a sealed segment, opening does not read: its footer speaks for it.
        if !report.checkpoint && (sealed == 0 || !self.damaged.forged) {
            assert!(head >= walk.position, "{walk:?}: {}", what());
            assert!(head == walk.position || !walk.is_last, "{walk:?}: {}", what());
            if walk.is_last
                && let Some(proof) = walk.proof(&self.frames)
            {
                panic!("what stood before {:?} is gone, and was synced: {}", proof.range, what());
            }
        }
        if self.damaged.forged {
            return;
        }
        assert!(head >= self.floor(), "below {} nothing was touched: {}", self.floor(), what());
        assert!(self.base.ends.contains(&head), "half an append: {}", what());
        if self.damaged.count == 0 {
            let end = report.end.expect("a store that was there has an end");
            assert!(!self.base.closed || end == TailEnd::Closed, "{}", what());
            assert!(report.healed.is_empty() || !self.base.closed, "{}", what());
        }
    }

    /// What is served stands in a frame that is wholly valid; where nothing was made up, it is what was appended there. What
    /// can't be read is told by verifying.
    fn events_are_right(&self, served: &[Option<RecordedEvent>], verified: &VerifyReport, what: &dyn Fn() -> String) {
        let mut found: BTreeMap<u64, Vec<&RecordedEvent>> = BTreeMap::new();
        for event in self.frames.iter().flat_map(|frame| &frame.events) {
            found.entry(event.global_position).or_default().push(event);
        }
        for (position, event) in (0..).zip(served) {
            match event {
                Some(event) => {
                    let stands = found.get(&position).is_some_and(|found| found.contains(&event));
                    assert!(stands, "{event:?} is in no frame: {}", what());
                    let appended = self.base.events.get(usize::try_from(position).expect("it is in memory"));
                    assert!(self.damaged.forged || appended == Some(event), "{event:?}: {}", what());
                }
                None => assert!(
                    verified.findings.iter().any(|finding| {
                        let is_told = || finding.positions.as_ref().is_some_and(|told| told.contains(&position));
                        match finding.consequence {
                            // A made-up frame may hide others that are sound, or be taken for one that stands elsewhere by its footer:
                            // that it is there is told, but not all that it hides.
                            Consequence::EventsUnreadable => self.damaged.forged || is_told(),
                            // So do frames that are out of order, though each can be read.
                            Consequence::Untrusted => self.damaged.forged,
                            _ => false,
                        }
                    }),
                    "verifying does not say that {position} can't be read: {}",
                    what()
                ),
            }
        }
        assert!(self.damaged.count > 0 || verified.is_sound() && served.iter().all(Option::is_some), "{}", what());
    }

    /// Asked by streams, types and tags, the same is found.
    fn index_is_right(&self, log: &EventLog, what: &dyn Fn() -> String) {
        let snapshot = log.snapshot();
        let all = &self.base.events[..usize::try_from(snapshot.head()).expect("it is in memory")];
        let of = |wanted: &dyn Fn(&RecordedEvent) -> bool| -> Vec<RecordedEvent> {
            all.iter().filter(|event| wanted(event)).cloned().collect()
        };
        for number in 0..4 {
            let name = base::stream(number);
            let id = name.id();
            let expected = of(&|event| event.stream_id == id);
            match snapshot.read_stream(&name, 0, u64::MAX, Direction::Forward) {
                Ok(events) => assert!(events == expected, "{name}: {}", what()),
                Err(Error::StreamNotFound { .. }) => assert!(expected.is_empty(), "{name}: {}", what()),
                Err(error) => panic!("{error:?}: {}", what()),
            }
            let item = QueryItem::new().stream_prefix(name.as_str());
            let mut last = snapshot.query(item, u64::MAX, 1, Direction::Backward).expect("all can be read");
            assert!(last.pop().as_ref() == expected.last(), "{name}: {}", what());
        }
        let item = QueryItem::new().types(["Changed"]).tags(["tag-1"]);
        let expected = of(&|event| event.event_type == "Changed" && event.tags.iter().any(|tag| *tag == "tag-1"));
        let found = snapshot.query(item, 0, u64::MAX, Direction::Forward).expect("all can be read");
        assert!(found == expected, "{}", what());
    }
}

/// A part of an index that can't be made again, for a frame that is damaged too.
fn is_of_a_lost_index(finding: &Finding) -> bool {
    finding.consequence == Consequence::EventsUnreadable && matches!(finding.cause, FindingCause::Footer(_))
}

/// What was dropped once is of no use to the log, and stays as it is.
fn is_a_side_files(finding: &Finding) -> bool {
    finding.consequence == Consequence::KeptCopyLost
}
