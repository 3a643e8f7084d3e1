//! More appends than the writer takes from a server.

use std::collections::BTreeSet;

use eventfold_db::{EventfoldDb, MemoryDirectory, WriterOptions};
use eventfold_proto::v1::append_session_response::Answer;
use eventfold_tests::HangingDisk;
use prost::Message;

use crate::calls::{append_of, session};
use crate::memory::{EACH_CALL, EACH_CONNECTION, is_within, most_during};
use crate::neighbour::{ALONE, Attacked};
use crate::peer::{DATA, END_STREAM, HEADERS, Peer, frame, message};
use crate::support::soon;

const PEERS: usize = 12;
const CALLS: usize = 100;
const SIZE: usize = 10_000;
/// Of all that are sent, so much is taken.
const REQUESTS: usize = 1 << 20;
const IN_SESSION: usize = 20;

/// How many appends are queued at the most, and how large all of them are, is what these options say, and the others wait.
async fn beyond_the_writer(options: WriterOptions, queued_max: usize, bytes_max: usize) {
    let _alone = ALONE.write().await;
    let disk = HangingDisk::new(MemoryDirectory::new().disk());
    let db = EventfoldDb::builder().writer(options).open_on(disk.disk()).unwrap();
    let mut attacked = Attacked::start_on(|limits| limits.request_bytes = REQUESTS as u64, db).await;
    let (requests, mut answers) = session(&attacked).await;
    let before = attacked.running.db.reads().global_position();
    disk.hang();
    for _ in 0..IN_SESSION {
        requests.send(append_of(&[SIZE])).await.unwrap();
    }
    drop(requests);
    attacked.until("eventfold_queued_requests", |queued| queued >= queued_max as u64).await;
    attacked.until("eventfold_request_bytes", |bytes| bytes >= (IN_SESSION * SIZE) as u64).await;
    let append = message(&append_of(&[SIZE]).encode_to_vec());
    let attack = async {
        let mut peers = Vec::new();
        for _ in 0..PEERS {
            let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
            peer.is_given_room().await;
            for call in (1..).step_by(2).take(CALLS) {
                peer.begin(call, "/eventfold.v1.EventStore/Append").await;
                peer.write(&frame(DATA, END_STREAM, call, &append)).await;
            }
            peers.push(peer);
        }
        // All have come: those that are not refused wait.
        let refused = "eventfold_failed_calls_total{code=\"resource_exhausted\"}";
        let waiting = REQUESTS / append.len() - IN_SESSION;
        attacked.until(refused, |refused| refused >= (PEERS * CALLS - waiting) as u64).await;
        for _ in 0..20 {
            attacked.reads().await;
            assert_eq!(attacked.metric("eventfold_queued_requests").await, queued_max as u64);
        }
        peers
    };
    let (most, mut peers) = most_during(attack).await;
    is_within(most, 2 * REQUESTS + REQUESTS / SIZE * EACH_CALL + PEERS * EACH_CONNECTION);
    disk.go_on();
    // Those of the session come first, since they were there.
    for _ in 0..IN_SESSION {
        let answer = soon(answers.message()).await.unwrap().unwrap();
        assert!(matches!(answer.answer, Some(Answer::Appended(_))), "{answer:?}");
    }
    assert!(soon(answers.message()).await.unwrap().is_none());
    let (mut appended, mut refused) = (0, 0);
    for peer in &mut peers {
        // A failure is all that there is in its answer; what is appended is told before the status.
        let (mut told, mut ended) = (BTreeSet::new(), 0);
        while ended < CALLS {
            let frame = peer.next().await.unwrap();
            if frame.kind == DATA && !frame.payload.is_empty() {
                told.insert(frame.call);
            }
            ended += usize::from(frame.kind == HEADERS && frame.flags & END_STREAM != 0);
        }
        appended += told.len();
        refused += CALLS - told.len();
    }
    assert!(appended > 0 && refused > 0, "{appended}, {refused}");
    let stands = attacked.running.db.reads().global_position() - before;
    assert_eq!(stands, (IN_SESSION + appended) as u64);
    let stats = attacked.running.db.writer().stats();
    assert_eq!(stats.queued_requests_peak, queued_max);
    assert!(stats.queued_bytes_peak <= bytes_max, "{}", stats.queued_bytes_peak);
    assert_eq!(stats.rejections, eventfold_db::Rejections::default(), "who waits is not refused");
    drop((peers, answers));
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn appends_beyond_those_that_the_writer_holds_wait() {
    beyond_the_writer(WriterOptions::default().max_requests(4), 4, usize::MAX).await;
}

#[tokio::test]
pub(crate) async fn appends_beyond_the_bytes_that_the_writer_holds_wait() {
    // Of four, with what is kept around them.
    beyond_the_writer(WriterOptions::default().max_bytes(45_000), 4, 45_000).await;
}
