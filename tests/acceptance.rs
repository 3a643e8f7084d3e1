//! What the store promises to who uses it, through the facade alone.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use std::time::Duration;

use bytes::Bytes;
use eventfold_db::{
    Error, ExpectedVersion, MAX_EVENT_SIZE, ProposedEvent, ReadIndex, RecordedEvent, Store, WriterHandle, spawn_writer,
};
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use ExpectedVersion::{Any, Exact, NoStream};

/// Nothing here takes a fraction of this. It is there so that what hangs is told.
const HANGS: Duration = Duration::from_secs(30);

/// How soon a writer without handles has to have ended, with next to nothing left to do: this is promised.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

struct World {
    writer: WriterHandle,
    reads: ReadIndex,
    join: JoinHandle<()>,
    directory: TempDir,
}

fn open(directory: TempDir) -> World {
    let store = Store::open(directory.path()).unwrap();
    let (writer, reads, join) = spawn_writer(store, 64);
    World { writer, reads, join, directory }
}

fn new() -> World {
    open(tempfile::tempdir().unwrap())
}

fn event(payload: impl Into<Bytes>) -> ProposedEvent {
    ProposedEvent::new("Happened", payload)
}

fn places(events: &[RecordedEvent]) -> Vec<(u64, u64)> {
    events.iter().map(|event| (event.global_position, event.stream_version)).collect()
}

#[tokio::test]
async fn the_first_append_has_position_and_version_0() {
    let world = new();
    let recorded = world.writer.append(Uuid::from_u128(1), NoStream, vec![event("a")]).await.unwrap();
    assert_eq!(places(&recorded), [(0, 0)]);
}

#[tokio::test]
async fn appends_that_are_awaited_follow_each_other() {
    let world = new();
    let stream = Uuid::from_u128(1);
    for (number, expected) in [(0, NoStream), (1, Exact(0)), (2, Exact(1))] {
        let recorded = world.writer.append(stream, expected, vec![event("a")]).await.unwrap();
        assert_eq!(places(&recorded), [(number, number)]);
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "concurrent callers are what this is about")]
async fn concurrent_appends_all_stand() {
    let world = new();
    let stream = Uuid::from_u128(1);
    let appends = (0..10).map(|number: u8| {
        let writer = world.writer.clone();
        tokio::spawn(async move { writer.append(stream, Any, vec![event(vec![number])]).await })
    });
    let mut positions: Vec<_> =
        join_all(appends).await.into_iter().flat_map(|answer| places(&answer.unwrap().unwrap())).collect();
    positions.sort_unstable();
    assert_eq!(positions, (0..10).map(|number| (number, number)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_wrong_version_is_told_with_the_actual_one() {
    let world = new();
    let stream = Uuid::from_u128(1);
    world.writer.append(stream, NoStream, vec![event("a")]).await.unwrap();
    for wrong in [NoStream, Exact(5)] {
        let error = world.writer.append(stream, wrong, vec![event("b")]).await.unwrap_err();
        assert!(
            matches!(error, Error::WrongExpectedVersion { expected, actual: Some(0), .. } if expected == wrong),
            "{error:?}"
        );
    }
    let recorded = world.writer.append(stream, Exact(0), vec![event("b")]).await.unwrap();
    assert_eq!(places(&recorded), [(1, 1)]);
}

#[tokio::test]
async fn what_is_answered_is_read_at_once() {
    let world = new();
    let stream = Uuid::from_u128(1);
    let events = vec![event("a"), event("b"), event("c")];
    let recorded = world.writer.append(stream, NoStream, events).await.unwrap();
    assert_eq!(world.reads.read_all(0, 100).unwrap(), recorded);
    assert_eq!(world.reads.read_stream(stream, 0, 100).unwrap(), recorded);
    assert_eq!((world.reads.global_position(), world.reads.stream_version(stream).unwrap()), (3, Some(2)));
}

#[tokio::test]
async fn events_are_there_after_reopening() {
    let World { writer, reads, join, directory } = new();
    let mut recorded = Vec::new();
    for number in 0..5u8 {
        recorded.extend(writer.append("account-7", Any, vec![event(vec![number])]).await.unwrap());
    }
    drop(writer);
    timeout(HANGS, join).await.unwrap().unwrap();
    drop(reads);
    let world = open(directory);
    assert_eq!(world.reads.read_all(0, 100).unwrap(), recorded);
    let more = world.writer.append("account-7", Exact(4), vec![event("f")]).await.unwrap();
    assert_eq!(places(&more), [(5, 5)]);
}

#[tokio::test]
async fn the_writer_ends_within_a_second_when_all_handles_are_gone() {
    let world = new();
    let other = world.writer.clone();
    world.writer.append("s", Any, vec![event("a")]).await.unwrap();
    drop(world.writer);
    other.append("s", Any, vec![event("b")]).await.unwrap();
    drop(other);
    timeout(ENDS_WITHIN, world.join).await.unwrap().unwrap();
    Store::open(world.directory.path()).unwrap();
}

#[tokio::test]
async fn a_full_queue_is_told_and_nothing_of_the_append_is_queued() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, reads, join) = spawn_writer(Store::open(directory.path()).unwrap(), 1);
    let (mut pending, mut refused) = (Vec::new(), 0);
    while refused == 0 {
        // Large enough that the disk is slower than this.
        match writer.try_append("s", Any, vec![event(vec![0; 100_000])]) {
            Ok(append) => pending.push(append),
            Err(Error::Backpressure { .. }) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    let accepted = pending.len() as u64;
    for append in pending {
        append.await.unwrap();
    }
    assert_eq!(reads.global_position(), accepted);
    writer.append("s", Any, vec![event("a")]).await.unwrap();
    drop(writer);
    timeout(HANGS, join).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_event_that_is_too_large_is_refused_alone() {
    let world = new();
    let error = world.writer.append("s", Any, vec![event(vec![0; MAX_EVENT_SIZE + 1])]).await.unwrap_err();
    assert!(matches!(error, Error::EventTooLarge { .. }), "{error:?}");
    assert_eq!(places(&world.writer.append("s", Any, vec![event("a")]).await.unwrap()), [(0, 0)]);
}
