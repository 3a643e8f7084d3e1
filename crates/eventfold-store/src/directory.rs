//! Merged directories: which of many sealed segments have a term, so that a lookup in a long log does not ask each of them.
//!
//! Sixteen neighbours are merged into a directory, sixteen directories of one level into one of the next. A directory is only
//! a short cut: where one is missing or damaged, the segments it would answer for are asked themselves, and it is merged anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventfold_codec::StreamName;
use eventfold_io::{Access, DiskFile, IoError, IoErrorKind};

use crate::cached_only;
use crate::environment::new_salt;
use crate::error::{Error, ReadError};
use crate::file_index::{FilePages, SectionPlace};
use crate::files::FileName;
use crate::index::{
    Child, DIRECTORY_HEADER_LEN, Directory, DirectoryHeader, MergeOptions, NamedStream, SectionKind, TermKind,
    merge as merge_tables,
};
use crate::log::Shared;
use crate::maintenance::SegmentOptions;
use crate::open::{Healed, write_file};
use crate::segment::SealedSegment;
use crate::storage::Storage;

/// How many segments, or directories, are merged into one.
const FAN_IN: u32 = 16;

/// Directories of more terms are not merged any further: their filter, which is built in memory, takes two bytes a term.
const MERGED_TERMS_MAX: u64 = 1 << 24;

/// The directories of a log: in order, none of them answering for a segment that another answers for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directories {
    list: Vec<Arc<DirectoryFile>>,
}

/// One directory.
pub(crate) struct DirectoryFile {
    level: u8,
    term_count: u64,
    directory: Directory<FilePages>,
    /// Damage was met in it: it is asked no more, and merged anew.
    damaged: AtomicBool,
}

impl std::fmt::Debug for DirectoryFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let segments = self.directory.segments();
        f.debug_struct("DirectoryFile").field("level", &self.level).field("segments", &segments).finish_non_exhaustive()
    }
}

impl Directories {
    /// The sealed segments that may have a term, the last first. `sealed` is how many there are.
    pub(crate) fn candidates<'a, 'k>(&'a self, sealed: usize, kind: TermKind, key: &'k [u8]) -> Candidates<'a, 'k> {
        Candidates { directories: &self.list, kind, key, upper: sealed, found: Vec::new() }
    }

    /// The names of streams in the first `sealed` segments that begin with `prefix` and come behind `after`: up to
    /// `max_count` of each directory, and the segments for which none answers.
    pub(crate) fn names(
        &self,
        sealed: usize,
        prefix: &str,
        after: Option<&str>,
        max_count: usize,
    ) -> (Vec<(StreamName, NamedStream)>, Vec<usize>) {
        let mut names = Vec::new();
        let mut uncovered: Vec<usize> = (0..sealed).collect();
        for directory in self.list.iter().filter(|directory| directory.end() <= sealed) {
            let found =
                directory.ask(|asked| asked.names(prefix, after)?.take(max_count).collect::<Result<Vec<_>, _>>());
            if let Some(found) = found {
                names.extend(found);
                uncovered.retain(|index| !(directory.start()..directory.end()).contains(index));
            }
        }
        (names, uncovered)
    }

    /// The files of all of them: the first segment and the level of each.
    pub(crate) fn files(&self) -> Vec<(u32, u8)> {
        self.list.iter().map(|directory| (directory.directory.segments().start, directory.level)).collect()
    }

    /// Whether damage was met in one.
    pub(crate) fn are_damaged(&self) -> bool {
        self.list.iter().any(|directory| directory.is_damaged())
    }

    /// Those of the directories in these files that are sound and belong to these segments. The others are told to `healed` and
    /// are `obsolete`, as is, of two that answer for the same segments, the one that answers for less.
    pub(crate) fn open(
        storage: &Arc<Storage>,
        files: &[(u32, u8)],
        sealed: &[Arc<SealedSegment>],
        healed: &mut Vec<Healed>,
        obsolete: &mut Vec<FileName>,
    ) -> Result<Self, IoError> {
        let mut list: Vec<Arc<DirectoryFile>> = Vec::new();
        let mut by_level = files.to_vec();
        by_level.sort_by_key(|(first, level)| (std::cmp::Reverse(*level), *first));
        for (first, level) in by_level {
            let opened = DirectoryFile::open(storage, first, level, sealed)?;
            let covered = |opened: &DirectoryFile| {
                list.iter().any(|other| other.directory.segments().contains(&opened.directory.segments().start))
            };
            match opened {
                Some(opened) if !covered(&opened) => list.push(Arc::new(opened)),
                Some(_) => obsolete.push(FileName::Directory { first, level }),
                None => {
                    healed.push(Healed::Directory { first_segment: first, level });
                    obsolete.push(FileName::Directory { first, level });
                }
            }
        }
        list.sort_by_key(|opened| opened.directory.segments().start);
        Ok(Self { list })
    }
}

impl DirectoryFile {
    /// The directory of this name, if it is sound and of these segments.
    fn open(
        storage: &Arc<Storage>,
        first: u32,
        level: u8,
        sealed: &[Arc<SealedSegment>],
    ) -> Result<Option<Self>, IoError> {
        let name = FileName::Directory { first, level }.to_string();
        let Ok(header) = read_header(&*storage.disk().open(&name, Access::Read)?)? else { return Ok(None) };
        let last = header.first_segment + (header.segment_count - 1);
        let belongs = covers_what_its_name_says(&header, first, level)
            && sealed.get(last as usize).is_some_and(|last| {
                last.summary.byte_digest == header.last_digest && last.header.store_id == header.store_id
            });
        Ok(belongs.then(|| Self::new(storage, name, level, &header)))
    }

    fn new(storage: &Arc<Storage>, name: String, level: u8, header: &DirectoryHeader) -> Self {
        let sections = [SectionKind::Terms, SectionKind::Postings, SectionKind::Filter].map(|kind| {
            let (offset, pages) = header.section(kind);
            SectionPlace { kind, offset, pages }
        });
        let pages = FilePages::without_frames(storage, storage.file(name), (header.key(), 0), sections.to_vec());
        let directory = Directory::new(Arc::new(pages), header);
        Self { level, term_count: header.term_count, directory, damaged: AtomicBool::new(false) }
    }

    fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    fn file_name(&self) -> FileName {
        FileName::Directory { first: self.directory.segments().start, level: self.level }
    }

    /// What it says; `None` where it can't be read, and its segments have to be asked themselves.
    fn ask<T>(&self, ask: impl FnOnce(&Directory<FilePages>) -> Result<T, ReadError>) -> Option<T> {
        if self.is_damaged() {
            return None;
        }
        let answer = ask(&self.directory);
        if let Err(error) = &answer
            && !cached_only::is_refused()
        {
            tracing::warn!(%error, "a directory can't be read, and its segments are asked instead");
            self.note(error);
        }
        answer.ok()
    }

    /// Takes note of an error if it says that this directory is damaged. That its file is gone, or that there are too many
    /// open files, does not say so.
    fn note(&self, error: &ReadError) {
        let file = match error {
            ReadError::Index { file, .. } => Some(file.as_str()),
            ReadError::Io(error) if matches!(error.kind(), IoErrorKind::DeviceFailed | IoErrorKind::UnexpectedEof) => {
                error.name()
            }
            _ => None,
        };
        if file == Some(&self.file_name().to_string()) {
            self.damaged.store(true, Ordering::Relaxed);
        }
    }
}

/// The header of a directory's file.
pub(crate) fn read_header(file: &dyn DiskFile) -> Result<Result<DirectoryHeader, &'static str>, IoError> {
    let mut head = vec![0; DIRECTORY_HEADER_LEN];
    let len = file.read_at(&mut head, 0)?;
    Ok(DirectoryHeader::decode(&head[..len], file.len()?))
}

/// Whether a directory answers for as many segments, from there on, as its level and its first segment say.
pub(crate) fn covers_what_its_name_says(header: &DirectoryHeader, first: u32, level: u8) -> bool {
    header.first_segment == first && Some(header.segment_count) == FAN_IN.checked_pow(level.into())
}

/// The sealed segments that may have a term, the last first.
pub(crate) struct Candidates<'a, 'k> {
    directories: &'a [Arc<DirectoryFile>],
    kind: TermKind,
    key: &'k [u8],
    /// Segments from here on were asked.
    upper: usize,
    /// What a directory has answered, ascending.
    found: Vec<usize>,
}

impl Iterator for Candidates<'_, '_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            if let Some(found) = self.found.pop() {
                return Some(found);
            }
            let last = self.upper.checked_sub(1)?;
            while self.directories.last().is_some_and(|directory| directory.start() > last) {
                self.directories = &self.directories[..self.directories.len() - 1];
            }
            // One that answers for segments behind the last is of a later snapshot, and not among these.
            let directory = self.directories.last().filter(|directory| directory.end() == self.upper);
            let Some(directory) = directory else {
                self.upper = last;
                return Some(last);
            };
            self.upper = directory.start();
            match directory.ask(|asked| asked.find(self.kind, self.key)) {
                Some(places) => self.found.extend(places.iter().map(|place| place.segment as usize)),
                None => self.found.extend(directory.start()..directory.end()),
            }
        }
    }
}

impl DirectoryFile {
    fn start(&self) -> usize {
        self.directory.segments().start as usize
    }

    fn end(&self) -> usize {
        self.directory.segments().end as usize
    }
}

/// Gives up a directory that is damaged, or else merges sixteen segments or directories, if there are as many that belong
/// together. Returns whether it did either.
pub(crate) fn merge(shared: &Arc<Shared>, options: &SegmentOptions) -> Result<bool, Error> {
    let parts = shared.parts();
    if parts.directories.are_damaged() {
        // What it answered for is merged again from the segments.
        replace(shared, DirectoryFile::is_damaged, None)?;
        return Ok(true);
    }
    let Some((level, children, covered)) = due(&parts.directories.list, &parts.sealed) else { return Ok(false) };
    let first = u32::try_from(covered.start).expect("segments are numbered with 32 bits");
    let merge_options = MergeOptions {
        store_id: options.store_id,
        salt: new_salt(&*shared.environment),
        last_digest: parts.sealed[covered.end - 1].summary.byte_digest,
        filter_bits_per_term: options.index.filter_bits_per_term,
    };
    let name = FileName::Directory { first, level };
    let mut header = None;
    let written = write_file(&**shared.storage.disk(), &name, |file| {
        let mut offset = DIRECTORY_HEADER_LEN as u64;
        let merged = merge_tables::<FilePages, Error>(&children, &merge_options, |pages| {
            file.write_all_at(pages, offset)?;
            offset += pages.len() as u64;
            Ok(())
        })?;
        file.write_all_at(&merged.encode(), 0)?;
        header = Some(merged);
        Ok(())
    });
    if let Err(Error::Read(error)) = &written {
        parts.directories.list.iter().for_each(|directory| directory.note(error));
    }
    written?;
    let header = header.expect("it was made above");
    let opened = Arc::new(DirectoryFile::new(&shared.storage, name.to_string(), level, &header));
    replace(shared, |other| covered.contains(&other.start()), Some(opened))?;
    Ok(true)
}

/// Takes directories out of the list, and puts one into their place.
fn replace(
    shared: &Shared,
    is_replaced: impl Fn(&DirectoryFile) -> bool,
    by: Option<Arc<DirectoryFile>>,
) -> Result<(), Error> {
    let mut obsolete = Vec::new();
    shared.change_parts(|parts| {
        let list = &mut parts.directories.list;
        let replaced = list.extract_if(.., |other| is_replaced(other));
        obsolete.extend(replaced.map(|other| other.file_name()));
        list.extend(by);
        list.sort_by_key(|directory| directory.start());
    });
    for name in obsolete {
        // A snapshot that still has it asks the segments themselves.
        shared.storage.disk().remove(&name.to_string()).map_err(ReadError::from)?;
    }
    Ok(())
}

type Due = (u8, Vec<Child<FilePages>>, std::ops::Range<usize>);

/// What is to be merged next: the first run of sixteen neighbours of one level.
fn due(directories: &[Arc<DirectoryFile>], sealed: &[Arc<SealedSegment>]) -> Option<Due> {
    let fan_in = FAN_IN as usize;
    let last_covered = directories.last().map_or(0, |directory| directory.end());
    let start = last_covered.next_multiple_of(fan_in);
    // Where a directory was lost, its segments come first.
    let gap = (0..start).step_by(fan_in).find(|at| !directories.iter().any(|d| (d.start()..d.end()).contains(at)));
    let start = gap.unwrap_or(start);
    if let Some(run) = sealed.get(start..start + fan_in) {
        let children =
            run.iter().map(|segment| Child::Segment(segment.number(), segment.index.paged().clone())).collect();
        return Some((1, children, start..start + fan_in));
    }
    for (at, first) in directories.iter().enumerate() {
        let Some(run) = directories.get(at..at + fan_in) else { break };
        let len = (fan_in as u64).checked_pow(u32::from(first.level) + 1)?;
        let aligned = (first.start() as u64).is_multiple_of(len);
        let neighbours = run.iter().all(|directory| directory.level == first.level)
            && run[fan_in - 1].end() as u64 == first.start() as u64 + len;
        let small = run.iter().map(|directory| directory.term_count).sum::<u64>() <= MERGED_TERMS_MAX;
        if aligned && neighbours && small {
            let children = run.iter().map(|directory| Child::Directory(directory.directory.clone())).collect();
            return Some((first.level + 1, children, first.start()..run[fan_in - 1].end()));
        }
    }
    None
}
