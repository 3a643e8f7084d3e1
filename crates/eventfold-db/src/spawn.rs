//! A store, its writer and its readers, under tokio.

use eventfold_read::ReadIndex;
use eventfold_store::Store;
use eventfold_writer::WriterHandle;
use tokio::task::JoinHandle;

/// Hands a store over to a writer that holds up to `channel_capacity` requests, and shares its log with readers. The task
/// ends when the writer does: it was closed, or all its handles are gone, and the store can be opened again.
///
/// Where nothing waits to be appended and no full segment to be sealed, that is within a second.
///
/// ```
/// use eventfold_db::{ExpectedVersion, ProposedEvent, Store, spawn_writer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// let (writer, reads, ended) = spawn_writer(Store::open(directory.path())?, 1024);
/// writer.append("account-7", ExpectedVersion::Any, vec![ProposedEvent::new("Opened", "{}")]).await?;
/// assert_eq!(reads.global_position(), 1);
/// drop(writer);
/// ended.await?;
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// Outside a tokio runtime, and if the system can't start a thread.
pub fn spawn_writer(store: Store, channel_capacity: usize) -> (WriterHandle, ReadIndex, JoinHandle<()>) {
    let reads = ReadIndex::new(store.log());
    let (writer, ended) = eventfold_writer::spawn_writer(store, channel_capacity);
    (writer, reads, ended)
}
