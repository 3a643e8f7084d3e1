//! Making a store: segment 0 with its link, then `store.meta`. Cut anywhere before that is synced, there is no store yet.

use eventfold_codec::recovery::SegmentEnd;
use eventfold_codec::{Configuration, FIRST_FRAME_OFFSET, FramePlace, SegmentHeader, SystemFrame, encode_system};
use eventfold_io::Disk;

use crate::environment::{new_id, new_salt};
use crate::error::Error;
use crate::files::FileName;
use crate::files::meta::StoreMeta;
use crate::options::StoreOptions;
use crate::preparation::prepare;
use crate::storage::Storage;

pub(super) fn create(storage: &Storage, options: &StoreOptions) -> Result<(), Error> {
    let environment = &*options.environment;
    let meta = StoreMeta {
        store_id: new_id(environment),
        segment_size: options.new_segment_size(),
        idempotency_window: options.new_idempotency_window(),
    };
    let header = SegmentHeader {
        store_id: meta.store_id,
        number: 0,
        salt: new_salt(environment),
        segment_size: meta.segment_size,
        idempotency_window: meta.idempotency_window,
    };
    let segment = prepare(storage.disk(), header)?;
    let mut link = Vec::new();
    let place = FramePlace {
        offset: FIRST_FRAME_OFFSET,
        incarnation: 1,
        durable_through: FIRST_FRAME_OFFSET,
        first_position: 0,
        recorded_at: environment.unix_ms(),
    };
    let settings = Configuration { idempotency_window: meta.idempotency_window };
    encode_system(SystemFrame::Link(SegmentEnd::GENESIS.link(), settings), &header.key(), &place, &mut link);
    segment.handle.write_all_at(&link, FIRST_FRAME_OFFSET)?;
    segment.handle.sync_data()?;
    write_meta(&**storage.disk(), &meta)
}

/// Writes `store.meta` beside the old one, if there is any, and puts it in its place.
pub(crate) fn write_meta(disk: &dyn Disk, meta: &StoreMeta) -> Result<(), Error> {
    write_file(disk, &FileName::Meta, |file| Ok(file.write_all_at(&meta.encode(), 0)?))
}

/// Writes a file that is there whole or not at all.
pub(crate) fn write_file(
    disk: &dyn Disk,
    name: &FileName,
    write: impl FnOnce(&dyn eventfold_io::DiskFile) -> Result<(), Error>,
) -> Result<(), Error> {
    let unfinished = name.unfinished().to_string();
    if disk.exists(&unfinished)? {
        disk.remove(&unfinished)?;
    }
    let file = disk.create(&unfinished)?;
    write(&*file)?;
    file.sync_all()?;
    disk.rename(&unfinished, &name.to_string())?;
    disk.sync_directory()?;
    Ok(())
}
