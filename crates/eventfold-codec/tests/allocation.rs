//! Bytes from outside never make a decoder allocate more than a small multiple of themselves.
//!
//! The only test of its binary: what it counts is what the whole process allocates.

mod support;

use std::alloc::System;

use eventfold_codec::recovery::{Progress, SegmentEnd, SegmentInfo, SegmentScan};
use eventfold_codec::{
    FIRST_FRAME_OFFSET, FRAME_HEADER_LEN, FooterHeader, Frame, MAX_EVENTS_PER_APPEND, ProposedAppend, ProposedEvent,
    SegmentHeader, Trailer,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{SALT, encoded, hex, key, place, valid};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes allocated, freed ones included, while `work` runs.
fn allocated(work: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    change.bytes_allocated
}

fn scan(file: &[u8]) {
    let info = SegmentInfo { number: 0, salt: SALT, capacity: 0, file_len: file.len() as u64 };
    let mut scan = SegmentScan::new(info, SegmentEnd::GENESIS, None);
    while let Ok(Progress::Frame(_)) = scan.step(0, file) {}
}

#[test]
fn decoding_allocates_a_small_multiple_of_its_input() {
    // A frame of as many streams as there can be is the one for which verifying keeps most.
    let many = (0..MAX_EVENTS_PER_APPEND as u128).fold(ProposedAppend::new(), |append, stream| {
        append.events(Uuid::from_u128(stream), vec![ProposedEvent::new("t", "")])
    });
    let one = ProposedAppend::new().events("s", vec![ProposedEvent::new("t", vec![1; 100_000]); 10]);
    let frames = [encoded(&valid(many), &place(8192, 0)).0, encoded(&valid(one), &place(8192, 0)).0];
    for bytes in &frames {
        let spent = allocated(|| {
            Frame::open(bytes, &key(), 8192).expect("sound").verify().expect("sound");
        });
        assert!(spent <= 2 * bytes.len(), "{spent} bytes for a frame of {}", bytes.len());
    }

    // Lengths and counts that lie: every word of a small frame, a header and a footer set to the largest value.
    let goldens = [
        include_str!("golden/multi_stream.hex"),
        include_str!("golden/link.hex"),
        include_str!("golden/segment_header.hex"),
        include_str!("golden/footer.hex"),
    ];
    for golden in goldens.map(hex) {
        for at in (0..golden.len().min(1024) - 8).step_by(2) {
            let mut lying = golden.clone();
            lying[at..at + 4].fill(0xFF);
            let mut file = vec![0; usize::try_from(FIRST_FRAME_OFFSET).expect("small")];
            file.extend_from_slice(&lying);
            let spent = allocated(|| {
                for offset in [8192, 8448, 9200] {
                    if let Ok(frame) = Frame::open(&lying, &key(), offset) {
                        let _ = frame.verify();
                        frame.events().for_each(drop);
                    }
                }
                let _ = SegmentHeader::decode(&lying);
                if let Ok(header) = FooterHeader::decode(&lying, &key(), 9200) {
                    let _ = header.directory(&lying, &key(), |_| true);
                }
                let _ = Trailer::decode(&lying, &key(), 9200 + lying.len() as u64);
                scan(&file);
            });
            assert!(spent <= 4 * file.len() + FRAME_HEADER_LEN, "{spent} bytes for {} at {at}", lying.len());
        }
    }
}
