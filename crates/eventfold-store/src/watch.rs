//! Waiting for a log to grow.

use std::sync::Arc;

use crate::log::{EventLog, Shared};
use crate::sync::{AtomicBool, Ordering};

/// Waits for a log to grow. [`EventLog::watch`] makes one.
///
/// It is meant for a thread that serves many who wait: what it costs the writer grows with the number of watches.
#[derive(Debug)]
pub struct HeadWatch {
    shared: Arc<Shared>,
    interrupted: AtomicBool,
}

impl HeadWatch {
    /// Waits until the log's next position is another than `seen`, the log [has ended](EventLog::has_ended), or somebody
    /// [interrupts](Self::interrupt). Returns the next position.
    pub fn wait(&self, seen: u64) -> u64 {
        self.shared.watermark.wait(seen, &self.interrupted)
    }

    /// Lets the wait that is under way, or else the next one, return at once.
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        self.shared.watermark.wake();
    }
}

impl EventLog {
    /// Waits for the log to grow.
    ///
    /// ```
    /// use eventfold_store::{ExpectedVersion, ProposedEvent, Store};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let mut store = Store::open(directory.path())?;
    /// let watch = store.log().watch();
    /// let waiting = std::thread::spawn(move || watch.wait(0));
    /// store.append("account-7", ExpectedVersion::Any, vec![ProposedEvent::new("Opened", "{}")])?;
    /// assert_eq!(waiting.join().unwrap(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(&self) -> HeadWatch {
        HeadWatch { shared: self.shared.clone(), interrupted: AtomicBool::new(false) }
    }

    /// Whether nothing more is coming: the store was closed or opened read-only, or a failure has stopped it. From then on
    /// [`global_position`](Self::global_position) stays what it is.
    pub fn has_ended(&self) -> bool {
        self.shared.watermark.has_ended()
    }
}
