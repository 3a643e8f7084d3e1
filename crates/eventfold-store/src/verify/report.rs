//! What verifying a store tells: how far it has come, what is wrong, and what that costs.

use std::cmp::Reverse;
use std::ops::Range;

use eventfold_codec::recovery::{Broken, Extent, TailEnd};
use eventfold_codec::{FooterError, FrameError, HeaderCopyError};
use eventfold_io::IoError;
use uuid::Uuid;

use crate::error::{Damage, Error};
use crate::files::{FileError, FileName};

/// How far verifying a store has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// The segment that is being read.
    pub segment: u32,
    /// Bytes of segments that were read.
    pub bytes_done: u64,
    /// Bytes of all segments.
    pub bytes_total: u64,
}

/// What verifying a store found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// How many segments there are, prepared ones included.
    pub segments: u64,
    /// How many of them are sealed.
    pub sealed_segments: u64,
    /// How many sound frames there are.
    pub frames: u64,
    /// How many of them are appends.
    pub appends: u64,
    /// How many events these have.
    pub events: u64,
    /// The length of all files of the store.
    pub bytes: u64,
    /// How the log ends, as opening the store would find it; `None` where it would be refused, and where it is open.
    pub end: Option<TailEnd>,
    /// The position behind the last event that opening the store would keep; of a log that is open, behind the last that is
    /// durable.
    pub position: u64,
    /// What opening the store would drop: an unfinished write behind the log's end. It is no damage.
    pub dropped: Vec<Extent>,
    /// What is wrong: what costs most first, and else in the order in which it was found.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Whether nothing is wrong. An unfinished write at the end of the log is nothing wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// The worst of what was found costs this; `None` where nothing is wrong.
    pub fn worst(&self) -> Option<Consequence> {
        self.findings.iter().map(|finding| finding.consequence).max()
    }
}

/// Something that is wrong with a file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The file.
    pub file: String,
    /// Where in it, where that can be told.
    pub offset: Option<u64>,
    /// What is wrong.
    pub cause: FindingCause,
    /// The positions of the events that can't be read for it, where there are any and that can be told.
    pub positions: Option<Range<u64>>,
    /// What it costs.
    pub consequence: Consequence,
}

impl Finding {
    /// Whether it is frames that events can't be read for, and not what says where they stand.
    pub(super) fn is_of_frames(&self) -> bool {
        let is_of_an_index = matches!(self.cause, FindingCause::Footer(_) | FindingCause::File { .. });
        self.consequence == Consequence::EventsUnreadable && !is_of_an_index
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        write!(f, ": {}", self.cause)?;
        if let Some(positions) = &self.positions {
            write!(f, " (positions {} to {})", positions.start, positions.end.saturating_sub(1))?;
        }
        Ok(())
    }
}

/// What a [`Finding`] costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Consequence {
    /// Nothing: opening the store, or reading it, makes what is damaged again from what is not.
    Heals,
    /// The log is whole, but what was dropped from it once is no longer kept as it was.
    KeptCopyLost,
    /// Some events can't be read. All others can. Where that is in a segment that is not sealed yet, it can't be sealed either,
    /// and opening does not see it only for as long as a checkpoint spares it the frames; without one it refuses the store.
    /// Where a part of the same segment's index is damaged too, that can't be made again: its other events are read by their
    /// positions, and what has to look something up in it is an error, appends included.
    EventsUnreadable,
    /// What is there can be read, and contradicts itself: who wrote it was wrong.
    Untrusted,
    /// The store is not opened before it is repaired.
    Refused,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindingCause {
    /// What makes opening refuse the store.
    #[error(transparent)]
    Damage(Damage),
    /// The disk could not read it.
    #[error(transparent)]
    Io(IoError),
    /// One of the two copies of a segment's header.
    #[error("a copy of the header: {0}")]
    HeaderCopy(HeaderCopyError),
    /// A frame.
    #[error("{0}")]
    Frame(FrameError),
    /// A frame that does not follow the one before.
    #[error("{0}")]
    Order(Broken),
    /// A stream whose versions have a gap or repeat.
    #[error("stream {stream_id} goes on at version {found}, expected {expected}")]
    StreamVersion {
        /// The stream.
        stream_id: Uuid,
        /// The version its next event has to have.
        expected: u64,
        /// The version that it has.
        found: u64,
    },
    /// A footer, or a part of one.
    #[error("the footer: {0}")]
    Footer(FooterError),
    /// What a file says is not what the frames say.
    #[error("{what} not what the frames make it")]
    Differs {
        /// What of it.
        what: &'static str,
    },
    /// A small file of the directory.
    #[error("{what}")]
    File {
        /// What is wrong with it.
        what: String,
    },
}

impl VerifyReport {
    pub(super) fn add(&mut self, file: String, offset: Option<u64>, cause: FindingCause, consequence: Consequence) {
        self.findings.push(Finding { file, offset, cause, positions: None, consequence });
    }

    /// Takes note of a `store.meta` that is damaged, or missing where there is no error.
    pub(super) fn meta_damaged(&mut self, error: Option<&FileError>) {
        let what = error.map_or_else(|| "it is missing".to_owned(), ToString::to_string);
        self.add(FileName::Meta.to_string(), None, FindingCause::File { what }, Consequence::Heals);
    }

    /// Opening has the last word: what it does not refuse the store for costs less, and what it does refuse it for is told.
    pub(super) fn settle(&mut self, refused: Option<Error>) -> Result<(), Error> {
        match refused {
            None => {
                // Verifying asks more of footers than opening does.
                let is_of_a_footer = |finding: &&mut Finding| {
                    let cause = &finding.cause;
                    let is_broken = matches!(cause, FindingCause::Damage(Damage::BrokenChain { .. }));
                    finding.consequence == Consequence::Refused
                        && (is_broken || matches!(cause, FindingCause::Footer(_)))
                };
                for finding in self.findings.iter_mut().filter(is_of_a_footer) {
                    finding.consequence = Consequence::Untrusted;
                }
            }
            Some(Error::Io(error)) => {
                let (file, offset) = (error.name().unwrap_or_default().to_owned(), error.offset());
                self.refused_for(file, offset, FindingCause::Io(error));
            }
            Some(Error::Corrupt(damage)) => {
                let (file, offset) = damage.place();
                self.refused_for(file, offset, FindingCause::Damage(*damage));
            }
            Some(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes note of what opening refuses the store for, unless it was found there.
    fn refused_for(&mut self, file: String, offset: Option<u64>, cause: FindingCause) {
        let is_told = self.findings.iter().any(|finding| {
            finding.consequence == Consequence::Refused
                && finding.file == file
                && (offset.is_none() || finding.offset == offset)
        });
        if !is_told {
            self.add(file, offset, cause, Consequence::Refused);
        }
    }

    /// Brings what costs most to the front.
    pub(super) fn sort(&mut self) {
        self.findings.sort_by_key(|finding| Reverse(finding.consequence));
    }

    /// Takes note of what makes opening refuse the store. What is no damage is an error here too.
    pub(super) fn refused(&mut self, file: String, offset: Option<u64>, error: Error) -> Result<(), Error> {
        let Error::Corrupt(damage) = error else { return Err(error) };
        self.add(file, offset, FindingCause::Damage(*damage), Consequence::Refused);
        Ok(())
    }
}
