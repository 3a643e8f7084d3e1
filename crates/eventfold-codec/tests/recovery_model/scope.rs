//! What is explored: how much the writer and the adversary may do, and which rules are left out.

use crate::property::Property;

/// A rule of recovery, or of the writer on which recovery relies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A frame of a lower incarnation than the one before it ends the log and proves nothing.
    IncarnationCheck,
    /// What is dropped is overwritten with zeroes.
    Zeroing,
    /// Until the side file is marked done, every recovery zeroes again.
    SideFileMark,
    /// What is rewritten and zeroed is synced before the frame of the new incarnation is written.
    SyncBeforeIncarnation,
    /// The frame of the new incarnation is synced before anything is served or appended.
    SyncedIncarnation,
    /// There is a frame of the new incarnation.
    IncarnationFrame,
    /// A later frame's `durable_through` proves that bytes are gone.
    Evidence,
    /// Recovery looks past the first thing that is no frame.
    LookingOn,
    /// Recovery looks into segments that are not linked.
    LaterSegments,
    /// What is not proven is written again before it is served.
    Rewriting,
    /// A link is written only when everything below it is synced.
    SyncedLink,
    /// `durable_through` is lower than the group's start where an unsynced watermark precedes it.
    HonestMark,
}

/// The rules that are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules(u16);

impl Rules {
    pub(crate) const ALL: Self = Self(u16::MAX);

    pub(crate) fn without(rules: &[Rule]) -> Self {
        Self(rules.iter().fold(u16::MAX, |kept, rule| kept & !(1 << *rule as u16)))
    }

    pub(crate) fn keep(self, rule: Rule) -> bool {
        self.0 & 1 << rule as u16 != 0
    }
}

/// How often the adversary may still strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Kills and power cuts.
    pub(crate) crashes: u8,
    /// Syncs that fail, whose pages look clean from then on.
    pub(crate) failures: u8,
    /// Units that the disk forgets.
    pub(crate) rots: u8,
    /// Writes that a successful sync leaves out.
    pub(crate) losses: u8,
}

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    pub(crate) name: &'static str,
    /// Units of the two segments.
    pub(crate) sizes: [u8; 2],
    /// The groups that the writer appends: the events of each of their frames.
    pub(crate) groups: &'static [&'static [u8]],
    /// How many groups, watermarks, closes and rolls the writer does in all.
    pub(crate) writes: u8,
    /// How many units one crash or failed sync may tear; more are whole or not there.
    pub(crate) tears: u8,
    pub(crate) budget: Budget,
    pub(crate) rules: Rules,
    /// The properties that end the search when one is broken.
    pub(crate) properties: &'static [Property],
}
