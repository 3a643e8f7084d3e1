//! The only door to disk of the eventfold event store: one interface, real files behind it, and a simulated disk with
//! faults.
//!
//! What a store needs of a disk is little: one directory of files, positioned reads and writes, syncs, space reserved ahead,
//! a lock. [`Disk`] and [`DiskFile`] are that and no more. [`StdDisk`] does it with real files and says precisely what it
//! promises; the feature `sim` adds `sim::SimDisk`, which does it in memory, loses power at any point, keeps any of
//! what was not synced, and replays the same from the same seed.
//!
//! It is not a file system library: no paths, no directories in directories, no buffers, no memory maps, no async. It knows
//! nothing of what is in the files. It never tries a failed sync again and never answers for what the system did not
//! promise; `docs/DURABILITY.md` has the promises, system by system.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use eventfold_io::{Access, Disk, IoErrorKind, LockMode, StdDisk};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path();
//! let disk: Arc<dyn Disk> = Arc::new(StdDisk::open(path)?);
//! let _lock = disk.lock("LOCK", LockMode::Exclusive)?; // held until it is dropped
//! assert_eq!(disk.lock("LOCK", LockMode::Exclusive).unwrap_err().kind(), IoErrorKind::Locked);
//!
//! let file = disk.create("log.new")?;
//! file.write_all_at(b"hello", 0)?;
//! file.sync_all()?; // the bytes and the length
//! disk.rename("log.new", "log")?;
//! disk.sync_directory()?; // the name
//!
//! let mut bytes = [0; 5];
//! disk.open("log", Access::Read)?.read_exact_at(&mut bytes, 0)?;
//! assert_eq!(&bytes, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod disk;
mod error;
mod name;
mod os;
mod read_only;
#[cfg(feature = "sim")]
pub mod sim;
mod std_disk;
#[cfg(feature = "sim")]
mod tapped;

pub use disk::{Access, Disk, DiskFile, DiskLock, LockMode};
pub use error::{IoError, IoErrorKind, Operation};
pub use name::{MAX_NAME_LEN, check_name};
pub use read_only::ReadOnlyDisk;
pub use std_disk::StdDisk;
#[cfg(feature = "sim")]
pub use tapped::{Tap, Tapped};
