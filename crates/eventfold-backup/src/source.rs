//! A backup as it is sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use eventfold_codec::{FIRST_FRAME_OFFSET, SegmentHeader};
use eventfold_store::{Error, EventLog, SealedFile, SnapshotFile};

use crate::manifest::{META, Manifest};

/// Bytes of a chunk, at the most: few messages, and well below what a message may have.
const CHUNK_BYTES: usize = 1 << 20;

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Which of the [manifest's](Manifest::files) files, from 0.
    pub file: usize,
    /// Where in it.
    pub offset: u64,
    /// Its bytes.
    pub data: Bytes,
}

/// A log at one moment, as what a backup of it takes.
#[derive(Debug)]
pub struct Source {
    manifest: Manifest,
    /// The files that are still to be sent, the last one first, by their places in the manifest.
    left: Vec<(usize, SnapshotFile)>,
    /// How much of the next one was sent.
    offset: u64,
}

impl Source {
    /// The log as it stands. Files are only read as [chunks](Self::next_chunk) are asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn new(log: &EventLog) -> Result<Self, Error> {
        let snapshot = log.snapshot();
        let files = snapshot.files()?;
        let manifest = Manifest::of(&snapshot, log.store_id(), &files);
        Ok(Self { manifest, left: files.into_iter().enumerate().rev().collect(), offset: 0 })
    }

    /// Which files there are.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Leaves out what of sealed segments is there already, unchanged. To be said before the first chunk is taken.
    pub fn leave_out(&mut self, held: &[SealedFile]) {
        let held: BTreeMap<_, _> = held.iter().map(|sealed| (sealed.segment, sealed)).collect();
        let is_held = |sealed: &SealedFile| held.get(&sealed.segment) == Some(&sealed);
        self.left.retain(|(_, file)| !file.sealed().is_some_and(is_held));
    }

    /// How many bytes are still to be sent.
    pub fn bytes_left(&self) -> u64 {
        self.left.iter().map(|(_, file)| file.len()).sum::<u64>() - self.offset
    }

    /// The next part of the next file; `None` when all were sent.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where it can't be read. Calling it again tries the same part again.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, Error> {
        let Some((file, source)) = self.left.last() else { return Ok(None) };
        let left = source.len() - self.offset;
        let count = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let mut data = vec![0; count];
        source.read_exact_at(&mut data, self.offset)?;
        if self.offset == 0 && source.name() != META {
            heal(&mut data);
        }
        let chunk = Chunk { file: *file, offset: self.offset, data: data.into() };
        self.offset += count as u64;
        if self.offset == source.len() {
            self.left.pop();
            self.offset = 0;
        }
        Ok(Some(chunk))
    }
}

/// Makes a segment's header whole where one of its two copies is damaged, as opening the store would: its digest is that of the
/// bytes as they belong.
fn heal(bytes: &mut [u8]) {
    let head_len = usize::try_from(FIRST_FRAME_OFFSET).unwrap_or(usize::MAX).min(bytes.len());
    if let Ok(Some((offset, copy))) = SegmentHeader::healed_copy(&bytes[..head_len])
        && let Some(damaged) = usize::try_from(offset).ok().and_then(|at| bytes.get_mut(at..at + copy.len()))
    {
        damaged.copy_from_slice(&copy);
    }
}
