//! A tour of the format: a segment is built in memory and dumped, then its end is torn off and a synced byte flipped, and
//! each time recovery says what it makes of that.
//!
//! ```sh
//! cargo run -p eventfold-codec --example tour
//! ```

use eventfold_codec::recovery::{Progress, SegmentEnd, SegmentInfo, SegmentScan, decide};
use eventfold_codec::{
    Configuration, ExtensionArea, FIRST_FRAME_OFFSET, FramePlace, MIN_SEGMENT_SIZE, ProposedAppend, ProposedEvent,
    SegmentHeader, StreamSlot, SystemFrame, encode_append, encode_system,
};
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    // Ids, salts and times come from outside: the codec draws none itself.
    let header =
        SegmentHeader { segment_size: MIN_SEGMENT_SIZE, ..SegmentHeader::new(Uuid::from_u128(1), 0, 0x5A17_ED00_5EED) };
    let key = header.key();
    let mut file = Vec::new();
    header.encode(&mut file);

    println!("A segment starts with its header, twice, then its link frame, then one frame for each append:\n");
    let place = |offset, first_position| FramePlace {
        offset,
        incarnation: 1,
        durable_through: offset, // each frame is a group of its own here, synced before the next is written
        first_position,
        recorded_at: 1_700_000_000_000,
    };
    let settings = Configuration { idempotency_window: header.idempotency_window };
    let link = SystemFrame::Link(SegmentEnd::GENESIS.link(), settings);
    encode_system(link, &key, &place(FIRST_FRAME_OFFSET, 0), &mut file);

    let transfer = ProposedAppend::new()
        .events("account-7", vec![ProposedEvent::new("Withdrawn", r#"{"cents":500}"#).with_tags(["transfer:1"])])
        .events("account-8", vec![ProposedEvent::new("Deposited", r#"{"cents":500}"#).with_tags(["transfer:1"])])
        .check(|| Uuid::from_u128(100))?;
    let note = ProposedAppend::new()
        .events("account-7", vec![ProposedEvent::new("Noted", "thanks").with_metadata("by ann")])
        .check(|| Uuid::from_u128(101))?;
    let first = StreamSlot { first_version: 0, with_name: true };
    let extensions = ExtensionArea::default();
    let at = place(file.len() as u64, 0);
    encode_append(&transfer, &[first, first], &key, &at, &extensions, &mut file);
    let note_at = place(file.len() as u64, 2);
    let again = StreamSlot { first_version: 1, with_name: false };
    encode_append(&note, &[again], &key, &note_at, &extensions, &mut file);
    let close_at = place(file.len() as u64, 3);
    let end = file.len();
    encode_system(SystemFrame::Close, &key, &close_at, &mut file);
    file.resize(usize::try_from(header.capacity())?, 0); // zeroes, already allocated and synced
    recover(&header, &file, true)?;

    println!("\nThe bytes of the last frame:\n");
    let last = &file[usize::try_from(note_at.offset)?..end];
    for (row, bytes) in last.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String = bytes.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '.' }).collect();
        println!("  {:5}  {:47}  {text}", note_at.offset + 16 * row as u64, hex.join(" "));
    }

    println!("\nPower fails while the last frame is written, and only half of it reaches the disk:\n");
    let mut torn = file.clone();
    torn[end..].fill(0);
    torn[end - last.len() / 2..end].fill(0);
    recover(&header, &torn, false)?;

    println!("\nOne bit of the first append rots, which the frame after it proves to have been synced:\n");
    let mut rotten = file.clone();
    rotten[usize::try_from(at.offset)? + 100] ^= 1;
    recover(&header, &rotten, false)
}

/// Scans the segment, prints its events if asked to, and what recovery decides.
fn recover(header: &SegmentHeader, file: &[u8], print: bool) -> Result<()> {
    let info = SegmentInfo::new(header, file.len() as u64);
    let mut scan = SegmentScan::new(info, SegmentEnd::GENESIS, None);
    while let Progress::Frame(verified) = scan.step(0, file)? {
        let frame = verified.frame();
        if print {
            println!("  {:5}  {:?}, {} bytes", frame.offset(), frame.kind(), frame.bytes().len());
            for event in verified.events() {
                println!(
                    "           position {}  stream {} version {}  {} {}  {:?}",
                    event.global_position,
                    event.stream_id,
                    event.stream_version,
                    event.event_type,
                    String::from_utf8_lossy(event.payload),
                    event.tags,
                );
            }
        }
    }
    match decide(&[scan.finish()], false) {
        Ok(recovery) => {
            println!(
                "  The log ends {:?} at offset {}, position {}.",
                recovery.end, recovery.offset, recovery.position
            );
            for step in recovery.steps {
                println!("    {step:?}");
            }
        }
        Err(refusal) => println!("  Refused: {refusal}."),
    }
    Ok(())
}
