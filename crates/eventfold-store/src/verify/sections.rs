//! The sections of an index, as a file has them and as its frames make them.

use std::collections::BTreeMap;

use eventfold_codec::{FooterHeader, SegmentKey};

use crate::index::SectionKind;
use crate::storage::usize_of;

/// The sections of an index, by their kinds.
pub(super) type Sections = BTreeMap<u16, Vec<u8>>;

/// The sections of a footer that was just made.
pub(super) fn sections_of(footer: &[u8], key: &SegmentKey, at: u64) -> Sections {
    let decoded = FooterHeader::decode(footer, key, at).and_then(|header| header.directory(footer, key, |_| true));
    let entries = decoded.expect("a footer that was just encoded is sound");
    let section = |offset: u64, len: u64| footer[usize_of(offset)..usize_of(offset + len)].to_vec();
    entries.iter().map(|entry| (entry.kind, section(entry.offset, entry.len))).collect()
}

/// Whether a section is not what the frames make it. How large a filter is, its writer chose; one of another size than ours
/// has its checksum alone to vouch for it.
pub(super) fn differs(ours: &Sections, kind: u16, found: &[u8]) -> bool {
    let Some(expected) = ours.get(&kind) else { return false };
    let other_filter = kind == SectionKind::Filter.number() && expected.len() != found.len();
    !other_filter && expected != found
}
