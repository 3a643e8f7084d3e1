//! The log as it is shared: what readers see of the segments, and what they pin.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use uuid::Uuid;

use crate::decide::KnownStream;
use crate::directory::Directories;
use crate::environment::{Environment, EventIds};
use crate::error::Poison;
use crate::segment::{OpenSegment, SealedSegment, Segment};
use crate::storage::{CacheStats, CountedCache, Storage, counted_cache};
use crate::sync::{Mutex, PoisonError, RwLock};
use crate::tail::HotTail;
use crate::watermark::Watermark;

/// The log of a store, shared by its readers and its writer: a cheap clone.
///
/// What it is asked for, it reads from a [`Snapshot`], which is taken without a lock. Reads go on while appends are
/// committed, when the store is closed, and when a failed sync has made further appends impossible.
#[derive(Clone, Debug)]
pub struct EventLog {
    pub(crate) shared: Arc<Shared>,
}

/// What all parts of a store share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Tells the logs apart that this process has opened: what was prepared for one is worth nothing to another.
    pub(crate) log_id: u64,
    pub(crate) store_id: Uuid,
    pub(crate) storage: Arc<Storage>,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) event_ids: EventIds,
    pub(crate) watermark: Watermark,
    parts: ArcSwap<Parts>,
    /// Taken to change `parts`, by the writer when it rolls and by the background when it has sealed.
    parts_change: Mutex<()>,
    pub(crate) tail: RwLock<HotTail>,
    /// What is known of streams from the sealed segments, so that appending to one needs no index for it.
    pub(crate) heads: CountedCache<Uuid, SealedHead>,
    poison: OnceLock<Poison>,
}

/// How many streams are remembered: a few MiB.
const CACHED_HEADS_MAX: usize = 1 << 16;

/// What the first sealed segments say of a stream.
#[derive(Clone, Debug)]
pub(crate) struct SealedHead {
    /// How many of them were asked.
    pub(crate) segments: usize,
    pub(crate) known: KnownStream,
}

/// The segments, in order: those that are sealed, then those that are not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) sealed: Vec<Arc<SealedSegment>>,
    pub(crate) open: Vec<Arc<OpenSegment>>,
    pub(crate) directories: Directories,
}

impl Shared {
    pub(crate) fn new(
        store_id: Uuid,
        storage: Arc<Storage>,
        environment: Arc<dyn Environment>,
        parts: Parts,
        head: u64,
        hot_tail_bytes: u64,
    ) -> Self {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        Self {
            log_id: OPENED.fetch_add(1, Ordering::Relaxed),
            store_id,
            storage,
            event_ids: EventIds::new(&*environment),
            environment,
            watermark: Watermark::new(head),
            parts: ArcSwap::from_pointee(parts),
            parts_change: Mutex::new(()),
            tail: RwLock::new(HotTail::new(hot_tail_bytes)),
            heads: counted_cache(CACHED_HEADS_MAX),
            poison: OnceLock::new(),
        }
    }

    /// The next position that readers don't see yet.
    pub(crate) fn head(&self) -> u64 {
        self.watermark.head()
    }

    pub(crate) fn parts(&self) -> Arc<Parts> {
        self.parts.load_full()
    }

    /// The parts for a moment: keeping them would keep files open and indexes in memory.
    pub(crate) fn parts_now(&self) -> Guard<Arc<Parts>> {
        self.parts.load()
    }

    pub(crate) fn change_parts(&self, change: impl FnOnce(&mut Parts)) {
        let _guard = self.parts_change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts = Parts::clone(&self.parts.load());
        change(&mut parts);
        self.parts.store(Arc::new(parts));
    }

    pub(crate) fn poison(&self) -> Option<&Poison> {
        self.poison.get()
    }

    /// Stops all further appends. The first cause stands.
    pub(crate) fn set_poison(&self, cause: Poison) {
        let is_first = self.poison.set(cause).is_ok();
        self.watermark.end();
        if let Some(cause) = self.poison().filter(|_| is_first) {
            // Last, since who listens may panic.
            tracing::error!(%cause, "the store takes no more appends");
        }
    }
}

impl EventLog {
    /// The log as it is now. A snapshot stays what it is, whatever is appended and sealed meanwhile.
    pub fn snapshot(&self) -> Snapshot {
        // In this order: the parts that are loaded after the head hold everything below it. They may hold more that is
        // published: what is sealed was, and is not limited by a head.
        let head = self.shared.head();
        let parts = self.shared.parts();
        let sealed = parts.sealed.last().map_or(0, |segment| segment.summary.end_position);
        Snapshot { shared: self.shared.clone(), parts, head: head.max(sealed) }
    }

    /// The next position of the log: the number of events ever appended.
    pub fn global_position(&self) -> u64 {
        self.shared.head()
    }

    /// The store's id: a random one that it was made with, and the same in every copy of it.
    pub fn store_id(&self) -> Uuid {
        self.shared.store_id
    }

    /// About how many bytes the index of the segments that are not sealed yet takes in memory.
    pub fn memory_index_bytes(&self) -> u64 {
        self.shared.parts().open.iter().map(|segment| segment.memory.estimated_bytes()).sum()
    }

    /// How well the cache serves.
    pub fn cache_stats(&self) -> CacheStats {
        self.shared.storage.stats()
    }

    /// What made the store stop taking appends, if something did.
    pub fn poison(&self) -> Option<Poison> {
        self.shared.poison().cloned()
    }
}

/// The log at one moment: all events below its [head](Self::head). It keeps what it needs, so that reads of it always
/// answer the same.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) shared: Arc<Shared>,
    pub(crate) parts: Arc<Parts>,
    pub(crate) head: u64,
}

impl Snapshot {
    /// The position behind its last event.
    pub fn head(&self) -> u64 {
        self.head
    }
}

impl Parts {
    /// How many segments there are.
    pub(crate) fn len(&self) -> usize {
        self.sealed.len() + self.open.len()
    }

    pub(crate) fn segment(&self, index: usize) -> Option<Segment<'_>> {
        match index.checked_sub(self.sealed.len()) {
            None => self.sealed.get(index).map(|segment| Segment::Sealed(segment)),
            Some(index) => self.open.get(index).map(|segment| Segment::Open(segment)),
        }
    }

    /// The index of the segment that has, or would have, the event at this position.
    pub(crate) fn find(&self, position: u64) -> usize {
        let open = self.open.partition_point(|segment| segment.first_position <= position);
        if open > 0 {
            return self.sealed.len() + open - 1;
        }
        self.sealed.partition_point(|segment| segment.summary.first_position <= position).saturating_sub(1)
    }
}
