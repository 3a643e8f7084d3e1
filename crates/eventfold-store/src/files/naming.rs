//! The names of the files in a store's directory.

use std::fmt;

/// The highest level of a merged directory. One of the first level covers 16 segments, and 16⁹ are more than there are
/// segment numbers.
pub(crate) const LEVEL_MAX: u8 = 9;

/// The last attempt at one recovery that has a name of its own.
pub(crate) const ATTEMPT_MAX: u8 = 99;

const UNFINISHED: &str = ".new";

/// What a file is, as its name says.
///
/// Parsing is strict: a name that [`Display`](fmt::Display) would not write is [`Foreign`](FileName::Foreign), so that no
/// file is taken for another and nothing is removed that the store did not write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileName {
    /// The file whose lock keeps others out.
    Lock,
    /// What the store says of itself.
    Meta,
    /// A segment, by its number.
    Segment(u32),
    /// A checkpoint of the segment with this number.
    Checkpoint(u32),
    /// A merged directory.
    Directory {
        /// The first segment it covers.
        first: u32,
        /// How often it was merged, from 1 to [`LEVEL_MAX`].
        level: u8,
    },
    /// What a recovery drops, until that recovery is done.
    Pending {
        /// The incarnation that the recovery starts.
        incarnation: u32,
        /// Which attempt at it, from 0 to [`ATTEMPT_MAX`].
        attempt: u8,
    },
    /// What a recovery dropped, kept for an operator.
    Dropped {
        /// The incarnation that the recovery started.
        incarnation: u32,
        /// Which attempt at it, from 0 to [`ATTEMPT_MAX`].
        attempt: u8,
    },
    /// A file whose writing was cut, by its whole name. A writable open removes it.
    Unfinished(String),
    /// A file that is not the store's.
    Foreign(String),
}

impl FileName {
    /// What a file of this name is.
    pub(crate) fn parse(name: &str) -> Self {
        if let Some(known) = Self::parse_known(name) {
            return known;
        }
        match name.strip_suffix(UNFINISHED).and_then(Self::parse_known) {
            Some(finished) if finished.is_written_aside() => Self::Unfinished(name.to_owned()),
            _ => Self::Foreign(name.to_owned()),
        }
    }

    /// The name under which this file is written, until it is whole and synced and gets its own.
    pub(crate) fn unfinished(&self) -> Self {
        debug_assert!(self.is_written_aside(), "{self} is never written under another name");
        Self::Unfinished(format!("{self}{UNFINISHED}"))
    }

    /// The lock has no contents, and what was dropped gets its name from the pending side file.
    fn is_written_aside(&self) -> bool {
        match self {
            Self::Meta | Self::Segment(_) | Self::Checkpoint(_) | Self::Directory { .. } | Self::Pending { .. } => true,
            Self::Lock | Self::Dropped { .. } | Self::Unfinished(_) | Self::Foreign(_) => false,
        }
    }

    fn parse_known(name: &str) -> Option<Self> {
        match name {
            "LOCK" => return Some(Self::Lock),
            "store.meta" => return Some(Self::Meta),
            _ => {}
        }
        let (stem, extension) = name.split_once('.')?;
        Some(match extension {
            "segment" => Self::Segment(number(stem)?),
            "checkpoint" => Self::Checkpoint(number(stem)?),
            "directory" => {
                let (first, level) = numbers(stem, 1)?;
                (1..=LEVEL_MAX).contains(&level).then_some(Self::Directory { first, level })?
            }
            "pending" => numbers(stem, 2).map(|(incarnation, attempt)| Self::Pending { incarnation, attempt })?,
            "dropped" => numbers(stem, 2).map(|(incarnation, attempt)| Self::Dropped { incarnation, attempt })?,
            _ => return None,
        })
    }
}

/// Ten digits that are a `u32`.
fn number(text: &str) -> Option<u32> {
    digits(text, 10)?.parse().ok()
}

/// Ten digits, a hyphen, and `width` digits more.
fn numbers(text: &str, width: usize) -> Option<(u32, u8)> {
    let (first, second) = text.split_once('-')?;
    Some((number(first)?, digits(second, width)?.parse().ok()?))
}

fn digits(text: &str, width: usize) -> Option<&str> {
    (text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock => f.write_str("LOCK"),
            Self::Meta => f.write_str("store.meta"),
            Self::Segment(number) => write!(f, "{number:010}.segment"),
            Self::Checkpoint(number) => write!(f, "{number:010}.checkpoint"),
            Self::Directory { first, level } => write!(f, "{first:010}-{level}.directory"),
            Self::Pending { incarnation, attempt } => write!(f, "{incarnation:010}-{attempt:02}.pending"),
            Self::Dropped { incarnation, attempt } => write!(f, "{incarnation:010}-{attempt:02}.dropped"),
            Self::Unfinished(name) | Self::Foreign(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_of_name_is_known() {
        for (name, parsed) in [
            ("LOCK", FileName::Lock),
            ("store.meta", FileName::Meta),
            ("0000000000.segment", FileName::Segment(0)),
            ("0000000003.segment", FileName::Segment(3)),
            ("4294967295.segment", FileName::Segment(u32::MAX)),
            ("0000000012.checkpoint", FileName::Checkpoint(12)),
            ("0000000016-1.directory", FileName::Directory { first: 16, level: 1 }),
            ("0000000000-9.directory", FileName::Directory { first: 0, level: 9 }),
            ("0000000007-00.pending", FileName::Pending { incarnation: 7, attempt: 0 }),
            ("0000000007-99.dropped", FileName::Dropped { incarnation: 7, attempt: 99 }),
        ] {
            assert_eq!(FileName::parse(name), parsed);
            assert_eq!(parsed.to_string(), name);
        }
    }

    #[test]
    fn a_name_that_the_store_would_not_write_is_foreign() {
        for name in [
            "",
            ".new",
            "LOCK.new",
            "lock",
            "Store.meta",
            "store.meta.new.new",
            "3.segment",
            "000000003.segment",
            "00000000003.segment",
            "+000000003.segment",
            "000000000\u{663}.segment",
            "4294967296.segment",
            "9999999999.checkpoint",
            "0000000003.segment ",
            "0000000003.SEGMENT",
            "0000000003.segment.bak",
            "0000000003",
            "0000000003.",
            "0000000016.directory",
            "0000000016-0.directory",
            "0000000016-10.directory",
            "0000000016-+.directory",
            "0000000007.pending",
            "0000000007-1.pending",
            "0000000007-100.pending",
            "0000000007--1.dropped",
            "0000000007-01.dropped.new",
        ] {
            assert_eq!(FileName::parse(name), FileName::Foreign(name.to_owned()));
        }
    }

    #[test]
    fn what_was_cut_is_told_from_what_is_whole() {
        for name in ["store.meta.new", "0000000003.segment.new", "0000000007-01.pending.new"] {
            assert_eq!(FileName::parse(name), FileName::Unfinished(name.to_owned()));
        }
        assert_eq!(FileName::Checkpoint(4).unfinished().to_string(), "0000000004.checkpoint.new");
    }

    fn written() -> impl Strategy<Value = FileName> {
        prop_oneof![
            Just(FileName::Lock),
            Just(FileName::Meta),
            any::<u32>().prop_map(FileName::Segment),
            any::<u32>().prop_map(FileName::Checkpoint),
            (any::<u32>(), 1..=LEVEL_MAX).prop_map(|(first, level)| FileName::Directory { first, level }),
            (any::<u32>(), 0..=ATTEMPT_MAX)
                .prop_map(|(incarnation, attempt)| FileName::Pending { incarnation, attempt }),
            (any::<u32>(), 0..=ATTEMPT_MAX)
                .prop_map(|(incarnation, attempt)| FileName::Dropped { incarnation, attempt }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_the_disk_allows_it(name in written()) {
            let text = name.to_string();
            prop_assert!(eventfold_io::check_name(&text).is_ok());
            prop_assert_eq!(FileName::parse(&text), name.clone());
            if name.is_written_aside() {
                let unfinished = name.unfinished();
                prop_assert!(eventfold_io::check_name(&unfinished.to_string()).is_ok());
                prop_assert_eq!(FileName::parse(&unfinished.to_string()), unfinished);
            }
        }

        #[test]
        fn any_text_keeps_its_spelling(text in "[0-9]{9,11}(-[0-9]{0,3})?\\.?(segment|checkpoint|directory|pending|dropped)?(\\.new)?|\\PC*") {
            prop_assert_eq!(FileName::parse(&text).to_string(), text);
        }
    }
}
