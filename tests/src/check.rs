//! Whether all that clients were told is true of one order of the appends.
//!
//! The log is that order. What is held against it:
//!
//! - every event belongs to a whole append that somebody asked for, was not refused, and was asked for by then;
//! - its conditions held at its place;
//! - what was answered stands where the answer says, and whoever asked again was told the same;
//! - what was refused would have been refused, with the same facts, at some length that the log had meanwhile;
//! - a read shows the log as it was at one such length, between two appends;
//! - the length that clients are told never falls behind what any of them knew before.

use std::collections::{BTreeMap, BTreeSet};

use eventfold_db::RecordedEvent;
use uuid::Uuid;

use crate::asked::Asked;
use crate::history::{Answer, Call, Found, History, Question, Span};
use crate::model::{Decided, Model, is_of};

/// Something that can't be true. Calls and readings are told by their place in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The log has another position or version here than what it says.
    Misnumbered {
        /// Where.
        place: usize,
    },
    /// An append begins here that nobody asked for, or not so.
    NobodyAsked {
        /// Where.
        place: usize,
    },
    /// An append begins here that stands before.
    Twice {
        /// Where.
        place: usize,
    },
    /// An append begins here that all who asked for it were refused.
    Refused {
        /// Where.
        place: usize,
    },
    /// An append begins here before it was asked for, or ends behind where the log was when it was answered.
    OutOfTime {
        /// Where.
        place: usize,
    },
    /// An append begins here whose conditions did not hold.
    NotAllowed {
        /// Where.
        place: usize,
    },
    /// An append does not stand as it was answered.
    Lost {
        /// Which.
        call: usize,
    },
    /// An append could not be refused so.
    WrongRefusal {
        /// Which.
        call: usize,
    },
    /// A read does not show the log as it was.
    WrongRead {
        /// Which.
        reading: usize,
    },
    /// This length of the log is behind what was known before, is within an append, or has never been.
    WrongLength {
        /// What was told.
        length: u64,
    },
}

impl History {
    /// Holds it against the log as it stands when all is over.
    ///
    /// # Errors
    ///
    /// The first lie that is found.
    pub fn check(&self, log: Vec<RecordedEvent>) -> Result<Model, Lie> {
        numbered(&log)?;
        let borders = self.borders(&log)?;
        let model = Model::new(log, borders, self.calls.iter().flat_map(|call| names(&call.asked)));
        self.check_lengths(&model)?;
        let mut askers: BTreeMap<Uuid, Vec<&Call>> = BTreeMap::new();
        for call in &self.calls {
            askers.entry(first_id(&call.asked)).or_default().push(call);
        }
        for length in model.lengths(0, u64::MAX).filter(|length| *length < model.events().len()) {
            let askers = &askers[&model.events()[length].event_id];
            check_append(&model, length, askers)?;
        }
        for (index, call) in self.calls.iter().enumerate() {
            check_answer(&model, index, call)?;
        }
        for (index, reading) in self.readings.iter().enumerate() {
            let fits = |length| found(&model, &reading.question, length) == reading.found;
            if !model.lengths(reading.span.before, reading.span.after).any(fits) {
                return Err(Lie::WrongRead { reading: index });
            }
        }
        Ok(model)
    }

    /// The places where the log's appends begin.
    fn borders(&self, log: &[RecordedEvent]) -> Result<Vec<usize>, Lie> {
        let mut asked: BTreeMap<Uuid, Vec<&Asked>> = BTreeMap::new();
        for call in &self.calls {
            asked.entry(first_id(&call.asked)).or_default().push(&call.asked);
        }
        let (mut borders, mut seen, mut place) = (Vec::new(), BTreeSet::new(), 0);
        while let Some(first) = log.get(place) {
            let count_here = |asked: &&Asked| {
                let count = asked.events().count();
                log.get(place..place + count).filter(|stored| is_of(asked, stored)).map(|_| count)
            };
            // The longest: an append may be asked for again with more events, and their ids are nobody else's.
            let count = asked.get(&first.event_id).and_then(|asked| asked.iter().filter_map(count_here).max());
            let count = count.ok_or(Lie::NobodyAsked { place })?;
            if !seen.insert(first.event_id) {
                return Err(Lie::Twice { place });
            }
            borders.push(place);
            place += count;
        }
        Ok(borders)
    }

    fn spans(&self) -> impl Iterator<Item = &Span> {
        self.calls.iter().map(|call| &call.span).chain(self.readings.iter().map(|reading| &reading.span))
    }

    fn check_lengths(&self, model: &Model) -> Result<(), Lie> {
        // Up to each moment, the most that anybody has been told.
        let mut known = BTreeMap::new();
        for span in self.spans() {
            let most: &mut u64 = known.entry(span.ended).or_default();
            *most = span.after.max(*most);
        }
        let mut most = 0;
        for length in known.values_mut() {
            most = most.max(*length);
            *length = most;
        }
        for span in self.spans() {
            let known = known.range(..span.began).next_back().map_or(0, |(_, length)| *length);
            for (length, least) in [(span.before, known), (span.after, span.before)] {
                if length < least || model.lengths(length, length).next().is_none() {
                    return Err(Lie::WrongLength { length });
                }
            }
        }
        Ok(())
    }
}

/// One of those who asked for the append at this place has to have got it there.
fn check_append(model: &Model, place: usize, askers: &[&Call]) -> Result<(), Lie> {
    let end = model.end_of(place);
    let stored = &model.events()[place..end];
    let granted =
        |call: &&&Call| is_of(&call.asked, stored) && matches!(call.answer, Answer::Stands(_) | Answer::Dropped);
    let in_time = |call: &&&Call| {
        call.span.before <= place as u64 && (call.answer == Answer::Dropped || call.span.after >= end as u64)
    };
    let mut granted = askers.iter().filter(granted).peekable();
    granted.peek().ok_or(Lie::Refused { place })?;
    let mut in_time = granted.filter(in_time).peekable();
    in_time.peek().ok_or(Lie::OutOfTime { place })?;
    let allowed = in_time.any(|call| model.decide(&call.asked, place) == Decided::Accepted);
    allowed.then_some(()).ok_or(Lie::NotAllowed { place })
}

/// Positions and versions have no gaps.
fn numbered(log: &[RecordedEvent]) -> Result<(), Lie> {
    let mut versions: BTreeMap<Uuid, u64> = BTreeMap::new();
    for (place, event) in log.iter().enumerate() {
        let version = versions.entry(event.stream_id).or_default();
        if (event.global_position, event.stream_version) != (place as u64, *version) {
            return Err(Lie::Misnumbered { place });
        }
        *version += 1;
    }
    Ok(())
}

fn first_id(asked: &Asked) -> Uuid {
    let (_, first) = asked.events().next().expect("an append has events");
    first.event_id.expect("its events have ids")
}

fn names(asked: &Asked) -> impl Iterator<Item = String> {
    asked.runs.iter().map(|(stream, _)| stream.clone())
}

fn check_answer(model: &Model, index: usize, call: &Call) -> Result<(), Lie> {
    let mut lengths = model.lengths(call.span.before, call.span.after).map(|length| model.decide(&call.asked, length));
    match &call.answer {
        Answer::Stands(events) => {
            let place = events.first().and_then(|first| usize::try_from(first.global_position).ok());
            let stands = place.is_some_and(|place| {
                model.events().get(place..place + events.len()) == Some(events)
                    && is_of(&call.asked, events)
                    && (place + events.len()) as u64 <= call.span.after
            });
            stands.then_some(()).ok_or(Lie::Lost { call: index })
        }
        Answer::Failed(failed) => {
            let fails = lengths.any(|decided| matches!(decided, Decided::Failed(at_length) if at_length == *failed));
            fails.then_some(()).ok_or(Lie::WrongRefusal { call: index })
        }
        Answer::OtherAppend { position } => {
            let is_there = |decided| matches!(decided, Decided::OtherAppend(place) if place as u64 == *position);
            lengths.any(is_there).then_some(()).ok_or(Lie::WrongRefusal { call: index })
        }
        // Whether it stands all the same is seen where the log's appends are looked at.
        Answer::TurnedAway | Answer::NeverPolled | Answer::Dropped => Ok(()),
    }
}

/// What a read finds in a log of this length.
fn found(model: &Model, question: &Question, length: usize) -> Found {
    let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    match question {
        Question::Query { items, from, max_count, backward } => {
            let from = place(*from);
            let among = if *backward { 0..length.min(from.saturating_add(1)) } else { from.min(length)..length };
            let events = model.matching(items, among, place(*max_count), *backward);
            Found::Events(events.into_iter().cloned().collect())
        }
        Question::Stream { stream, from, max_count, backward } => {
            if model.version(stream, length).is_none() {
                return Found::NoStream;
            }
            let (events, max_count) = (model.stream(stream, length), place(*max_count));
            Found::Events(if *backward {
                events.take(place(*from).saturating_add(1)).rev().take(max_count).cloned().collect()
            } else {
                events.skip(place(*from)).take(max_count).cloned().collect()
            })
        }
        Question::Version { stream } => Found::Version(model.version(stream, length)),
    }
}

#[cfg(test)]
mod tests;
