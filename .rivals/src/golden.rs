//! The stores that are damaged: how they are made, and as bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::engine::{Engine, Event};
use crate::random::Random;

/// How the last process that wrote to a store ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Golden {
    /// It closed the store.
    Closed,
    /// It was killed right after its last append was acknowledged, in the store's second life.
    Killed,
    /// The same in its first life, when little was written, so that all of it is where appends go first.
    Young,
}

impl Golden {
    pub(crate) const ALL: [Self; 3] = [Self::Closed, Self::Killed, Self::Young];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Killed => "killed",
            Self::Young => "young",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|golden| golden.name() == name).unwrap_or_else(|| panic!("no store is {name}"))
    }

    fn events(self) -> u64 {
        if self == Self::Young { 80 } else { 400 }
    }

    /// How many events each append has.
    fn appends(self) -> Vec<usize> {
        let (mut rest, mut sizes) = (usize::try_from(self.events()).expect("there are few"), Vec::new());
        for size in [1, 4, 2, 7, 1, 10, 3].into_iter().cycle() {
            sizes.push(size.min(rest));
            rest -= size.min(rest);
            if rest == 0 {
                break;
            }
        }
        sizes
    }

    /// How many events the older state has: some seven tenths, as many as some of the appends have together.
    pub(crate) fn earlier(self) -> usize {
        let mut done = 0;
        for size in self.appends() {
            if done * 10 >= usize::try_from(self.events()).expect("there are few") * 7 {
                break;
            }
            done += size;
        }
        done
    }

    /// All that was acknowledged when the last process ended.
    pub(crate) fn acknowledged(self, seed: u64) -> Vec<Event> {
        (0..self.events()).map(|position| (position, payload(seed, position))).collect()
    }
}

/// 40 to 120 bytes of text that no other event has.
fn payload(seed: u64, position: u64) -> Vec<u8> {
    let mut random = Random::new(seed ^ position << 20);
    let mut text = format!("{{\"position\":{position},\"cents\":{},\"note\":\"", random.below(100_000));
    let len = usize::try_from(40 + random.below(78)).expect("it is small");
    while text.len() < len {
        text.push(char::from(b'a' + u8::try_from(random.below(26)).expect("it is small")));
    }
    text.push_str("\"}");
    text.into_bytes()
}

/// Where the files of a golden store stand.
#[derive(Clone, Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new(root: &Path, engine: &dyn Engine, golden: Golden) -> Self {
        Self(root.join(engine.name()).join(golden.name()))
    }

    /// The store that is damaged.
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The same store at an earlier time.
    pub(crate) fn older(&self) -> PathBuf {
        self.0.join("older")
    }

    /// Another store with as many events.
    pub(crate) fn foreign(&self) -> PathBuf {
        self.0.join("foreign")
    }

    /// What came of each case.
    pub(crate) fn cases(&self) -> PathBuf {
        self.0.join("cases.tsv")
    }

    /// The directory that damaged copies are opened in.
    pub(crate) fn copy(&self) -> PathBuf {
        self.0.join("copy")
    }

    /// Makes the store and those beside it, each in a process of its own, which is killed where the store is to be.
    pub(crate) fn make(&self, engine: &dyn Engine, golden: Golden, seed: u64) {
        drop(fs::remove_dir_all(&self.0));
        let spare = self.0.join("foreign-older");
        for (directory, older, seed) in
            [(self.store(), self.older(), seed), (self.foreign(), spare.clone(), seed ^ 0xF0E1_6000)]
        {
            fs::create_dir_all(&directory).expect("there is space");
            let mut child = Command::new(std::env::current_exe().expect("it runs"))
                .arg("build")
                .args([engine.name(), golden.name(), &seed.to_string()])
                .args([&directory, &older])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("processes can be started");
            let mut ready = String::new();
            BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut ready).expect("it can be read");
            assert_eq!(ready, "ready\n", "{} was not built", engine.name());
            if golden != Golden::Closed {
                child.kill().expect("it is running");
            }
            drop(child.stdin.take());
            child.wait().expect("it ends");
        }
        fs::remove_dir_all(spare).expect("it was made");
    }
}

/// What the process does that makes a store. It ends by itself only if the store was closed.
pub(crate) fn build(engine: &dyn Engine, golden: Golden, seed: u64, directory: &Path, older: &Path) {
    let events = golden.acknowledged(seed);
    let (settled, earlier) = (events.len() / 2, golden.earlier());
    let mut writing = engine.write(directory);
    let (mut done, mut is_settled) = (0, false);
    for size in golden.appends() {
        if golden != Golden::Young && done >= settled && !is_settled {
            writing.settle();
            is_settled = true;
        }
        if done == earlier {
            // What was written by a life before has its own shape, so the older state is one between two lives.
            if golden == Golden::Young {
                copy(directory, older);
            } else {
                writing.close();
                copy(directory, older);
                writing = engine.write(directory);
            }
        }
        writing.append(&events[done..done + size]);
        done += size;
    }
    if golden == Golden::Closed {
        writing.close();
        println!("ready");
        return;
    }
    println!("ready");
    std::io::stdout().flush().expect("it is a pipe");
    // Whoever started this kills it, so nothing of the store is ever dropped.
    drop(std::io::stdin().read_to_end(&mut Vec::new()));
    panic!("it was to be killed");
}

fn copy(from: &Path, to: &Path) {
    Image::load(from).write(to);
}

const PAGE: usize = 4096;

/// A file's bytes: the pages that are not all zeroes, since some files are zeroes for the most part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) len: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Content {
    fn load(path: &Path) -> Self {
        let mut file = File::open(path).expect("it is there");
        let mut content = Self::default();
        loop {
            let mut page = Vec::with_capacity(PAGE);
            (&mut file).take(PAGE as u64).read_to_end(&mut page).expect("it can be read");
            if page.is_empty() {
                return content;
            }
            let start = content.len;
            content.len += page.len() as u64;
            if page.iter().any(|byte| *byte != 0) {
                content.pages.insert(start, page);
            }
        }
    }

    pub(crate) fn write(&self, path: &Path) {
        let file = File::create(path).expect("there is space");
        file.set_len(self.len).expect("there is space");
        for (start, page) in &self.pages {
            file.write_all_at(page, *start).expect("there is space");
        }
    }

    /// The bytes of a range, as far as the file has them.
    pub(crate) fn range(&self, start: u64, len: u64) -> Vec<u8> {
        (start..self.len.min(start + len)).map(|offset| self.byte(offset)).collect()
    }

    pub(crate) fn byte(&self, offset: u64) -> u8 {
        let within = offset % PAGE as u64;
        let page = self.pages.get(&(offset - within));
        page.map_or(0, |page| page[usize::try_from(within).expect("it is within a page")])
    }

    /// The starts of all blocks of this size, a divisor of a page or a page, that have a byte that is not zero.
    pub(crate) fn dense_blocks(&self, size: u64) -> Vec<u64> {
        let size_of = usize::try_from(size).expect("it is small");
        let mut blocks = Vec::new();
        for (start, page) in &self.pages {
            for (nth, block) in (0..).zip(page.chunks(size_of)) {
                if block.iter().any(|byte| *byte != 0) {
                    blocks.push(start + nth * size);
                }
            }
        }
        blocks
    }
}

/// A directory's files, by their path in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) files: BTreeMap<String, Content>,
    directories: Vec<String>,
}

impl Image {
    pub(crate) fn load(root: &Path) -> Self {
        let mut image = Self::default();
        let mut waiting = vec![String::new()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(root.join(&directory)).expect("it is there") {
                let entry = entry.expect("it can be read");
                let name = entry.file_name().into_string().expect("names are plain");
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                if entry.file_type().expect("it is there").is_dir() {
                    image.directories.push(path.clone());
                    waiting.push(path);
                } else {
                    image.files.insert(path.clone(), Content::load(&root.join(path)));
                }
            }
        }
        image.directories.sort();
        image
    }

    /// Makes the directory anew, with these files and no others.
    pub(crate) fn write(&self, root: &Path) {
        drop(fs::remove_dir_all(root));
        fs::create_dir_all(root).expect("there is space");
        for directory in &self.directories {
            fs::create_dir_all(root.join(directory)).expect("there is space");
        }
        for (path, content) in &self.files {
            content.write(&root.join(path));
        }
    }
}
