//! How a store is opened.

use std::path::Path;
use std::sync::Arc;

use eventfold_codec::{
    DEFAULT_IDEMPOTENCY_WINDOW, DEFAULT_SEGMENT_SIZE, HEADER_BLOCK_LEN, MAX_IDEMPOTENCY_WINDOW, MAX_SEGMENT_SIZE,
    MIN_SEGMENT_SIZE, is_segment_size,
};
use eventfold_io::{Disk, StdDisk};

use crate::environment::{Environment, SystemEnvironment};
use crate::error::Error;
use crate::index::IndexOptions;
use crate::store::Store;

/// Bytes of blocks and index pages kept in memory where nothing else is said.
pub const DEFAULT_CACHE_BYTES: u64 = 64 << 20;

/// Bytes of recent frames kept in memory where nothing else is said.
pub const DEFAULT_HOT_TAIL_BYTES: u64 = 16 << 20;

/// Segment files open at once where nothing else is said.
pub const DEFAULT_MAX_OPEN_FILES: usize = 256;

/// How a store is opened, and how a new one is made.
///
/// ```
/// use eventfold_store::Store;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path();
/// let store = Store::builder().segment_size(64 << 20).cache_bytes(128 << 20).open(path)?;
/// assert_eq!(store.global_position(), 0);
/// # store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub(crate) segment_size: Option<u64>,
    pub(crate) idempotency_window: Option<u32>,
    pub(crate) cache_bytes: u64,
    pub(crate) hot_tail_bytes: u64,
    pub(crate) max_open_files: usize,
    pub(crate) index: IndexOptions,
    pub(crate) read_only: bool,
    pub(crate) create_if_missing: bool,
    pub(crate) background: bool,
    pub(crate) environment: Arc<dyn Environment>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            segment_size: None,
            idempotency_window: None,
            cache_bytes: DEFAULT_CACHE_BYTES,
            hot_tail_bytes: DEFAULT_HOT_TAIL_BYTES,
            max_open_files: DEFAULT_MAX_OPEN_FILES,
            index: IndexOptions::default(),
            read_only: false,
            create_if_missing: true,
            background: true,
            environment: Arc::new(SystemEnvironment),
        }
    }
}

impl StoreOptions {
    /// The size that segments grow to, for a new store: a multiple of 4,096 from 64 KiB to 16 GiB, 256 MiB where nothing
    /// is said. It is fixed when the store is made; asking an existing store for another is an error.
    #[must_use]
    pub fn segment_size(mut self, bytes: u64) -> Self {
        self.segment_size = Some(bytes);
        self
    }

    /// How many of the last appends are searched for duplicates, for a new store: up to 2^24, 2^20 where nothing is said.
    /// Asking an existing store for another is an error; [`Store::set_idempotency_window`] changes it.
    #[must_use]
    pub fn idempotency_window(mut self, appends: u32) -> Self {
        self.idempotency_window = Some(appends);
        self
    }

    /// How many bytes of blocks and index pages are kept in memory.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How many bytes of the most recent frames are kept in memory.
    #[must_use]
    pub fn hot_tail_bytes(mut self, bytes: u64) -> Self {
        self.hot_tail_bytes = bytes;
        self
    }

    /// How many files of sealed segments are open at once, at the most.
    #[must_use]
    pub fn max_open_files(mut self, files: usize) -> Self {
        self.max_open_files = files.max(8);
        self
    }

    /// How many bits a term takes in a sealed segment's filter: 16 where nothing is said, 0 for no filters. Fewer make
    /// more lookups read a segment that does not have what they look for. It holds for segments that are sealed from
    /// here on.
    #[must_use]
    pub fn filter_bits_per_term(mut self, bits: u32) -> Self {
        self.index.filter_bits_per_term = bits.min(64);
        self
    }

    /// Opens without changing anything on the disk, beside other readers. Only what is proven to be durable is served,
    /// and [`Store::recovery_report`] says how much stands above it.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Whether a store is made where there is none: yes, if nothing is said.
    #[must_use]
    pub fn create_if_missing(mut self, create: bool) -> Self {
        self.create_if_missing = create;
        self
    }

    /// Whether a thread of the store's own prepares and seals segments: yes, if nothing is said. Without it that work is
    /// done within the calls that find it due, in the same order every time: what a simulation needs.
    #[must_use]
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    /// Where the time and random numbers come from.
    #[must_use]
    pub fn environment(mut self, environment: Arc<dyn Environment>) -> Self {
        self.environment = environment;
        self
    }

    /// Opens the store in this directory.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store, Error> {
        let path = path.as_ref();
        let disk =
            if self.read_only || !self.create_if_missing { StdDisk::open(path) } else { StdDisk::open_or_create(path) };
        self.open_on(Arc::new(disk?))
    }

    /// Opens the store on this disk.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`].
    pub fn open_on(self, disk: Arc<dyn Disk>) -> Result<Store, Error> {
        self.check()?;
        Store::open_with(disk, self)
    }

    /// Whether a store could be made with these. Opening asks the same first.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`], for the first that is out of bounds.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(size) = self.segment_size
            && !is_segment_size(size)
        {
            return Err(Error::InvalidOption {
                option: "segment_size",
                value: size,
                min: MIN_SEGMENT_SIZE,
                max: MAX_SEGMENT_SIZE,
                step: HEADER_BLOCK_LEN as u64,
            });
        }
        if let Some(window) = self.idempotency_window
            && window > MAX_IDEMPOTENCY_WINDOW
        {
            return Err(Error::window_too_large(window));
        }
        Ok(())
    }

    /// What a new store is made with.
    pub(crate) fn new_segment_size(&self) -> u64 {
        self.segment_size.unwrap_or(DEFAULT_SEGMENT_SIZE)
    }

    /// What a new store is made with.
    pub(crate) fn new_idempotency_window(&self) -> u32 {
        self.idempotency_window.unwrap_or(DEFAULT_IDEMPOTENCY_WINDOW)
    }
}
