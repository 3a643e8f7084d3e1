//! Starting a writer, and waiting for its end.

use std::io;
use std::sync::Arc;

use eventfold_store::{Error, Store};
use eventfold_sync::mpsc;
use eventfold_sync::thread::{JoinHandle, spawn};

use crate::engine::{Engine, sync};
use crate::handle::WriterHandle;
use crate::line::Load;
use crate::shared::Shared;

/// Requests that are held at once where nothing else is said: enough for a few thousand callers who each wait for an answer.
pub const DEFAULT_MAX_REQUESTS: usize = 8192;

/// Bytes that are held at once where nothing else is said.
pub const DEFAULT_MAX_BYTES: usize = 64 << 20;

/// How much a writer holds.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    bounds: Load,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { bounds: Load { requests: DEFAULT_MAX_REQUESTS, bytes: DEFAULT_MAX_BYTES } }
    }
}

impl WriterOptions {
    /// How many requests are held at once, from when they are queued until they are answered; and as many again of which
    /// something is read before they are queued. At least one is.
    #[must_use]
    pub fn max_requests(mut self, requests: usize) -> Self {
        self.bounds.requests = requests;
        self
    }

    /// How much memory they may take, about. A request that is larger is let in when there is no other.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.bounds.bytes = bytes;
        self
    }
}

/// The one who appends to a store, on a thread of its own.
#[derive(Debug)]
pub struct Writer;

impl Writer {
    /// Hands a store over to a writer.
    ///
    /// The first writer of a process adds to the panic hook, so that a panic of one of its threads can be told with where it
    /// came from. The hook that was there is called as before.
    ///
    /// # Errors
    ///
    /// [`Error::NoThread`]. The store is closed then.
    pub fn start(store: Store, options: &WriterOptions) -> Result<(WriterHandle, WriterThread), Error> {
        let shared = Arc::new(Shared::new(store.log(), options.bounds));
        let thread = start(&shared, store).inspect_err(|_| {
            // What was started ends.
            shared.inbox.close();
            drop(shared.pool.end());
            shared.pool.join();
        });
        let thread = thread.map_err(|source| Error::NoThread { source })?;
        Ok((WriterHandle::new(shared), WriterThread { thread }))
    }
}

fn start(shared: &Arc<Shared>, store: Store) -> io::Result<JoinHandle<()>> {
    let (commits, to_run) = mpsc::channel();
    shared.pool.start(shared)?;
    let for_sync = shared.clone();
    let syncing = spawn("eventfold-sync", move || sync(&for_sync, &to_run))?;
    let engine = Engine::new(shared.clone(), store, (commits, syncing));
    spawn("eventfold-writer", move || engine.run())
}

/// The writer's thread. Dropping this changes nothing: the writer ends when it is closed or all handles are gone.
#[derive(Debug)]
pub struct WriterThread {
    thread: JoinHandle<()>,
}

impl WriterThread {
    /// Waits for the writer to end: then the store is closed, and can be opened again.
    pub fn join(self) {
        // Its panics are caught.
        drop(self.thread.join());
    }
}

/// Hands a store over to a writer that holds up to `capacity` requests. The task ends with the writer.
///
/// # Panics
///
/// If the system can't start a thread, and outside a tokio runtime.
#[cfg(feature = "tokio")]
#[expect(clippy::disallowed_methods, reason = "the caller gets the task's handle")]
pub fn spawn_writer(store: Store, capacity: usize) -> (WriterHandle, tokio::task::JoinHandle<()>) {
    let options = WriterOptions::default().max_requests(capacity);
    let (handle, _thread) = Writer::start(store, &options).expect("the system can start a thread");
    let ended = handle.wait_end();
    let task = tokio::spawn(async move {
        // The writer tells when it has ended, whatever happened to it.
        let _ = ended.await;
    });
    (handle, task)
}
