//! What a reader sees whose rights are narrow is what is left of the log when all else is taken away.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::collections::BTreeMap;

use eventfold_db::{
    Bytes, ExpectedVersion, ProposedEvent, Query, QueryItem, RecordedEvent, StreamName, StreamRef, Uuid,
};
use eventfold_proto::convert::query_to_wire;
use eventfold_proto::v1;
use eventfold_proto::v1::event_store_client::EventStoreClient;
use eventfold_proto::v1::subscribe_response::Event;
use eventfold_server::Role;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;
use support::{Issuer, Running, soon, with};
use tonic::transport::Channel;
use tonic::{Code, Status};

const NAMES: [&str; 6] = ["a", "ab", "abc", "b", "ba", "\u{e4}"];
const PREFIXES: [&str; 8] = ["a", "ab", "abc", "abcd", "b", "ba", "c", "\u{e4}"];
/// The empty one is everything, also what has no name.
const GRANTED: [&str; 9] = ["", "a", "ab", "abc", "abcd", "b", "ba", "c", "\u{e4}"];
const TYPES: [&str; 3] = ["X", "Y", "Z"];
const TAGS: [&str; 2] = ["s", "t"];

/// A stream by its name, by the id of that name, by an id without one, or none.
#[derive(Clone, Copy, Debug)]
enum Place {
    Name(&'static str),
    IdOf(&'static str),
    Unnamed,
    NoStream,
}

impl Place {
    fn stream(self) -> StreamRef {
        match self {
            Self::Name(name) => name.into(),
            Self::IdOf(name) => StreamName::new(name).unwrap().id().into(),
            Self::Unnamed => Uuid::from_u128(7).into(),
            Self::NoStream => Uuid::nil().into(),
        }
    }

    fn id(self) -> Uuid {
        self.stream().resolve().unwrap().id
    }
}

fn places() -> impl Strategy<Value = Place> {
    prop_oneof![
        6 => select(&NAMES[..]).prop_map(Place::Name),
        2 => select(&NAMES[..]).prop_map(Place::IdOf),
        1 => Just(Place::Unnamed),
        1 => Just(Place::NoStream),
    ]
}

fn events() -> impl Strategy<Value = Vec<(Place, ProposedEvent)>> {
    let event = (places(), select(&TYPES[..]), proptest::sample::subsequence(&TAGS[..], 0..=2));
    let event = event.prop_map(|(place, kind, tags)| (place, ProposedEvent::new(kind, "{}").with_tags(tags)));
    proptest::collection::vec(event, 0..40)
}

fn items() -> impl Strategy<Value = QueryItem> {
    let streams = prop_oneof![
        3 => Just((None, None)),
        2 => prop_oneof![select(&NAMES[..]).prop_map(Place::Name), select(&NAMES[..]).prop_map(Place::IdOf), Just(Place::Unnamed)]
            .prop_map(|place| (Some(place.stream()), None)),
        2 => select(&PREFIXES[..]).prop_map(|prefix| (None, Some(prefix.to_owned()))),
    ];
    let kinds = proptest::sample::subsequence(&TYPES[..], 0..=2);
    (streams, kinds, proptest::sample::subsequence(&TAGS[..], 0..=1)).prop_map(
        |((stream, stream_prefix), kinds, tags)| {
            let item = QueryItem { stream, stream_prefix, ..QueryItem::new().tags(tags) };
            let is_empty = item.stream.is_none() && item.stream_prefix.is_none() && item.tags.is_empty();
            if is_empty && kinds.is_empty() { item.types(["X"]) } else { item.types(kinds) }
        },
    )
}

fn queries() -> impl Strategy<Value = Query> {
    prop_oneof![
        1 => Just(Query::all()),
        3 => proptest::collection::vec(items(), 1..4).prop_map(|items| Query { all: false, items }),
    ]
}

/// The log with the name that each event's stream had by then.
struct Model {
    events: Vec<(RecordedEvent, Option<&'static str>)>,
    names: BTreeMap<Uuid, &'static str>,
    granted: Vec<&'static str>,
}

impl Model {
    fn may(&self, name: Option<&str>) -> bool {
        self.granted.contains(&"")
            || name.is_some_and(|name| self.granted.iter().any(|granted| name.starts_with(granted)))
    }

    /// The positions that a query finds of what may be read; none where it asks for what may not.
    fn find(&self, query: &Query) -> Option<Vec<u64>> {
        let everything = [QueryItem::new()];
        let items = if query.all { &everything[..] } else { &query.items };
        let is_allowed = |item: &QueryItem| match (&item.stream, item.stream_prefix.as_deref()) {
            (Some(stream), _) => {
                let resolved = stream.resolve().unwrap();
                self.may(resolved.name.as_ref().map(StreamName::as_str).or(self.names.get(&resolved.id).copied()))
            }
            (None, asked) => {
                let asked = asked.unwrap_or_default();
                self.granted.iter().any(|granted| granted.starts_with(asked) || asked.starts_with(granted))
            }
        };
        if !items.iter().all(is_allowed) {
            return None;
        }
        let matches = |event: &RecordedEvent, name: Option<&str>| {
            items.iter().any(|item| {
                let is_there = match (&item.stream, item.stream_prefix.as_deref()) {
                    (Some(stream), _) => stream.resolve().unwrap().id == event.stream_id,
                    (None, None) => self.may(name),
                    (None, Some(prefix)) => self.may(name) && name.is_some_and(|name| name.starts_with(prefix)),
                };
                is_there
                    && (item.types.is_empty() || item.types.contains(&event.event_type))
                    && item.tags.iter().all(|tag| event.tags.contains(tag))
            })
        };
        let found = self.events.iter().filter(|(event, name)| matches(event, *name));
        Some(found.map(|(event, _)| event.global_position).collect())
    }
}

struct Reader {
    client: EventStoreClient<Channel>,
    token: String,
}

fn positions(events: &[Bytes]) -> Vec<u64> {
    events.iter().map(|event| v1::RecordedEvent::decode(event.clone()).unwrap().position).collect()
}

impl Reader {
    async fn read(&mut self, query: &Query, direction: v1::Direction) -> Result<Vec<u64>, Status> {
        let source = Some(v1::read_request::Source::Query(query_to_wire(query)));
        let request = v1::ReadRequest { source, direction: direction.into(), ..Default::default() };
        let mut pages = self.client.read(with(&self.token, request)).await?.into_inner();
        let mut found = Vec::new();
        while let Some(page) = pages.message().await? {
            found.extend(positions(&page.events));
        }
        Ok(found)
    }

    /// A few at a time.
    async fn page_through(&mut self, query: &Query, direction: v1::Direction) -> Result<Vec<u64>, Status> {
        let (mut found, mut from) = (Vec::new(), None);
        loop {
            let query = (!query.all).then(|| query_to_wire(query));
            let request = v1::ReadAllRequest { query, from, direction: direction.into(), max_count: Some(3) };
            let page = self.client.read_all(with(&self.token, request)).await?.into_inner();
            found.extend(positions(&page.events));
            from = page.next;
            if from.is_none() {
                return Ok(found);
            }
        }
    }

    /// Until it has caught up with the log.
    async fn follow(&mut self, query: &Query, head: u64) -> Result<Vec<u64>, Status> {
        let source = Some(v1::subscribe_request::Source::Query(query_to_wire(query)));
        let request = v1::SubscribeRequest { source, ..Default::default() };
        let mut events = self.client.subscribe(with(&self.token, request)).await?.into_inner();
        let mut found = Vec::new();
        loop {
            match events.message().await?.expect("it goes on").event.unwrap() {
                Event::Events(events) => found.extend(positions(&events.events)),
                Event::CaughtUp(position) if position == head => return Ok(found),
                _ => {}
            }
        }
    }
}

async fn check(log: Vec<(Place, ProposedEvent)>, granted: Vec<&'static str>, queries: Vec<Query>) {
    let mut issuer = Issuer::new();
    let grants: Vec<_> = granted.iter().map(|prefix| (Role::Read, *prefix)).collect();
    let token = issuer.issue(&grants, None);
    issuer.write();
    let running = Running::start(issuer.options()).await;
    let mut model = Model { events: Vec::new(), names: BTreeMap::new(), granted };
    for (place, event) in log {
        let recorded = running.db.append(place.stream(), ExpectedVersion::Any, vec![event]).await.unwrap();
        if let Place::Name(name) = place {
            model.names.insert(place.id(), name);
        }
        let name = model.names.get(&place.id()).copied();
        model.events.extend(recorded.into_iter().map(|event| (event, name)));
    }
    let head = running.db.reads().global_position();
    let mut reader = Reader { client: running.client().await, token };
    for query in queries {
        let expected = model.find(&query);
        let backward = expected.clone().map(|mut found| {
            found.reverse();
            found
        });
        let told = |found: Result<Vec<u64>, Status>| match found {
            Ok(found) => Some(found),
            Err(status) => {
                assert_eq!(status.code(), Code::PermissionDenied, "{query:?}: {status}");
                None
            }
        };
        assert_eq!(told(reader.read(&query, v1::Direction::Forward).await), expected, "{query:?}");
        assert_eq!(told(reader.read(&query, v1::Direction::Backward).await), backward, "{query:?}");
        assert_eq!(told(reader.page_through(&query, v1::Direction::Forward).await), expected, "{query:?}");
        assert_eq!(told(reader.page_through(&query, v1::Direction::Backward).await), backward, "{query:?}");
        assert_eq!(told(reader.follow(&query, head).await), expected, "{query:?}");
    }
    drop(reader);
    running.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn a_reader_sees_what_its_prefixes_allow_and_nothing_else(
        log in events(),
        granted in proptest::sample::subsequence(&GRANTED[..], 0..=3),
        queries in proptest::collection::vec(queries(), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(soon(check(log, granted, queries)));
    }
}
