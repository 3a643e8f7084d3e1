//! What every recovery must keep to.

use std::fmt;

/// A property, named by how it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Property {
    /// An acknowledged or served event is gone, and the disk is at no fault.
    EventLost,
    /// An event that the disk lost is gone without a word, though a later synced frame vouched for it, or behind an end
    /// that claims to be closed.
    SilentLoss,
    /// A frame that a recovery dropped is part of the log again, or one that no writer wrote there.
    CameBack,
    /// Corruption is reported, and the disk is at no fault.
    FalseCorruption,
    /// The log's next position is not where its last event ends.
    PositionGap,
    /// What counts as proven is not on the disk: read-only opening would serve it.
    FalselyProven,
    /// A synced frame without events is gone, though nothing else would have shown the difference.
    FrameLost,
    /// The writer closed cleanly, and the end is not reported as closed.
    CloseMissed,
}

impl Property {
    /// Those that a user of the store would feel.
    pub(crate) const FELT: &[Self] =
        &[Self::EventLost, Self::SilentLoss, Self::CameBack, Self::FalseCorruption, Self::PositionGap];

    pub(crate) const ALL: &[Self] = &[
        Self::EventLost,
        Self::SilentLoss,
        Self::CameBack,
        Self::FalseCorruption,
        Self::PositionGap,
        Self::FalselyProven,
        Self::FrameLost,
        Self::CloseMissed,
    ];
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EventLost => "an acknowledged or served event is lost",
            Self::SilentLoss => "an event that a later sync vouched for is lost silently",
            Self::CameBack => "a dropped frame came back",
            Self::FalseCorruption => "corruption is reported, and the disk is at no fault",
            Self::PositionGap => "positions are not contiguous",
            Self::FalselyProven => "what is called proven is not on the disk",
            Self::FrameLost => "a synced frame without events is lost",
            Self::CloseMissed => "a clean close is not recognised",
        })
    }
}
