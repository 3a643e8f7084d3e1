//! Writing a checkpoint: the index of the active segment, so that the next opening need not read its frames.

use eventfold_codec::SegmentKey;

use crate::environment::new_salt;
use crate::error::Error;
use crate::file_index::{IndexedFrames, build};
use crate::files::FileName;
use crate::files::checkpoint::{CHECKPOINT_HEADER_LEN, CheckpointHeader, CheckpointSection};
use crate::index::{PAGE_CONTENT_LEN, PAGE_LEN};
use crate::maintenance::SegmentOptions;
use crate::open::write_file;
use crate::storage::Storage;
use crate::writer::Writer;

/// A segment with fewer bytes of frames than this has no checkpoint: reading them takes less time than writing one.
const CHECKPOINT_MIN: u64 = 4 << 10;

/// Writes the checkpoint of a store whose close frame stands at `close_offset`, and is synced.
pub(crate) fn write(writer: &Writer, options: &SegmentOptions, close_offset: u64) -> Result<(), Error> {
    let (active, shared) = (&writer.active, &writer.shared);
    if active.content.bytes < CHECKPOINT_MIN {
        return Ok(());
    }
    let segment = &active.segment;
    let frames = IndexedFrames {
        file: Storage::unpinned(&segment.file),
        key: segment.key,
        first_position: segment.first_position,
        end: active.end,
    };
    let content = build(&shared.storage, &frames)?.finish(options.index);
    let (end_position, append_count, frame_count) = (content.end_position, content.append_count, content.frame_count);
    let salt = new_salt(&*shared.environment);
    let pages = content.encode(&SegmentKey::new(salt), 0);
    let mut sections = Vec::with_capacity(pages.len());
    let mut offset = CHECKPOINT_HEADER_LEN as u64;
    for (kind, bytes) in &pages {
        sections.push(CheckpointSection {
            kind: *kind,
            offset,
            len: (bytes.len() / PAGE_LEN * PAGE_CONTENT_LEN) as u64,
        });
        offset += bytes.len() as u64;
    }
    let header = CheckpointHeader {
        store_id: options.store_id,
        segment: segment.number(),
        segment_salt: segment.header.salt,
        salt,
        close_offset,
        end: active.end,
        last_checksum: active.last.checksum,
        first_position: segment.first_position,
        end_position,
        incarnation: writer.incarnation,
        highest_incarnation: writer.incarnation,
        prepared_salt: active.announced,
        idempotency_window: writer.window.capacity(),
        content: active.content,
        append_count,
        frame_count,
        sections,
    };
    write_file(&**shared.storage.disk(), &FileName::Checkpoint(segment.number()), |file| {
        file.write_all_at(&header.encode(), 0)?;
        for ((_, bytes), section) in pages.iter().zip(&header.sections) {
            file.write_all_at(bytes, section.offset)?;
        }
        Ok(())
    })
}
