//! What users name comes from the crate's root.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use std::fmt::Debug;
use std::sync::Arc;

use eventfold_db::{
    Access, Broken, Bytes, ChecksumMismatch, Corruption, Damage, Disk, DiskFile, DiskLock, Error, EventfoldDb,
    ExpectedVersion, FooterError, FrameError, HeaderCopyError, InvalidAppend, InvalidQuery, InvalidStreamName, IoError,
    IoErrorKind, Link, LockMode, NO_STREAM, Operation, Poison, Proof, ProposedEvent, ReadError, ReadIndex,
    RecordedEvent, ResolvedStream, Rule, SegmentHeaderError, StdDisk, Store, Unsupported, Uuid, WriterHandle,
    spawn_writer,
};

#[tokio::test]
async fn the_writer_and_the_reader_come_from_the_root() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, reads, join): (WriterHandle, ReadIndex, tokio::task::JoinHandle<()>) =
        spawn_writer(Store::open(directory.path()).unwrap(), 16);
    let recorded =
        writer.append("account-7", ExpectedVersion::NoStream, vec![ProposedEvent::new("Opened", "{}")]).await.unwrap();
    assert_eq!(reads.read_all(0, 10).unwrap(), recorded);
    drop(writer);
    join.await.unwrap();
}

#[test]
fn what_errors_carry_has_names() {
    fn errors<T: std::error::Error + Send + Sync + 'static>() {}
    fn facts<T: Debug + Send + Sync>() {}
    errors::<Error>();
    errors::<ReadError>();
    errors::<Damage>();
    errors::<Poison>();
    errors::<InvalidAppend>();
    errors::<InvalidQuery>();
    errors::<InvalidStreamName>();
    errors::<IoError>();
    errors::<FrameError>();
    errors::<FooterError>();
    errors::<SegmentHeaderError>();
    errors::<HeaderCopyError>();
    errors::<Unsupported>();
    errors::<Broken>();
    facts::<(ChecksumMismatch, IoErrorKind, Operation, Corruption, Proof, Rule, Link)>();
    // And they are those that the errors carry.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("LOCK");
    drop(EventfoldDb::open(directory.path()).unwrap().close_blocking());
    let error: IoError = match EventfoldDb::open(&file).unwrap_err() {
        Error::Io(error) | Error::Read(ReadError::Io(error)) => error,
        other => panic!("{other:?}"),
    };
    let (kind, operation): (IoErrorKind, Operation) = (error.kind(), error.operation());
    assert_eq!(operation, Operation::OpenDirectory, "{error}, {kind:?}");
}

#[test]
fn what_signatures_take_and_give_has_names() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(StdDisk::open(directory.path()).unwrap());
    let db = EventfoldDb::builder().open_on(disk.clone()).unwrap();
    let refused = disk.lock("LOCK", LockMode::Shared).unwrap_err();
    assert_eq!(refused.kind(), IoErrorKind::Locked);
    let (id, payload) = (Uuid::from_u128(1), Bytes::from_static(b"{}"));
    let event = ProposedEvent::new("Opened", payload.clone()).with_id(id);
    let recorded: Vec<RecordedEvent> = db.append_blocking(NO_STREAM, ExpectedVersion::Any, vec![event]).unwrap();
    assert_eq!((recorded[0].event_id, &recorded[0].payload), (id, &payload));
    db.close_blocking().unwrap();
    let _lock: DiskLock = disk.lock("LOCK", LockMode::Exclusive).unwrap();
    let meta: Arc<dyn DiskFile> = disk.open("store.meta", Access::Read).unwrap();
    assert!(meta.len().unwrap() > 0);
    let resolved: ResolvedStream = eventfold_db::StreamRef::from("account-7").resolve().unwrap();
    assert_ne!(resolved.id, NO_STREAM);
}
