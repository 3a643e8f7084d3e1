//! Bytes from outside never make a decoder allocate more than a small multiple of themselves.
//!
//! The only test of its binary: what it counts is what the whole process allocates.

#[path = "../../../.fuzz/src/shared/sums.rs"]
#[expect(dead_code, reason = "what the fuzz targets need of it is more")]
mod sums;
mod support;

use std::alloc::System;

use eventfold_codec::recovery::{Progress, SegmentEnd, SegmentInfo, SegmentScan};
use eventfold_codec::{
    FIRST_FRAME_OFFSET, FooterHeader, Frame, FrameError, MAX_EVENTS_PER_APPEND, ProposedAppend, ProposedEvent,
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

    // Lengths and counts that lie under checksums that are right: every word set to large values in turn.
    let lies = [[0xFF; 4], [0xFF, 0xFF, 0xFF, 0x7F], [0, 0, 1, 0], [0xF8, 0xFF, 0x3F, 0]];
    let frames = [(include_str!("golden/multi_stream.hex"), 8448), (include_str!("golden/link.hex"), 8192)];
    for (golden, offset) in frames {
        let golden = hex(golden);
        let mut reached = 0;
        for (at, lie) in (4..golden.len() - 4).flat_map(|at| lies.map(|lie| (at, lie))) {
            let mut lying = golden.clone();
            lying[at..at + 4].copy_from_slice(&lie);
            sums::repair_frame(&mut lying, SALT, offset);
            sums::repair_frame_header(&mut lying, SALT, offset);
            let mut file = vec![0; usize::try_from(FIRST_FRAME_OFFSET).expect("small")];
            file.extend_from_slice(&lying);
            let spent = allocated(|| {
                if let Ok(frame) = Frame::open(&lying, &key(), offset) {
                    let _ = frame.verify();
                    frame.events().for_each(drop);
                }
                scan(&file);
            });
            assert!(spent <= 2 * lying.len(), "{spent} bytes for {} at {at}", lying.len());
            let opened = Frame::open(&lying, &key(), offset);
            reached += usize::from(!matches!(opened, Err(FrameError::HeaderChecksum(_))));
        }
        assert!(reached > golden.len() * 3, "{reached}: most lies get past the checksum");
    }
    let golden = hex(include_str!("golden/footer.hex"));
    for (at, lie) in (8..golden.len() - 4).flat_map(|at| lies.map(|lie| (at, lie))) {
        let mut lying = golden.clone();
        lying[at..at + 4].copy_from_slice(&lie);
        sums::repair_footer(&mut lying, SALT, 9200);
        let spent = allocated(|| {
            if let Ok(header) = FooterHeader::decode(&lying, &key(), 9200) {
                let _ = header.directory(&lying, &key(), |_| true);
            }
            let _ = Trailer::decode(&lying, &key(), 9200 + lying.len() as u64);
        });
        assert!(spent <= lying.len(), "{spent} bytes for {} at {at}", lying.len());
    }
    let golden = hex(include_str!("golden/segment_header.hex"));
    for (at, lie) in (8..64).flat_map(|at| lies.map(|lie| (at, lie))) {
        let mut lying = golden.clone();
        lying[at..at + 4].copy_from_slice(&lie);
        sums::repair_segment_header(&mut lying[..4096], 0);
        let spent = allocated(|| {
            let _ = SegmentHeader::decode(&lying);
        });
        assert_eq!(spent, 0);
    }
}
