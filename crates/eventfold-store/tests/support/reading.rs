//! Reading a whole store, by every index that it has.

use std::collections::BTreeMap;

use eventfold_store::{Direction, Error, QueryItem, RecordedEvent, Store};
use uuid::Uuid;

/// All streams that workloads write to.
pub(crate) const STREAMS: [&str; 4] = ["order-1", "order-2", "audit", "a-stream-with-a-long-name"];
pub(crate) const TYPES: [&str; 3] = ["Opened", "Changed", "Closed"];
const NAMESPACE: Uuid = Uuid::from_u128(0xe7f0_fe1d_5eed_5a1d_9b0c_0000_0000_0001);

pub(crate) fn stream_id(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// Reads all there is, and asks every index for the same. Returns all events.
pub(crate) fn check(store: &Store) -> Vec<RecordedEvent> {
    try_check(store).unwrap()
}

/// As [`check`], where reading may fail.
pub(crate) fn try_check(store: &Store) -> Result<Vec<RecordedEvent>, Error> {
    let snapshot = store.log().snapshot();
    let all = snapshot.read_all(0, u64::MAX, Direction::Forward)?;
    assert_eq!(all.len() as u64, snapshot.head());
    let mut versions: BTreeMap<Uuid, u64> = BTreeMap::new();
    for (position, event) in (0..).zip(&all) {
        assert_eq!(event.global_position, position);
        let version = versions.entry(event.stream_id).or_default();
        assert_eq!(event.stream_version, *version, "position {position}");
        *version += 1;
    }
    let of =
        |wanted: &dyn Fn(&RecordedEvent) -> bool| all.iter().filter(|event| wanted(event)).cloned().collect::<Vec<_>>();
    let query = |item: QueryItem| snapshot.query(item, 0, u64::MAX, Direction::Forward);
    for name in STREAMS {
        let id = stream_id(name);
        let expected = of(&|event| event.stream_id == id);
        match snapshot.read_stream(name, 0, u64::MAX, Direction::Forward) {
            Ok(events) => assert_eq!(events, expected),
            Err(Error::StreamNotFound { .. }) => assert_eq!(expected, []),
            Err(error) => return Err(error),
        }
        let info = snapshot.stream_info(id)?;
        assert_eq!(info.as_ref().map(|info| info.version + 1), versions.get(&id).copied());
        assert!(info.is_none_or(|info| info.name.is_some_and(|stored| stored.as_str() == name)));
    }
    let names: Vec<_> = snapshot.streams("", None, 100)?.into_iter().map(|info| info.id).collect();
    assert_eq!(names.len(), versions.len());
    for name in TYPES {
        assert_eq!(query(QueryItem::new().types([name]))?, of(&|event| event.event_type.as_str() == name));
    }
    for tag in ["tag-0", "tag-1", "tag-2", "every"] {
        let tagged = |event: &RecordedEvent| event.tags.iter().any(|other| other.as_str() == tag);
        assert_eq!(query(QueryItem::new().tags([tag]))?, of(&tagged));
    }
    let orders = [stream_id("order-1"), stream_id("order-2")];
    assert_eq!(query(QueryItem::new().stream_prefix("order-"))?, of(&|event| orders.contains(&event.stream_id)));
    let last = snapshot.read_all(u64::MAX, 1, Direction::Backward)?;
    assert_eq!(last.first(), all.last());
    Ok(all)
}
