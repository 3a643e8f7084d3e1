//! Starting threads: every thread of a writer has a name, and is joined by whoever has started it.

use std::io;
use std::thread::{Builder, JoinHandle};

#[expect(clippy::disallowed_methods, reason = "the one place where the writer's threads are started")]
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(run)
}
