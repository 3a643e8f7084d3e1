//! Backups and exports.

use eventfold_backup::{Chunk, ExportedEvent, FileEntry, ImportReport, Manifest};
use eventfold_store::{Consequence, SealedFile, StreamName, Tag};

use super::event::{id_from_wire, recorded_event, uuid_to_wire};
use super::malformed::{Malformed, in_element};
use crate::v1;
use crate::v1::verify_response::Consequence as WireConsequence;

/// What the bytes of a sealed segment are.
pub fn sealed_to_wire(sealed: &SealedFile) -> v1::SealedFile {
    v1::SealedFile {
        segment: sealed.segment,
        data_end: sealed.data_end,
        previous_digest: sealed.previous_digest.to_vec().into(),
        digest: sealed.digest.to_vec().into(),
    }
}

/// What the bytes of a sealed segment are.
///
/// # Errors
///
/// [`Malformed`] where a digest is none.
pub fn sealed_from_wire(sealed: &v1::SealedFile) -> Result<SealedFile, Malformed> {
    let digest = |bytes: &[u8], field: &'static str| {
        <[u8; 32]>::try_from(bytes).map_err(|_| Malformed::new(field, "has to be the 32 bytes of a digest"))
    };
    Ok(SealedFile {
        segment: sealed.segment,
        data_end: sealed.data_end,
        previous_digest: digest(&sealed.previous_digest, "previous_digest")?,
        digest: digest(&sealed.digest, "digest")?,
    })
}

/// Which files a backup has.
pub fn manifest_to_wire(manifest: &Manifest) -> v1::BackupManifest {
    let file = |file: &FileEntry| v1::BackupFile {
        name: file.name.clone(),
        len: file.len,
        file_len: file.file_len,
        sealed: file.sealed.as_ref().map(sealed_to_wire),
    };
    v1::BackupManifest {
        store_id: uuid_to_wire(manifest.store_id),
        position: manifest.position,
        files: manifest.files.iter().map(file).collect(),
    }
}

/// Which files a backup has. Whether they are a store's is for who takes them to see.
///
/// # Errors
///
/// [`Malformed`] where an id or a digest is none.
pub fn manifest_from_wire(manifest: v1::BackupManifest) -> Result<Manifest, Malformed> {
    let file = |(index, file): (usize, v1::BackupFile)| {
        let sealed = file.sealed.as_ref().map(sealed_from_wire).transpose();
        let sealed = sealed.map_err(|malformed| in_element("files", index)(malformed.within("sealed")))?;
        Ok(FileEntry { name: file.name, len: file.len, file_len: file.file_len, sealed })
    };
    Ok(Manifest {
        store_id: id_from_wire(&manifest.store_id, "store_id")?,
        position: manifest.position,
        files: manifest.files.into_iter().enumerate().map(file).collect::<Result<_, Malformed>>()?,
    })
}

/// A part of a backup's file.
pub fn chunk_to_wire(chunk: Chunk) -> v1::BackupChunk {
    // A log has no more segments than that.
    let file = u32::try_from(chunk.file).unwrap_or(u32::MAX);
    v1::BackupChunk { file, offset: chunk.offset, data: chunk.data }
}

/// A part of a backup's file.
pub fn chunk_from_wire(chunk: v1::BackupChunk) -> Chunk {
    Chunk { file: usize::try_from(chunk.file).unwrap_or(usize::MAX), offset: chunk.offset, data: chunk.data }
}

/// An event with what belongs to it.
pub fn exported_to_wire(exported: ExportedEvent) -> v1::ExportedEvent {
    let event = exported.event;
    let recorded = v1::RecordedEvent {
        id: uuid_to_wire(event.event_id),
        stream_id: uuid_to_wire(event.stream_id),
        stream_version: event.stream_version,
        position: event.global_position,
        recorded_at: event.recorded_at,
        r#type: event.event_type.into(),
        tags: event.tags.into_iter().map(Tag::into).collect(),
        metadata: event.metadata,
        payload: event.payload,
    };
    v1::ExportedEvent {
        event: Some(recorded),
        append: exported.append,
        append_events: exported.append_events,
        stream_name: exported.stream_name.map(|name| name.as_str().to_owned()),
    }
}

/// An event with what belongs to it.
///
/// # Errors
///
/// [`Malformed`] where it is missing, an id is none, a text not UTF-8, or the stream's name not one.
pub fn exported_from_wire(exported: v1::ExportedEvent) -> Result<ExportedEvent, Malformed> {
    let event = exported.event.ok_or_else(|| Malformed::missing("event"))?;
    let name = exported.stream_name.as_deref().map(StreamName::new).transpose();
    Ok(ExportedEvent {
        append: exported.append,
        append_events: exported.append_events,
        stream_name: name.map_err(|_| Malformed::new("stream_name", "has to be the name of a stream"))?,
        event: recorded_event(event).map_err(|malformed| malformed.within("event"))?,
    })
}

/// What a finding costs, to be sent.
pub fn consequence_to_wire(consequence: Consequence) -> WireConsequence {
    match consequence {
        Consequence::Heals => WireConsequence::Heals,
        Consequence::KeptCopyLost => WireConsequence::KeptCopyLost,
        Consequence::EventsUnreadable => WireConsequence::EventsUnreadable,
        Consequence::Untrusted => WireConsequence::Untrusted,
        Consequence::Refused => WireConsequence::Refused,
        _ => WireConsequence::Unspecified,
    }
}

/// What a finding costs, as it was sent; `None` where this version does not know it.
pub fn consequence_from_wire(consequence: WireConsequence) -> Option<Consequence> {
    match consequence {
        WireConsequence::Unspecified => None,
        WireConsequence::Heals => Some(Consequence::Heals),
        WireConsequence::KeptCopyLost => Some(Consequence::KeptCopyLost),
        WireConsequence::EventsUnreadable => Some(Consequence::EventsUnreadable),
        WireConsequence::Untrusted => Some(Consequence::Untrusted),
        WireConsequence::Refused => Some(Consequence::Refused),
    }
}

/// What an import has done.
pub fn report_to_wire(report: &ImportReport) -> v1::ImportResponse {
    v1::ImportResponse {
        appends: report.appends,
        events: report.events,
        repeated_appends: report.repeated_appends,
        moved_appends: report.moved_appends,
        position: report.position,
    }
}

/// What an import has done.
pub fn report_from_wire(report: &v1::ImportResponse) -> ImportReport {
    let mut done = ImportReport::default();
    done.appends = report.appends;
    done.events = report.events;
    done.repeated_appends = report.repeated_appends;
    done.moved_appends = report.moved_appends;
    done.position = report.position;
    done
}
