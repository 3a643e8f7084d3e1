//! What was asked of the disk and how it answered: to see that two runs were the same, and where they parted.

use std::fmt;
use std::sync::Arc;

use super::random::mix;
use crate::error::{IoErrorKind, Operation};

/// One operation of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceEntry {
    /// Counted from 1.
    pub number: u64,
    /// What was asked.
    pub operation: Operation,
    /// Of which file.
    pub name: Option<Arc<str>>,
    /// The name it was to get.
    pub target: Option<Arc<str>>,
    /// Where in the file, and how much.
    pub range: Option<(u64, u64)>,
    /// How it went.
    pub outcome: Result<(), IoErrorKind>,
}

impl fmt::Display for TraceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.number, self.operation)?;
        for name in [&self.name, &self.target].into_iter().flatten() {
            write!(f, " {name}")?;
        }
        if let Some((offset, len)) = self.range {
            write!(f, " {offset}+{len}")?;
        }
        match self.outcome {
            Ok(()) => Ok(()),
            Err(kind) => write!(f, " -> {kind:?}"),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    hash: u64,
    entries: Option<Vec<TraceEntry>>,
}

impl Trace {
    pub(super) fn record(&mut self) {
        self.entries.get_or_insert_default();
    }

    pub(super) fn entries(&self) -> &[TraceEntry] {
        self.entries.as_deref().unwrap_or_default()
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn push(&mut self, entry: TraceEntry, data: u64) {
        self.stir(entry.number);
        self.stir(entry.operation as u64);
        for name in [&entry.name, &entry.target] {
            self.stir(name.as_ref().map_or(0, |name| hash_bytes(name.as_bytes())));
        }
        let (offset, len) = entry.range.unwrap_or((u64::MAX, u64::MAX));
        self.stir(offset);
        self.stir(len);
        self.stir(match entry.outcome {
            Ok(()) => 0,
            Err(kind) => 1 + kind as u64,
        });
        self.stir(data);
        if let Some(entries) = &mut self.entries {
            entries.push(entry);
        }
    }

    pub(super) fn stir(&mut self, word: u64) {
        self.hash = mix(self.hash ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
    }
}

/// Not a checksum: it only tells runs apart. Four words at a time, since every byte that is read goes through here.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    let mut lanes = [bytes.len() as u64, 1, 2, 3];
    for block in blocks.iter().chain([&last]) {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(0x9FB2_1C65_1E98_DF25).rotate_left(29);
        }
    }
    lanes.into_iter().fold(0, |hash, lane| mix(hash ^ lane).wrapping_add(1))
}
