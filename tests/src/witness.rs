//! Somebody who appends, keeps what was acknowledged, and looks for it later.
//!
//! It is in the process of the store, which lives through what happens. So it has the answers themselves, of events as large as
//! a test wants them, and can say at every moment that these are served and nothing else is. The [ledger](crate::dying::Ledger) is
//! in another process than the store: it has the lines that reached it before a kill, and has to allow for all that may have
//! happened after the last.

use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use eventfold_db::{
    BlockingSubscription, Builder, Error, ErrorKind, EventfoldDb, ExpectedVersion, IoError, MIN_SEGMENT_SIZE,
    ProposedEvent, Query, ReadError, ReadIndex, RecordedEvent, Store, SubscriptionEvent, Uuid, verify,
};

/// Nothing takes a fraction of this. It is there so that what hangs is told.
const HANGS: Duration = Duration::from_mins(1);

/// What was acknowledged.
#[derive(Debug, Default)]
pub struct Witness {
    promised: Vec<RecordedEvent>,
    /// The ids of appends that may stand or not.
    in_doubt: Vec<Uuid>,
}

impl Witness {
    /// A store with the smallest segments, and so little in memory that reads have to go to the files.
    pub fn builder() -> Builder {
        let store = Store::builder().segment_size(MIN_SEGMENT_SIZE).hot_tail_bytes(1 << 13).cache_bytes(1 << 14);
        EventfoldDb::builder().store(store.max_open_files(8))
    }

    /// The event of this number.
    pub fn event(number: u64, bytes: usize) -> Vec<ProposedEvent> {
        let id = Uuid::from_u128(u128::from(number) + 1);
        vec![ProposedEvent::new("Happened", vec![7; bytes]).with_id(id)]
    }

    /// The stream that it belongs to.
    pub fn stream(number: u64) -> String {
        format!("account-{}", number % 3)
    }

    /// Appends the event of this number.
    ///
    /// # Errors
    ///
    /// Those of the append. Nothing of it is visible then.
    ///
    /// # Panics
    ///
    /// If it is visible all the same.
    pub fn append(&mut self, db: &EventfoldDb, number: u64, bytes: usize) -> Result<(), Error> {
        let head = db.reads().global_position();
        match db.append_blocking(Self::stream(number), ExpectedVersion::Any, Self::event(number, bytes)) {
            Ok(events) => self.acknowledged(events),
            Err(error) => {
                assert_eq!(db.reads().global_position(), head, "a part of what failed is visible: {error}");
                if error.kind() == ErrorKind::Unknown {
                    self.doubts(number);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// These were acknowledged.
    pub fn acknowledged(&mut self, events: Vec<RecordedEvent>) {
        self.promised.extend(events);
        self.promised.sort_by_key(|event| event.global_position);
    }

    /// The event of this number may stand or not.
    pub fn doubts(&mut self, number: u64) {
        self.in_doubt.push(Uuid::from_u128(u128::from(number) + 1));
    }

    /// How many events were acknowledged.
    pub fn count(&self) -> usize {
        self.promised.len()
    }

    /// All of them are served, in every way of reading, and nothing else.
    ///
    /// # Panics
    ///
    /// If not.
    pub fn sees_all(&self, reads: &ReadIndex) {
        let found = reads.read_all(0, u64::MAX).expect("reads go on");
        assert!(found == self.promised, "{} events were promised, and {} served", self.promised.len(), found.len());
        for stream in (0..3).map(Self::stream) {
            let found = match reads.read_stream(&stream, 0, u64::MAX) {
                Err(Error::StreamNotFound { .. }) => Vec::new(),
                found => found.expect("reads go on"),
            };
            let id = found.first().map(|event| event.stream_id);
            let promised: Vec<_> = self.promised.iter().filter(|event| Some(event.stream_id) == id).cloned().collect();
            assert!(
                found == promised,
                "of {stream} {} events were promised, and {} served",
                promised.len(),
                found.len()
            );
        }
        self.hears_all(&mut reads.subscribe_blocking(Query::all(), 0).expect("subscribing reads nothing"));
    }

    /// A subscription to everything yields what it has not yielded yet.
    ///
    /// # Panics
    ///
    /// If not.
    pub fn hears_all(&self, subscription: &mut BlockingSubscription) {
        let from =
            usize::try_from(BlockingSubscription::position(subscription)).expect("it is a position of a small log");
        let mut heard = Vec::new();
        while from + heard.len() < self.promised.len() {
            match subscription.next_timeout(HANGS) {
                Poll::Ready(Some(Ok(SubscriptionEvent::Event(event)))) => heard.push(event),
                Poll::Ready(Some(Ok(_))) => {}
                other => panic!("the subscription does not go on: {other:?}"),
            }
        }
        assert!(heard == self.promised[from..], "other events were heard than were promised, from {from} on");
    }

    /// A store that was opened again has all of them, and besides at most what is in doubt.
    ///
    /// # Panics
    ///
    /// If not.
    pub fn finds_all(&mut self, reads: &ReadIndex) {
        let found = reads.read_all(0, u64::MAX).expect("a sound store is read");
        let promised: Vec<_> = found.iter().filter(|event| !self.in_doubt.contains(&event.event_id)).collect();
        let (there, expected) = (promised.len(), self.promised.len());
        assert!(promised.into_iter().eq(&self.promised), "{expected} events were promised, and {there} are there");
        self.promised = found;
        self.in_doubt.clear();
        self.sees_all(reads);
    }

    /// The store in this directory, which is closed, is sound, has all of them, and takes more.
    ///
    /// # Panics
    ///
    /// If not.
    pub fn finds_all_in(&mut self, directory: &Path) {
        for _ in 0..2 {
            let report = verify(directory, |_| ()).expect("a store that is closed is verified");
            assert!(report.is_sound(), "{:?}", report.findings);
            let db = Self::builder().open(directory).expect("a sound store opens");
            self.finds_all(db.reads());
            self.append(&db, 1_000_000 + self.promised.len() as u64, 10).expect("a sound store is appended to");
            db.close_blocking().expect("a sound store is closed");
        }
    }
}

/// What the disk said, where an error comes of that.
///
/// # Panics
///
/// If it does not.
pub fn disks_error(error: &Error) -> &IoError {
    let found = match error {
        Error::StorageFull { source } => Some(&**source),
        Error::Io(source) | Error::Read(ReadError::Io(source)) => Some(source),
        Error::Poisoned { cause } | Error::OutcomeUnknown { cause: Some(cause) } => cause.io_error(),
        _ => None,
    };
    found.unwrap_or_else(|| panic!("it is not the disk's: {error:?}"))
}
