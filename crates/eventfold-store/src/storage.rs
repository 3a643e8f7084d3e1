//! Reading files: positioned reads through a cache of blocks, and a bound on open files.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use eventfold_io::{Access, Disk, DiskFile, IoError};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Lifecycle, UnitWeighter, Weighter};

use crate::cached_only;
use crate::sync::HashBuilder;

/// Bytes of a block. A read that is not cached fetches one; smaller ones cost more reads, larger ones more memory for
/// events that are read once: 16 KiB is a few dozen typical events.
pub(crate) const BLOCK_LEN: u64 = 16 << 10;

/// A range of more blocks than this is read past the cache, which it would only sweep.
const CACHED_BLOCKS_MAX: u64 = 8;

/// What an entry of the cache takes besides its bytes: its key, its place in the tables, the reference count.
const ENTRY_OVERHEAD: u64 = 96;

/// A file that is read: its name, an identity that is never used again, and its handle where that has to stay open.
#[derive(Debug)]
pub(crate) struct DataFile {
    id: u64,
    name: Box<str>,
    pinned: Option<Arc<dyn DiskFile>>,
}

impl DataFile {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// What is in memory of the files, and how well that serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Lookups that found what they looked for.
    pub hits: u64,
    /// Lookups that had to read.
    pub misses: u64,
    /// Entries that were dropped for others.
    pub evictions: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Bytes that may be held.
    pub capacity: u64,
}

/// A cache that is bounded by the number of its entries.
pub(crate) type CountedCache<K, V> = Cache<K, V, UnitWeighter, HashBuilder>;

pub(crate) fn counted_cache<K: Eq + Hash, V: Clone>(max: usize) -> CountedCache<K, V> {
    Cache::with(max, max as u64, UnitWeighter, HashBuilder::default(), DefaultLifecycle::default())
}

/// The disk as readers see it.
#[derive(Debug)]
pub(crate) struct Storage {
    disk: Arc<dyn Disk>,
    blocks: Cache<BlockKey, Bytes, ByLength, HashBuilder, CountEvictions>,
    files: CountedCache<u64, Arc<dyn DiskFile>>,
    next_id: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct BlockKey {
    file: u64,
    /// Blocks of frames count from 0; what else is cached of a file sets the upper bits.
    unit: u64,
}

#[derive(Clone, Debug)]
struct ByLength;

impl Weighter<BlockKey, Bytes> for ByLength {
    fn weight(&self, _: &BlockKey, block: &Bytes) -> u64 {
        block.len() as u64 + ENTRY_OVERHEAD
    }
}

#[derive(Clone, Debug)]
struct CountEvictions(Arc<AtomicU64>);

impl Lifecycle<BlockKey, Bytes> for CountEvictions {
    type RequestState = <DefaultLifecycle<BlockKey, Bytes> as Lifecycle<BlockKey, Bytes>>::RequestState;

    fn begin_request(&self) -> Self::RequestState {
        DefaultLifecycle::<BlockKey, Bytes>::default().begin_request()
    }

    fn on_evict(&self, _: &mut Self::RequestState, _: BlockKey, _: Bytes) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Storage {
    pub(crate) fn new(disk: Arc<dyn Disk>, cache_bytes: u64, max_open_files: usize) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let items = usize::try_from(cache_bytes / BLOCK_LEN).unwrap_or(usize::MAX).max(64);
        let lifecycle = CountEvictions(evictions.clone());
        Self {
            disk,
            blocks: Cache::with(items, cache_bytes, ByLength, HashBuilder::default(), lifecycle),
            files: counted_cache(max_open_files),
            next_id: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evictions,
        }
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// A file that is opened when it is read, and may be closed in between.
    pub(crate) fn file(&self, name: String) -> DataFile {
        DataFile { id: self.next_id.fetch_add(1, Ordering::Relaxed), name: name.into(), pinned: None }
    }

    /// A file whose handle stays open.
    pub(crate) fn pinned(&self, handle: Arc<dyn DiskFile>) -> DataFile {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        DataFile { id, name: handle.name().into(), pinned: Some(handle) }
    }

    /// The same file, with what is cached of it, without holding its handle.
    pub(crate) fn unpinned(file: &DataFile) -> DataFile {
        DataFile { id: file.id, name: file.name.clone(), pinned: None }
    }

    fn handle(&self, file: &DataFile) -> Result<Arc<dyn DiskFile>, IoError> {
        cached_only::check(&file.name)?;
        if let Some(handle) = &file.pinned {
            return Ok(handle.clone());
        }
        self.files.get_or_insert_with(&file.id, || self.disk.open(&file.name, Access::Read))
    }

    /// Reads past the cache.
    pub(crate) fn read_into(&self, file: &DataFile, offset: u64, buffer: &mut [u8]) -> Result<(), IoError> {
        self.handle(file)?.read_exact_at(buffer, offset)
    }

    /// `len` bytes at `offset`, and how many bytes they keep in memory. Blocks that end at or below `settled` never change,
    /// so they are kept.
    pub(crate) fn read(&self, file: &DataFile, offset: u64, len: u64, settled: u64) -> Result<(Bytes, usize), IoError> {
        let first = offset / BLOCK_LEN;
        let last = (offset + len.max(1) - 1) / BLOCK_LEN;
        if first == last {
            let block = self.block(file, first, offset + len, settled)?;
            let start = usize_of(offset - first * BLOCK_LEN);
            return Ok((block.slice(start..start + usize_of(len)), block.len()));
        }
        let mut bytes = vec![0; usize_of(len)];
        if last - first >= CACHED_BLOCKS_MAX {
            self.read_into(file, offset, &mut bytes)?;
            let backing = bytes.len();
            return Ok((bytes.into(), backing));
        }
        let mut filled = 0;
        for number in first..=last {
            let start = offset.max(number * BLOCK_LEN);
            let end = (offset + len).min((number + 1) * BLOCK_LEN);
            let block = self.block(file, number, end, settled)?;
            let from = usize_of(start - number * BLOCK_LEN);
            let part = &block[from..from + usize_of(end - start)];
            bytes[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        }
        Ok((bytes.into(), filled))
    }

    /// The block that has the byte at `offset`, and where it starts. `None` where it may still change.
    pub(crate) fn settled_block(
        &self,
        file: &DataFile,
        offset: u64,
        settled: u64,
    ) -> Result<Option<(u64, Bytes)>, IoError> {
        let number = offset / BLOCK_LEN;
        let (start, end) = (number * BLOCK_LEN, (number + 1) * BLOCK_LEN);
        if end > settled {
            return Ok(None);
        }
        Ok(Some((start, self.block(file, number, end, settled)?)))
    }

    /// Block `number` of a file, at least up to the offset `end`.
    fn block(&self, file: &DataFile, number: u64, end: u64, settled: u64) -> Result<Bytes, IoError> {
        let start = number * BLOCK_LEN;
        let read = |end: u64| {
            let mut block = vec![0; usize_of(end - start)];
            self.read_into(file, start, &mut block)?;
            Ok::<_, IoError>(Bytes::from(block))
        };
        if start + BLOCK_LEN > settled {
            return read(end);
        }
        self.cached(file, number, || read(start + BLOCK_LEN))
    }

    /// What is cached of a file under a number, or what `read` gives, which is kept.
    pub(crate) fn cached<E>(
        &self,
        file: &DataFile,
        unit: u64,
        read: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let key = BlockKey { file: file.id, unit };
        if let Some(found) = self.blocks.get(&key) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(found);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let found = read()?;
        self.blocks.insert(key, found.clone());
        Ok(found)
    }

    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            bytes: self.blocks.weight(),
            capacity: self.blocks.capacity(),
        }
    }
}

/// A length of a part of a file that is to be held in memory.
pub(crate) fn usize_of(len: u64) -> usize {
    usize::try_from(len).expect("what is read at once fits the address space: frames are bounded by the format")
}
