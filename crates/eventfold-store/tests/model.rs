//! The store against a reference that keeps everything in lists, over any sequence of appends, reads, faults, reopenings
//! and crashes. `PROPTEST_CASES` asks for more of them.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support {
    pub(crate) mod model;
    pub(crate) mod run;
    pub(crate) mod scenario;
}

use eventfold_io::sim::{FailedPages, Fault, Keep, When};
use eventfold_io::{IoErrorKind, Operation};
use proptest::prelude::*;
use support::model::Criteria;
use support::run::{
    AppendSpec, Change, ConditionSpec, Ending, EventSpec, Op, PREFIXES, ReadSpec, STREAMS, Setup, TAGS, TYPES, run,
    stream,
};

/// How many cases are tried where nothing else is asked for.
const CASES: u32 = 256;

const EIO: IoErrorKind = IoErrorKind::DeviceFailed;
const FULL: IoErrorKind = IoErrorKind::StorageFull;

fn event_spec() -> impl Strategy<Value = EventSpec> {
    let len = prop_oneof![6 => 0..100usize, 3 => 1_000..6_000usize, 1 => Just(20_000usize)];
    (0..TYPES.len(), proptest::sample::subsequence((0..TAGS.len()).collect::<Vec<_>>(), 0..3), len)
        .prop_map(|(event_type, tags, len)| EventSpec { event_type, tags, len })
}

fn criteria() -> impl Strategy<Value = Criteria> {
    let texts = |texts: &'static [&'static str]| proptest::sample::subsequence(texts.to_vec(), 0..3);
    let streams = prop_oneof![
        2 => Just((None, None)),
        1 => (0..STREAMS - 1).prop_map(|number| (Some(stream(number)), None)),
        1 => proptest::sample::select(&PREFIXES[..]).prop_map(|prefix| (None, Some(prefix.to_owned()))),
    ];
    (texts(&TYPES), texts(&TAGS), streams)
        .prop_map(|(types, tags, (stream, prefix))| Criteria {
            types: types.into_iter().map(str::to_owned).collect(),
            tags: tags.into_iter().map(str::to_owned).collect(),
            stream,
            prefix,
        })
        .prop_filter("a query's item has criteria", |item| {
            !(item.types.is_empty() && item.tags.is_empty() && item.stream.is_none() && item.prefix.is_none())
        })
}

fn items() -> impl Strategy<Value = Vec<Criteria>> {
    prop::collection::vec(criteria(), 0..3)
}

fn conditions() -> impl Strategy<Value = Vec<ConditionSpec>> {
    let condition = prop_oneof![
        1 => (0..STREAMS).prop_map(ConditionSpec::Any),
        2 => (0..STREAMS - 1).prop_map(ConditionSpec::NoStream),
        2 => (0..STREAMS - 1).prop_map(ConditionSpec::Exists),
        4 => (0..STREAMS - 1, -2..2i64).prop_map(|(stream, delta)| ConditionSpec::Exact(stream, delta)),
        4 => (0..STREAMS - 1).prop_map(|stream| ConditionSpec::Exact(stream, 0)),
        3 => (items(), prop::option::of(0..6u64)).prop_map(|(items, back)| ConditionSpec::NoMatch(items, back)),
    ];
    prop_oneof![3 => Just(Vec::new()), 4 => prop::collection::vec(condition, 0..3)]
}

fn append_spec() -> impl Strategy<Value = AppendSpec> {
    let run = (0..STREAMS, prop::collection::vec(event_spec(), 1..4));
    let new = (prop::collection::vec(run, 1..4), conditions())
        .prop_map(|(runs, conditions)| AppendSpec::New { runs, conditions });
    let change = prop_oneof![
        3 => Just(Change::Nothing),
        1 => Just(Change::Payload),
        1 => Just(Change::LastId),
        1 => Just(Change::OneMore),
        1 => (0..STREAMS).prop_map(Change::OtherStream),
    ];
    let again = (any::<usize>(), change, prop::option::of(conditions()))
        .prop_map(|(which, change, conditions)| AppendSpec::Again { which, change, conditions });
    prop_oneof![4 => new, 1 => again]
}

fn group() -> impl Strategy<Value = Vec<AppendSpec>> {
    prop::collection::vec(append_spec(), 1..5)
}

fn read_spec() -> impl Strategy<Value = ReadSpec> {
    let max_count = prop_oneof![Just(0), 1..10u64, Just(u64::MAX)];
    (any::<usize>(), max_count, any::<bool>(), items(), 0..STREAMS - 1, 0..PREFIXES.len()).prop_map(
        |(from, max_count, backward, items, stream, prefix)| ReadSpec {
            from,
            max_count,
            backward,
            items,
            stream,
            prefix,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => append_spec().prop_map(Op::Append),
        4 => group().prop_map(Op::Group),
        3 => (group(), group()).prop_map(|(first, second)| Op::Overlapping(first, second)),
        4 => read_spec().prop_map(Op::Read),
        1 => Just(Op::Snapshot),
        1 => Just(Op::Idle),
        1 => prop_oneof![0..6u32, Just(1000u32)].prop_map(Op::SetWindow),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
        1 => (group(), any::<bool>()).prop_map(|(group, written)| Op::Crash { group, written }),
        1 => any::<bool>().prop_map(|killed| Op::ReadOnly { killed }),
        1 => (0..300_000u64, group()).prop_map(|(room, specs)| Op::Full { room, specs }),
        3 => failing(),
    ]
}

/// A fault that can happen, on one operation of all, or on one of a kind.
fn fault() -> impl Strategy<Value = (When, Fault)> {
    let nth = (1..60u64, prop_oneof![Just(Fault::Die), Just(Fault::Fail(EIO)), Just(Fault::Fail(FULL))])
        .prop_map(|(nth, fault)| (When::at(nth), fault));
    let pages = proptest::sample::select(vec![FailedPages::Dropped, FailedPages::KeptDirty, FailedPages::Clean]);
    let sync = (1..6u64, pages, any::<u64>()).prop_map(|(nth, pages, mask)| {
        let fault = Fault::FailedSync { kind: EIO, pages, reached: Keep::mask(mask) };
        (When::on_sync().nth(nth), fault)
    });
    let write = (1..8u64, 0..9_000u64)
        .prop_map(|(nth, len)| (When::on(Operation::Write).nth(nth), Fault::ShortWrite { len, kind: EIO }));
    let read = (1..20u64, 1..3u64)
        .prop_map(|(nth, times)| (When::on(Operation::Read).nth(nth).times(times), Fault::Fail(EIO)));
    prop_oneof![2 => nth, 2 => sync, 1 => write, 1 => read]
}

fn failing() -> impl Strategy<Value = Op> {
    let ending = proptest::sample::select(vec![Ending::GoOn, Ending::Close, Ending::Kill, Ending::Crash]);
    (fault(), group(), any::<bool>(), ending, prop::option::of(fault())).prop_map(
        |((when, fault), specs, grouped, ending, reopening)| Op::Failing {
            when,
            fault,
            specs,
            grouped,
            ending,
            reopening,
        },
    )
}

fn setup() -> impl Strategy<Value = Setup> {
    (
        any::<u64>(),
        // In larger segments, what a checkpoint indexes and what came later are parts of one.
        proptest::sample::select(vec![64u64 << 10, 64 << 10, 256 << 10]),
        proptest::sample::select(vec![0u32, 3, 1 << 20]),
        proptest::sample::select(vec![0u64, 20_000, 1 << 20]),
        proptest::sample::select(vec![0u64, 1 << 20]),
    )
        .prop_map(|(seed, segment_size, window, hot_tail_bytes, cache_bytes)| Setup {
            seed,
            segment_size,
            window,
            hot_tail_bytes,
            cache_bytes,
        })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_store_does_what_its_model_does(setup in setup(), ops in prop::collection::vec(op(), 1..60)) {
        run(setup, &ops);
    }
}
