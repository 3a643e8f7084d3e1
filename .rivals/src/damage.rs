//! What is done to a store's files, one thing at a time.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::golden::{Content, Image};
use crate::random::Random;

/// How many cases of each kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Flipped bits in blocks of 512 bytes that are not all zeroes.
    pub(crate) bits: u64,
    /// Lengths to which files are cut, within what they hold.
    pub(crate) cuts: u64,
    /// Blocks that are zeroed; as many are replaced, and as many swapped.
    pub(crate) blocks: u64,
}

impl Budget {
    /// Bits of blocks that are all zeroes, and lengths behind what a file holds: a tenth as many of each.
    fn empty(cases: u64) -> u64 {
        cases / 10
    }
}

/// One damage.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    pub(crate) kind: Kind,
    file: String,
    change: Change,
}

/// What the tables tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    None,
    Bit,
    EmptyBit,
    Cut,
    Zeroed,
    Replaced,
    Swapped,
    Foreign,
    Older,
    Removed,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Bit,
        Self::EmptyBit,
        Self::Cut,
        Self::Zeroed,
        Self::Replaced,
        Self::Swapped,
        Self::Foreign,
        Self::Older,
        Self::Removed,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Bit => "a bit flipped",
            Self::EmptyBit => "a bit flipped among zeroes",
            Self::Cut => "a file cut",
            Self::Zeroed => "a block zeroed",
            Self::Replaced => "a block replaced by another of its file",
            Self::Swapped => "two blocks swapped",
            Self::Foreign => "another store's file",
            Self::Older => "an older file",
            Self::Removed => "a file removed",
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    None,
    Flip {
        offset: u64,
        bit: u8,
    },
    Cut {
        len: u64,
    },
    Zero {
        offset: u64,
        len: u64,
    },
    /// What stands at `from` stands at `offset` too.
    Repeat {
        offset: u64,
        len: u64,
        from: u64,
    },
    Swap {
        first: u64,
        second: u64,
        len: u64,
    },
    Whole(Content),
    Remove,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.file)?;
        match &self.change {
            Change::None => write!(f, "as it is"),
            Change::Flip { offset, bit } => write!(f, "byte {offset}, bit {bit}"),
            Change::Cut { len } => write!(f, "cut at {len}"),
            Change::Zero { offset, len } => write!(f, "{len} zeroes at {offset}"),
            Change::Repeat { offset, len, from } => write!(f, "{len} bytes at {offset} from {from}"),
            Change::Swap { first, second, len } => write!(f, "{len} bytes at {first} and {second} swapped"),
            Change::Whole(content) => write!(f, "replaced by one of {} bytes", content.len),
            Change::Remove => write!(f, "removed"),
        }
    }
}

impl Damage {
    /// Makes the directory anew, with a copy of the store that is damaged in this way.
    pub(crate) fn apply(&self, store: &Image, directory: &Path) {
        store.write(directory);
        let (path, content) = (directory.join(&self.file), store.files.get(&self.file));
        let file = || OpenOptions::new().read(true).write(true).open(&path).expect("it was written");
        let content = || content.expect("the file is one of the store's");
        let write = |offset: u64, bytes: &[u8]| file().write_all_at(bytes, offset).expect("there is space");
        match &self.change {
            Change::None => {}
            Change::Flip { offset, bit } => write(*offset, &[content().byte(*offset) ^ (1 << bit)]),
            Change::Cut { len } => file().set_len(*len).expect("it can be cut"),
            Change::Zero { offset, len } => write(*offset, &vec![0; content().range(*offset, *len).len()]),
            Change::Repeat { offset, len, from } => write(*offset, &content().range(*from, *len)),
            Change::Swap { first, second, len } => {
                write(*first, &content().range(*second, *len));
                write(*second, &content().range(*first, *len));
            }
            Change::Whole(content) => content.write(&path),
            Change::Remove => fs::remove_file(&path).expect("it was written"),
        }
    }
}

/// All cases of a store, the same for the same files, budget and seed. The first damages nothing.
pub(crate) fn cases(store: &Image, older: &Image, foreign: &Image, budget: Budget, seed: u64) -> Vec<Damage> {
    let mut random = Random::new(seed);
    let mut cases = vec![Damage { kind: Kind::None, file: String::new(), change: Change::None }];
    bits(store, budget, &mut random, &mut cases);
    cuts(store, budget, &mut random, &mut cases);
    blocks(store, budget, &mut random, &mut cases);
    for (file, content) in &store.files {
        let case = |kind, change| Damage { kind, file: file.clone(), change };
        for (kind, other) in [(Kind::Foreign, foreign), (Kind::Older, older)] {
            if let Some(other) = other.files.get(file).filter(|other| *other != content) {
                cases.push(case(kind, Change::Whole(other.clone())));
            }
        }
        cases.push(case(Kind::Removed, Change::Remove));
    }
    cases
}

/// Ranges of files, as one row of numbers.
#[derive(Default)]
struct Row<'a>(Vec<(&'a String, u64, u64)>);

impl<'a> Row<'a> {
    fn spread(&self, per_place: u64, count: u64, random: &mut Random) -> Vec<(&'a String, u64, u64)> {
        let total = self.0.iter().map(|(_, start, end)| end - start).sum::<u64>() * per_place;
        let (mut ranges, mut before) = (self.0.iter(), 0);
        let mut current = ranges.next();
        let mut places = Vec::new();
        for nth in random.spread(total, count) {
            while let Some((file, start, end)) = current {
                if nth / per_place < before + (end - start) {
                    places.push((*file, start + (nth / per_place - before), nth % per_place));
                    break;
                }
                before += end - start;
                current = ranges.next();
            }
        }
        places
    }
}

fn bits(store: &Image, budget: Budget, random: &mut Random, cases: &mut Vec<Damage>) {
    const BLOCK: u64 = 512;
    let (mut dense, mut empty) = (Row::default(), Row::default());
    for (file, content) in &store.files {
        let mut behind = 0;
        for start in content.dense_blocks(BLOCK) {
            empty.0.push((file, behind, start));
            behind = content.len.min(start + BLOCK);
            dense.0.push((file, start, behind));
        }
        empty.0.push((file, behind, content.len));
    }
    for (kind, row, count) in [(Kind::Bit, dense, budget.bits), (Kind::EmptyBit, empty, Budget::empty(budget.bits))] {
        for (file, offset, bit) in row.spread(8, count, random) {
            let bit = u8::try_from(bit).expect("it is below 8");
            cases.push(Damage { kind, file: file.clone(), change: Change::Flip { offset, bit } });
        }
    }
}

fn cuts(store: &Image, budget: Budget, random: &mut Random, cases: &mut Vec<Damage>) {
    let (mut within, mut behind) = (Row::default(), Row::default());
    for (file, content) in &store.files {
        let held = content.dense_blocks(512).last().map_or(0, |start| content.len.min(start + 512));
        within.0.push((file, 0, held));
        behind.0.push((file, held, content.len));
    }
    for (row, count) in [(within, budget.cuts), (behind, Budget::empty(budget.cuts))] {
        for (file, len, _) in row.spread(1, count, random) {
            cases.push(Damage { kind: Kind::Cut, file: file.clone(), change: Change::Cut { len } });
        }
    }
}

fn blocks(store: &Image, budget: Budget, random: &mut Random, cases: &mut Vec<Damage>) {
    let (mut zeroed, mut replaced, mut swapped) = (Vec::new(), Vec::new(), Vec::new());
    for (file, content) in &store.files {
        for len in [512, 4096] {
            let dense = content.dense_blocks(len);
            for &offset in &dense {
                let case = |kind, change| Damage { kind, file: file.clone(), change };
                zeroed.push(case(Kind::Zeroed, Change::Zero { offset, len }));
                let any = dense[usize::try_from(random.below(dense.len() as u64)).expect("it is an index")];
                let neighbours = [Some(offset + len), offset.checked_sub(len), Some(any)];
                let whole = |start: u64| start + len <= content.len;
                let differs = |from: u64| content.range(from, len) != content.range(offset, len);
                for from in neighbours.into_iter().flatten() {
                    if whole(offset) && whole(from) && differs(from) {
                        replaced.push(case(Kind::Replaced, Change::Repeat { offset, len, from }));
                        if from > offset {
                            swapped.push(case(Kind::Swapped, Change::Swap { first: offset, second: from, len }));
                        }
                    }
                }
            }
        }
    }
    for all in [zeroed, replaced, swapped] {
        for nth in random.spread(all.len() as u64, budget.blocks) {
            cases.push(all[usize::try_from(nth).expect("it is an index")].clone());
        }
    }
}
