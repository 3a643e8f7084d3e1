//! Where the corpora start from: the same seeds in every run.

use eventfold_codec::{
    Digest, ExtensionArea, FIRST_FRAME_OFFSET, FramePlace, Link, PreparedSegment, ProposedAppend, ProposedEvent,
    Section, SegmentHeader, SegmentKey, SegmentSummary, StreamSlot, SystemFrame, encode_append, encode_footer,
    encode_system,
};
use uuid::Uuid;

use crate::shared::noise::instructions;
use crate::shared::sums;

/// Seeds for the target of this name.
///
/// # Panics
///
/// If there is no such target.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "frame" => {
            let mut seeds = Vec::new();
            for frame in frames() {
                for mode in [0u8, 1, 2] {
                    // Salt 1 at the first offset.
                    seeds.push([&[mode, 1], &*frame].concat());
                }
                // Near the end of the longest segment, where not every frame fits.
                seeds.push([&[1, 21], &*frame].concat());
                // Each field one more, one less, and all ones, with the checksums made right.
                for field in sums::fields(&frame) {
                    for change in [1, u8::MAX] {
                        let mut nearly = frame.clone();
                        nearly[field.start] = nearly[field.start].wrapping_add(change);
                        seeds.push([&[1, 1], &*nearly].concat());
                    }
                    let mut nearly = frame.clone();
                    nearly[field].fill(0xFF);
                    seeds.push([&[1, 1], &*nearly].concat());
                }
            }
            seeds.extend(instructions(0xF4, 96, |index| vec![3 + index % 2, index]));
            seeds
        }
        "scan" => {
            // Up to three segments, left alone or changed, arranged in every way; with a link most of the time.
            let mut seeds = instructions(0x5C, 96, |index| {
                vec![index.wrapping_mul(37), index / 3, 0x0C | (index << 5) | (index % 3)]
            });
            // Behind nothing, or a sealed segment: a link and one thing that does not belong to the log.
            seeds.extend(instructions(0x5D, 64, |index| vec![index >> 1 & 8, 0, 0x0C, 0, 1, index % 16]));
            // Two segments, arranged in every way: the first has a link, and announces the second or lies; the second is
            // prepared, or has a link.
            seeds.extend(instructions(0x5E, 64, |index| {
                let (kind, second) = (7 + (index >> 3 & 1), index >> 1 & 8);
                [&[1, index % 8, 0x0C, 3, 1, 9, 4, 0, kind, 0, 9, 2][..], &[0, 0, second, 0, 0]].concat()
            }));
            seeds
        }
        "header" => {
            let mut file = Vec::new();
            SegmentHeader::new(Uuid::from_u128(1), 3, 0xC0_FFEE).encode(&mut file);
            let mut seeds =
                vec![[&[0u8], &*file].concat(), [&[6u8], &*file].concat(), [&[0u8], &file[..5000]].concat()];
            seeds.extend(instructions(0x4E, 40, |index| vec![index | 1]));
            seeds
        }
        "footer" => {
            let mut seeds = Vec::new();
            for footer in footers() {
                for mode in [0x40u8, 0x41] {
                    seeds.push([&[mode], &*footer].concat());
                }
            }
            seeds.extend(instructions(0xF0, 64, |index| vec![index << 4 | 2 | index & 1]));
            seeds
        }
        _ => panic!("no target is called {target}"),
    }
}

fn frames() -> Vec<Vec<u8>> {
    let key = SegmentKey::new(1);
    let place = FramePlace {
        offset: FIRST_FRAME_OFFSET,
        incarnation: 1,
        durable_through: FIRST_FRAME_OFFSET,
        first_position: 10,
        recorded_at: 1_700_000_000_000,
    };
    let link = Link { salt: 5, end: 9000, checksum: 7 };
    let settings = eventfold_codec::Configuration { idempotency_window: 1024 };
    let mut frames: Vec<Vec<u8>> = [
        SystemFrame::Link(link, settings),
        SystemFrame::Configuration(settings),
        SystemFrame::Prepared(PreparedSegment { salt: 0xC0_FFEE }),
        SystemFrame::Watermark,
        SystemFrame::Close,
    ]
    .into_iter()
    .map(|frame| {
        let mut bytes = Vec::new();
        encode_system(frame, &key, &place, &mut bytes);
        bytes
    })
    .collect();

    let event = |number: u8| {
        ProposedEvent::new("Deposited", vec![number; 20])
            .with_metadata("by ann")
            .with_tags(["account:7", "branch:2"])
            .with_id(Uuid::from_u128(u128::from(number)))
    };
    let append = ProposedAppend::new()
        .events("account-7", vec![event(1), event(2)])
        .events(Uuid::from_u128(9), vec![event(3)])
        .events("account-7", vec![event(4)])
        .check(Uuid::nil)
        .expect("it is a valid append");
    let mut extensions = ExtensionArea::default();
    for with_extension in [false, true] {
        if with_extension {
            extensions.push(3, b"trace").expect("it fits");
        }
        let slot = StreamSlot { first_version: 4, with_name: true };
        let mut bytes = Vec::new();
        encode_append(&append, &[slot; 2], &key, &place, &extensions, &mut bytes);
        frames.push(bytes);
    }
    frames
}

fn footers() -> Vec<Vec<u8>> {
    let key = SegmentKey::new(1);
    let summary = SegmentSummary {
        data_end: FIRST_FRAME_OFFSET,
        first_position: 1,
        end_position: 5,
        append_count: 2,
        frame_count: 4,
        stream_count: 2,
        last_incarnation: 1,
        last_checksum: 6,
        byte_digest: Digest([1; 32]),
        logical_digest: Digest([2; 32]),
        previous_byte_digest: Digest([3; 32]),
        previous_logical_digest: Digest([4; 32]),
    };
    let section = |kind, required, bytes| Section { kind, required, bytes };
    let sections = [
        section(1, false, b"twelve bytes".as_slice()),
        section(2, true, b"".as_slice()),
        section(7, false, b"eight bytes, twice".as_slice()),
    ];
    [&sections[..0], &sections[..1], &sections]
        .into_iter()
        .map(|sections| {
            let mut bytes = Vec::new();
            encode_footer(&summary, sections, &key, &mut bytes);
            bytes
        })
        .collect()
}
