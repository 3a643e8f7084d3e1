//! Panics of the writer's threads: caught, and told with where they came from.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};
use std::time::SystemTime;

use eventfold_sync::clock;

/// A panic of one of the writer's threads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PanicReport {
    /// What it said.
    pub message: String,
    /// The file, line and column it came from.
    pub location: Option<String>,
    /// What was being called.
    pub backtrace: String,
    /// When it was.
    pub at: SystemTime,
    /// How many there were by then, this one included.
    pub count: u64,
}

/// What the hook has seen of a panic.
struct Seen {
    location: Option<String>,
    backtrace: String,
}

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// Panics of this thread are looked at from now on. The hook that was there before is called as well, and is all that other
/// threads get to see.
pub(crate) fn watch_this_thread() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if WATCHED.get() {
                see(info);
            }
            before(info);
        }));
    });
    WATCHED.set(true);
}

fn see(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string);
    let seen = Seen { location, backtrace: Backtrace::force_capture().to_string() };
    SEEN.with(|slot| {
        if let Ok(mut slot) = slot.try_borrow_mut() {
            *slot = Some(seen);
        }
    });
}

/// Calls what is not the writer's own, like a waker or a subscriber to its log lines, on one of its threads: where that panics,
/// the writer goes on.
pub(crate) fn guarded(call: impl FnOnce()) {
    drop(catch_unwind(AssertUnwindSafe(call)));
}

/// The panics of one writer.
#[derive(Debug, Default)]
pub(crate) struct Panics(Mutex<Option<PanicReport>>);

impl Panics {
    /// Takes note of what was caught on this thread.
    pub(crate) fn caught(&self, payload: &(dyn Any + Send)) {
        let message = (payload.downcast_ref::<&str>().map(ToString::to_string))
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a value that is no text".to_owned());
        let seen = SEEN.with(RefCell::take);
        let (location, backtrace) = seen.map_or_else(Default::default, |seen| (seen.location, seen.backtrace));
        guarded(|| tracing::error!(message, location, "a thread of the writer has panicked"));
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = last.as_ref().map_or(0, |last| last.count) + 1;
        *last = Some(PanicReport { message, location, backtrace, at: clock::wall(), count });
    }

    pub(crate) fn last(&self) -> Option<PanicReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
