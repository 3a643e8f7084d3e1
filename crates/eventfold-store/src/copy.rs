//! The files that a log consists of at one moment, to be copied while it goes on.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use eventfold_codec::{FIRST_FRAME_OFFSET, SegmentHeader, TAIL_ZEROES_LEN};
use eventfold_io::{Access, IoError, IoErrorKind, Operation};

use crate::error::Error;
use crate::files::FileName;
use crate::log::Snapshot;
use crate::segment::OpenSegment;
use crate::storage::{DataFile, Storage, usize_of};

impl Snapshot {
    /// The files that a copy of the log needs, while it is appended to: sealed segments whole, the others up to what is
    /// durable, and `store.meta`. A directory with just these files is a store, with all events of the snapshot and perhaps
    /// some that became durable since; opening it, and [`verify`](crate::verify), find no damage.
    ///
    /// What they hold below their [`len`](SnapshotFile::len) does not change any more, so they can be copied in any order, for as
    /// long as that takes.
    ///
    /// ```
    /// use eventfold_store::{ExpectedVersion, ProposedEvent, Store, verify};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let (path, copy) = (directory.path().join("store"), directory.path().join("copy"));
    /// let mut store = Store::open(&path)?;
    /// store.append("account-7", ExpectedVersion::NoStream, vec![ProposedEvent::new("Opened", "{}")])?;
    ///
    /// std::fs::create_dir(&copy)?;
    /// for file in store.log().snapshot().files()? {
    ///     let mut bytes = vec![0; usize::try_from(file.len())?];
    ///     file.read_exact_at(&mut bytes, 0)?;
    ///     bytes.resize(usize::try_from(file.file_len())?, 0);
    ///     std::fs::write(copy.join(file.name()), bytes)?;
    /// }
    /// let report = verify(&copy, |_| {})?;
    /// assert!(report.is_sound());
    /// assert_eq!(report.events, 1);
    /// # store.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where a file can't be opened or read.
    pub fn files(&self) -> Result<Vec<SnapshotFile>, Error> {
        let meta = Bytes::from(self.meta().encode());
        let len = meta.len() as u64;
        let source = Source::Memory(meta);
        let mut files =
            vec![SnapshotFile { name: FileName::Meta.to_string(), len, file_len: len, sealed: None, source }];
        for segment in &self.parts.sealed {
            let summary = &segment.summary;
            let sealed = SealedFile {
                segment: segment.number(),
                data_end: summary.data_end,
                previous_digest: summary.previous_byte_digest.0,
                digest: summary.byte_digest.0,
            };
            let len = self.shared.storage.disk().file_len(segment.file.name())?;
            files.push(SnapshotFile { sealed: Some(sealed), ..self.file(segment.number(), len, len) });
        }
        for segment in &self.parts.open {
            let end = segment.durable_end();
            files.push(self.file(segment.number(), end, unsealed_len(segment, end)));
        }
        if let Some(last) = self.parts.open.last() {
            files.extend(self.prepared(last)?);
        }
        Ok(files)
    }

    /// The segment behind the last one, if its file is there: what stands in the last one may name it, and a log of which a
    /// file is missing that was named is refused. No more of it than its header is taken.
    fn prepared(&self, last: &OpenSegment) -> Result<Option<SnapshotFile>, Error> {
        let Some(number) = last.number().checked_add(1) else { return Ok(None) };
        let file = match self.shared.storage.disk().open(&FileName::Segment(number).to_string(), Access::Read) {
            Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut head = vec![0; usize_of(FIRST_FRAME_OFFSET)];
        if file.read_at(&mut head, 0)? < head.len() {
            return Ok(None);
        }
        // One whose making is under way is not named yet.
        let Ok((header, _)) = SegmentHeader::decode(&head) else { return Ok(None) };
        if header.number != number || header.store_id != last.header.store_id {
            return Ok(None);
        }
        Ok(Some(self.file(number, FIRST_FRAME_OFFSET, header.capacity())))
    }

    fn file(&self, segment: u32, len: u64, file_len: u64) -> SnapshotFile {
        let (name, storage) = (FileName::Segment(segment).to_string(), self.shared.storage.clone());
        let source = Source::Disk { file: Arc::new(storage.file(name.clone())), storage };
        SnapshotFile { name, len, file_len, sealed: None, source }
    }
}

/// How long a file is that ends at `end` and is not sealed: its capacity, or what an append that is larger needs.
fn unsealed_len(segment: &OpenSegment, end: u64) -> u64 {
    segment.header.capacity().max((end + TAIL_ZEROES_LEN).next_multiple_of(4096))
}

/// A file of a log at one moment. See [`Snapshot::files`].
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    name: String,
    len: u64,
    file_len: u64,
    sealed: Option<SealedFile>,
    source: Source,
}

/// What a sealed segment's footer says of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedFile {
    /// Its number.
    pub segment: u32,
    /// Where its frames end, and its index begins.
    pub data_end: u64,
    /// The digest of the segment before; zeroes for the first.
    pub previous_digest: [u8; 32],
    /// The BLAKE3 digest of that one and of the bytes up to `data_end`.
    pub digest: [u8; 32],
}

#[derive(Clone, Debug)]
enum Source {
    Memory(Bytes),
    /// Opened when it is read: there may be more files than can be open at once.
    Disk {
        file: Arc<DataFile>,
        storage: Arc<Storage>,
    },
}

#[expect(clippy::len_without_is_empty, reason = "every file has a header")]
impl SnapshotFile {
    /// The name that the file has in a store's directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes of it are to be copied.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// How long the copy has to be: what stands behind [`len`](Self::len) has to be zeroes.
    pub fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Of a sealed segment, what its bytes have to be. It is never changed again, so a copy of it serves all later copies of
    /// the log.
    pub fn sealed(&self) -> Option<&SealedFile> {
        self.sealed.as_ref()
    }

    /// Fills the buffer with the bytes at `offset`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where they can't be read, or the file ends before.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        match &self.source {
            Source::Disk { file, storage } => storage.read_into(file, offset, buffer)?,
            Source::Memory(bytes) => {
                let range = usize::try_from(offset).ok().and_then(|from| bytes.get(from..)?.get(..buffer.len()));
                let ended = || {
                    let error = IoError::new(Operation::Read, io::ErrorKind::UnexpectedEof.into());
                    error.with_name(&self.name).with_range(offset, buffer.len() as u64)
                };
                buffer.copy_from_slice(range.ok_or_else(ended)?);
            }
        }
        Ok(())
    }
}
