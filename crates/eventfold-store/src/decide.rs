//! Deciding an append: a function of the log's state and the append, without a clock, a disk or a random number.
//!
//! What is looked up on the disk is looked up before, as [`Facts`] that hold at a watermark. What came after the watermark is
//! in memory, behind [`Recent`]. So the same decision is made from any mixture of the two.

use eventfold_codec::{Frame, FrameError, RecordedEvent, StreamName, ValidAppend};
use smallvec::SmallVec;
use uuid::Uuid;

use crate::append::{CheckedAppend, CheckedCondition};
use crate::error::{Error, FailedCondition};
use crate::query::ValidQuery;

/// What is known of an append at a watermark.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Of which log they hold.
    pub(crate) log_id: u64,
    /// The watermark: everything below this position was looked at.
    pub(crate) at: u64,
    /// One for each stream written to.
    pub(crate) streams: SmallVec<[KnownStream; 1]>,
    /// One for each condition.
    pub(crate) conditions: SmallVec<[ConditionFact; 1]>,
    /// What stands where the first written stream's expected version points.
    pub(crate) pointed: Option<Found>,
    /// What stands at the lowest conflict of the queries.
    pub(crate) conflict: Option<Found>,
    /// What the duplicate window has for the first event's id.
    pub(crate) window: Option<Found>,
}

/// What is known of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownStream {
    /// The version of its last event.
    pub(crate) version: Option<u64>,
    /// Its name.
    pub(crate) name: Option<StreamName>,
    /// The last segment that stores its name.
    pub(crate) named_in: Option<u32>,
}

/// What is known about a condition.
#[derive(Clone, Debug)]
pub(crate) enum ConditionFact {
    /// The version of the stream's last event.
    Version(Option<u64>),
    /// The first position that matches.
    Match(Option<u64>),
}

/// A stored append that may be this one, and whether it is.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Where the append was looked for.
    pub(crate) position: u64,
    pub(crate) comparison: Comparison,
}

/// How a stored append compares with one that is to be decided.
#[derive(Clone, Debug)]
pub(crate) enum Comparison {
    /// It is the same: streams, ids and contents.
    Same(Vec<RecordedEvent>),
    /// Streams and ids are the same, and some contents are not; with the position of its first event.
    OtherContents(u64),
    /// It is another.
    Other,
}

/// Why the decision can't be made from memory: the append has to be looked up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten;

/// What came after the watermark at which the facts were found, and the duplicate window.
pub(crate) trait Recent {
    /// What the log knows of a stream since: `None` where nothing was appended to it.
    fn stream(&self, id: &Uuid) -> Option<KnownStream>;
    /// The position of a stream's event, if it came after the watermark.
    fn position_of(&self, id: &Uuid, version: u64) -> Option<u64>;
    /// The first position from `from` on that matches, among those after the watermark.
    fn first_match(&self, query: &ValidQuery, from: u64) -> Result<Option<u64>, Forgotten>;
    /// How the stored append that has the event at this position compares.
    fn compare(&self, append: &ValidAppend, position: u64) -> Result<Comparison, Forgotten>;
    /// The position of the append in the window whose first event has this id.
    fn in_window(&self, id: &Uuid) -> Option<u64>;
}

/// What is to be done with an append.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It stands already.
    Duplicate(Vec<RecordedEvent>),
    /// It is refused.
    Refused(Error),
    /// It is appended; with what is known of each stream that it writes to.
    Accepted(SmallVec<[KnownStream; 1]>),
}

/// Decides an append: duplicates first, then all conditions.
pub(crate) fn decide(append: &CheckedAppend, facts: &Facts, recent: &impl Recent) -> Result<Decision, Forgotten> {
    let mut conditions = SmallVec::<[ConditionFact; 1]>::with_capacity(append.conditions.len());
    for (condition, fact) in append.conditions.iter().zip(&facts.conditions) {
        conditions.push(current(condition, fact, facts.at, recent)?);
    }
    if let Some(decision) = duplicate(append, facts, &conditions, recent)? {
        return Ok(decision);
    }
    if let Some(refused) = refuse(&append.conditions, &conditions) {
        return Ok(Decision::Refused(refused));
    }
    let mut streams = SmallVec::with_capacity(facts.streams.len());
    for (stream, cold) in append.append.streams().iter().zip(&facts.streams) {
        let known = match recent.stream(&stream.id) {
            None => cold.clone(),
            Some(recent) => KnownStream {
                version: recent.version.max(cold.version),
                name: recent.name.or_else(|| cold.name.clone()),
                named_in: recent.named_in.max(cold.named_in),
            },
        };
        if let (Some(asked), Some(stored)) = (&stream.name, &known.name)
            && asked != stored
        {
            let (asked, stored) = (asked.clone(), stored.clone());
            let mismatch = Error::StreamNameMismatch { stream_id: stream.id, asked, stored };
            return Ok(Decision::Refused(mismatch));
        }
        streams.push(known);
    }
    Ok(Decision::Accepted(streams))
}

/// What a condition's fact is by now.
fn current(
    condition: &CheckedCondition,
    fact: &ConditionFact,
    at: u64,
    recent: &impl Recent,
) -> Result<ConditionFact, Forgotten> {
    Ok(match (condition, fact) {
        (CheckedCondition::Version { stream, .. }, ConditionFact::Version(version)) => {
            ConditionFact::Version(recent.stream(stream).and_then(|recent| recent.version).max(*version))
        }
        (CheckedCondition::NoMatch { query, from }, ConditionFact::Match(None)) => {
            ConditionFact::Match(recent.first_match(query, at.max(*from))?)
        }
        (_, fact) => fact.clone(),
    })
}

/// Looks for the append in the three places where it can stand already.
fn duplicate(
    append: &CheckedAppend,
    facts: &Facts,
    conditions: &[ConditionFact],
    recent: &impl Recent,
) -> Result<Option<Decision>, Forgotten> {
    let event_id = append.first_event_id();
    let compare = |known: &Option<Found>, position: u64| match known {
        Some(found) if found.position == position => Ok(found.comparison.clone()),
        _ => recent.compare(&append.append, position),
    };
    let pointed = match (&facts.pointed, append.pointed_version()) {
        (Some(found), _) => Some(found.position),
        (None, Some(version)) => recent.position_of(&append.append.streams()[0].id, version),
        (None, None) => None,
    };
    let conflicts = conditions.iter().filter_map(|fact| match fact {
        ConditionFact::Match(position) => *position,
        ConditionFact::Version(_) => None,
    });
    let in_window = recent.in_window(&event_id);
    let places = [(pointed, &facts.pointed), (conflicts.min(), &facts.conflict), (in_window, &facts.window)];
    for (position, known) in places {
        let Some(position) = position else { continue };
        match compare(known, position)? {
            Comparison::Same(events) => return Ok(Some(Decision::Duplicate(events))),
            // Answering with what stands there would lose what the caller has now.
            Comparison::OtherContents(position) => {
                return Ok(Some(Decision::Refused(Error::DuplicateEventId { event_id, position })));
            }
            Comparison::Other => {}
        }
    }
    Ok(in_window.map(|position| Decision::Refused(Error::DuplicateEventId { event_id, position })))
}

/// The error of the conditions that don't hold, if there are any.
fn refuse(conditions: &[CheckedCondition], facts: &[ConditionFact]) -> Option<Error> {
    let failed: Vec<FailedCondition> = (conditions.iter().zip(facts).enumerate())
        .filter_map(|(index, (condition, fact))| match (condition, fact) {
            (CheckedCondition::Version { stream, name, expected }, ConditionFact::Version(actual))
                if !expected.allows(*actual) =>
            {
                let (name, expected, actual) = (name.clone(), *expected, *actual);
                Some(FailedCondition::Version { index, stream_id: *stream, name, expected, actual })
            }
            (_, ConditionFact::Match(Some(position))) => Some(FailedCondition::Match { index, position: *position }),
            _ => None,
        })
        .collect();
    match failed.first()? {
        FailedCondition::Version { stream_id, expected, actual, .. } => {
            let (stream_id, expected, actual) = (*stream_id, *expected, *actual);
            Some(Error::WrongExpectedVersion { stream_id, expected, actual, failed })
        }
        FailedCondition::Match { index, position } => {
            let (index, position) = (*index, *position);
            Some(Error::QueryMatched { index, position, failed })
        }
    }
}

/// Compares an append with a stored one.
pub(crate) fn compare(append: &ValidAppend, frame: &Frame<'_>) -> Result<Comparison, FrameError> {
    if frame.header().event_count != append.event_count() {
        return Ok(Comparison::Other);
    }
    let mut same_contents = true;
    let mut events = Vec::with_capacity(append.event_count() as usize);
    for ((stream, proposed), stored) in append.events().zip(frame.events()) {
        let stored = stored?;
        if stored.stream_id != append.streams()[stream].id || Some(stored.event_id) != proposed.event_id {
            return Ok(Comparison::Other);
        }
        same_contents &= stored.event_type == proposed.event_type.as_str()
            && stored.tags.iter().eq(proposed.tags.iter().map(eventfold_codec::Tag::as_str))
            && stored.metadata == proposed.metadata
            && stored.payload == proposed.payload;
        events.push(stored.to_recorded());
    }
    Ok(if same_contents { Comparison::Same(events) } else { Comparison::OtherContents(frame.header().first_position) })
}
