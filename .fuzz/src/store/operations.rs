//! Lists of operations with faults, on a store and on a reference that keeps everything in lists: the runner of
//! `crates/eventfold-store/tests/model.rs`, fed from bytes.

use eventfold_io::sim::{FailedPages, Fault, Keep, When};
use eventfold_io::{IoErrorKind, Operation};

use super::model::Criteria;
use super::run::{
    AppendSpec, Change, ConditionSpec, Ending, EventSpec, Op, PREFIXES, ReadSpec, STREAMS, Setup, TAGS, TYPES, run,
    stream,
};
use crate::shared::reader::Reader;

/// The most operations of a list. More of them find no more, and take longer.
const OPS_MAX: usize = 12;

/// Appends, reads, faults, ends and beginnings.
///
/// # Panics
///
/// If the store's answers are not the reference's.
pub fn operations(data: &[u8]) {
    let mut input = Reader::new(data);
    let shape = input.u8();
    let setup = Setup {
        seed: u64::from(input.u8()),
        segment_size: if shape & 3 == 3 { 128 << 10 } else { 64 << 10 },
        window: [1 << 20, 0, 3, 1][usize::from(shape >> 2 & 3)],
        hot_tail_bytes: [1 << 20, 20_000, 1 << 20, 0][usize::from(shape >> 4 & 3)],
        cache_bytes: [1 << 20, 1 << 20, 1 << 20, 0][usize::from(shape >> 6)],
    };
    let mut ops = Vec::new();
    while !input.is_empty() && ops.len() < OPS_MAX {
        ops.push(op(&mut input));
    }
    run(setup, &ops);
}

fn op(input: &mut Reader<'_>) -> Op {
    let shape = input.u8();
    let flag = shape & 0x80 != 0;
    match shape % 32 {
        0..=9 => Op::Append(append(input)),
        10..=12 => Op::Group(group(input)),
        13..=15 => Op::Overlapping(group(input), group(input)),
        16 | 17 => Op::Read(read(input)),
        18 => Op::Snapshot,
        19 => Op::Idle,
        20 => Op::SetWindow(if flag { 1000 } else { u32::from(input.u8() % 6) }),
        21 => Op::Reopen,
        22 => Op::Kill,
        23 | 24 => Op::Crash { group: group(input), written: flag },
        25 => Op::ReadOnly { killed: flag },
        26 => Op::Full { room: u64::from(input.u16()) * 4, specs: group(input) },
        _ => failing(input, flag),
    }
}

fn group(input: &mut Reader<'_>) -> Vec<AppendSpec> {
    (0..=input.u8() % 4).map(|_| append(input)).collect()
}

fn append(input: &mut Reader<'_>) -> AppendSpec {
    let shape = input.u8();
    if shape & 7 == 7 {
        let change = match shape >> 3 & 7 {
            0..=3 => Change::Nothing,
            4 => Change::Payload,
            5 => Change::LastId,
            6 => Change::OneMore,
            _ => Change::OtherStream(usize::from(input.u8()) % STREAMS),
        };
        let which = usize::from(input.u8());
        return AppendSpec::Again { which, change, conditions: (shape >> 6 == 3).then(|| conditions(input)) };
    }
    let runs = (0..=shape >> 3 & 1)
        .map(|_| {
            let head = input.u8();
            let events = (0..=head >> 6 & 1).map(|_| event(input)).collect();
            (usize::from(head & 63) % STREAMS, events)
        })
        .collect();
    AppendSpec::New { runs, conditions: if shape >> 4 & 1 == 1 { conditions(input) } else { Vec::new() } }
}

fn event(input: &mut Reader<'_>) -> EventSpec {
    let shape = input.u8();
    let event_type = usize::from(shape & 3) % TYPES.len();
    let tags = (0..TAGS.len()).filter(|tag| shape >> 2 & 3 != 0 && (usize::from(shape >> 2) + tag) % 3 == 0).collect();
    let len = match shape >> 5 {
        0..=3 => usize::from(shape >> 4),
        4 | 5 => 12 * usize::from(input.u8()),
        6 => 5_000,
        _ => 20_000,
    };
    EventSpec { event_type, tags, len }
}

fn conditions(input: &mut Reader<'_>) -> Vec<ConditionSpec> {
    (0..=input.u8() % 2)
        .map(|_| {
            let shape = input.u8();
            let stream = usize::from(shape >> 4) % (STREAMS - 1);
            match shape & 15 {
                0 => ConditionSpec::Any(stream),
                1 | 2 => ConditionSpec::NoStream(stream),
                3 | 4 => ConditionSpec::Exists(stream),
                5 => ConditionSpec::Exact(stream, -2),
                6 => ConditionSpec::Exact(stream, -1),
                7 => ConditionSpec::Exact(stream, 1),
                8..=11 => ConditionSpec::Exact(stream, 0),
                12 | 13 => ConditionSpec::NoMatch(items(input), None),
                _ => ConditionSpec::NoMatch(items(input), Some(u64::from(shape >> 4))),
            }
        })
        .collect()
}

/// No items: every event.
fn items(input: &mut Reader<'_>) -> Vec<Criteria> {
    (0..input.u8() % 3)
        .map(|_| {
            let shape = input.u8();
            let mut criteria = Criteria::default();
            let (first, second) = (usize::from(shape & 3), usize::from(shape >> 2 & 3));
            match shape >> 4 {
                0..=2 => criteria.types = vec![TYPES[first].to_owned()],
                3 => criteria.types = vec![TYPES[first].to_owned(), TYPES[second].to_owned()],
                4..=6 => criteria.tags = vec![TAGS[first].to_owned()],
                7 => criteria.tags = vec![TAGS[first].to_owned(), TAGS[second].to_owned()],
                8 | 9 => {
                    criteria.types = vec![TYPES[first].to_owned()];
                    criteria.tags = vec![TAGS[second].to_owned()];
                }
                10..=12 => criteria.stream = Some(stream(usize::from(shape & 15) % (STREAMS - 1))),
                13 => {
                    criteria.stream = Some(stream(second));
                    criteria.tags = vec![TAGS[first].to_owned()];
                }
                _ => criteria.prefix = Some(PREFIXES[usize::from(shape & 15) % PREFIXES.len()].to_owned()),
            }
            criteria
        })
        .collect()
}

fn read(input: &mut Reader<'_>) -> ReadSpec {
    let shape = input.u8();
    ReadSpec {
        from: usize::from(input.u8()),
        max_count: [u64::MAX, 0, 1, u64::from(shape >> 4)][usize::from(shape & 3)],
        backward: shape >> 2 & 1 == 1,
        items: items(input),
        stream: usize::from(shape >> 3) % (STREAMS - 1),
        prefix: usize::from(shape >> 5) % PREFIXES.len(),
    }
}

fn failing(input: &mut Reader<'_>, grouped: bool) -> Op {
    let shape = input.u8();
    let ending = [Ending::GoOn, Ending::Close, Ending::Kill, Ending::Crash][usize::from(shape & 3)];
    let (when, fault) = fault(input);
    let reopening = (shape >> 2 & 3 == 3).then(|| self::fault(input));
    Op::Failing { when, fault, specs: group(input), grouped, ending, reopening }
}

/// What can be injected together with an error.
const OPERATIONS: [Operation; 12] = [
    Operation::Write,
    Operation::SyncData,
    Operation::SyncAll,
    Operation::Allocate,
    Operation::Read,
    Operation::Create,
    Operation::SyncDirectory,
    Operation::Rename,
    Operation::Open,
    Operation::SetLen,
    Operation::Remove,
    Operation::Len,
];

fn fault(input: &mut Reader<'_>) -> (When, Fault) {
    let (shape, number) = (input.u8(), input.u8());
    let nth = u64::from(number);
    let eio = IoErrorKind::DeviceFailed;
    let kind = [eio, eio, IoErrorKind::StorageFull, IoErrorKind::TooManyOpenFiles][usize::from(shape >> 3 & 3)];
    let pages = [FailedPages::Clean, FailedPages::Dropped, FailedPages::KeptDirty][usize::from(shape >> 5) % 3];
    let few = 1 + nth % 8;
    match shape & 7 {
        0 => (When::at(1 + nth), Fault::Die),
        1 => (When::at(1 + nth), Fault::Fail(kind)),
        2 | 3 => {
            let operation = OPERATIONS[usize::from(number >> 4) % OPERATIONS.len()];
            let when = When::on(operation).nth(few);
            (if shape >> 7 == 1 { when.always() } else { when }, Fault::Fail(kind))
        }
        4 => {
            let len = u64::from(input.u16()) % 9000;
            (When::on(Operation::Write).nth(few), Fault::ShortWrite { len, kind: eio })
        }
        5 => {
            let reached = Keep::mask(u64::from(input.u8()));
            (When::on(Operation::SyncDirectory).nth(few), Fault::FailedSync { kind: eio, pages, reached })
        }
        _ => {
            let reached = Keep::mask(u64::from(input.u16()) << (nth >> 3));
            (When::on_sync().nth(few), Fault::FailedSync { kind: eio, pages, reached })
        }
    }
}
