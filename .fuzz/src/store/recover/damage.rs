//! What is done to a store's files between two processes.

use eventfold_codec::{
    Configuration, ExtensionArea, FramePlace, Link, PreparedSegment, ProposedAppend, ProposedEvent, StreamSlot,
    SystemFrame, crc32c, encode_append, encode_system,
};
use eventfold_io::sim::SimDisk;
use eventfold_io::{Access, Disk};
use uuid::Uuid;

use super::base::{self, base};
use super::reading::{Found, header_of, number_of};
use crate::shared::reader::Reader;
use crate::shared::sums;

/// What was damaged, as far as it says what must be left.
pub(super) struct Damaged {
    /// Where segments were changed: the file, and from which byte on or which bytes.
    pub(super) places: Vec<(String, std::ops::Range<usize>)>,
    /// Checksums were made right again: what is there now may be what nobody wrote.
    pub(super) forged: bool,
    /// How many things were done.
    pub(super) count: usize,
}

pub(super) struct Damaging<'a> {
    pub(super) sim: &'a SimDisk,
    pub(super) frames: &'a [Found],
    pub(super) recipe: u16,
    pub(super) damaged: Damaged,
}

impl Damaging<'_> {
    fn names(&self) -> Vec<String> {
        self.sim.names().into_iter().filter(|name| name != "LOCK").collect()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.sim.contents(name).unwrap_or_default()
    }

    fn disk(&self) -> std::sync::Arc<dyn Disk> {
        self.sim.attach()
    }

    fn touch(&mut self, name: &str, range: std::ops::Range<usize>) {
        self.damaged.places.push((name.to_owned(), range));
    }

    fn write(&mut self, name: &str, at: usize, bytes: &[u8]) {
        let file = self.disk().open(name, Access::ReadWrite).expect("it is there");
        file.write_all_at(bytes, at as u64).expect("nothing goes wrong");
        self.touch(name, at..at + bytes.len());
    }

    /// Puts a file in the place of another, or of none.
    fn put(&mut self, name: &str, bytes: &[u8]) {
        let disk = self.disk();
        if disk.exists(name).expect("nothing goes wrong") {
            disk.remove(name).expect("it is there");
        }
        let file = disk.create(name).expect("it is not there");
        file.write_all_at(bytes, 0).expect("nothing goes wrong");
        self.touch(name, 0..usize::MAX);
    }

    /// A place where a bit has a meaning, most of the time.
    fn place(&self, name: &str, len: usize, input: &mut Reader<'_>) -> usize {
        let shape = input.u8();
        let own: Vec<&Found> = self.frames.iter().filter(|frame| frame.file == name).collect();
        let within = usize::from(input.u8());
        let at = match shape & 3 {
            0 => usize::from(input.u16()) * 4,
            1 => len.saturating_sub(1 + within),
            2 if !own.is_empty() => own[usize::from(shape >> 2) % own.len()].range.start + within,
            3 if !own.is_empty() => own[own.len() - 1].range.end + within,
            _ => within,
        };
        at.min(len.saturating_sub(1))
    }

    /// Does what the input says next.
    pub(super) fn one(&mut self, input: &mut Reader<'_>) {
        let shape = input.u8();
        let names = self.names();
        if names.is_empty() {
            return;
        }
        self.damaged.count += 1;
        let name = names[usize::from(shape >> 4) % names.len()].clone();
        let bytes = self.bytes(&name);
        match shape & 15 {
            0 | 1 if !bytes.is_empty() => {
                let at = self.place(&name, bytes.len(), input);
                self.write(&name, at, &[bytes[at] ^ input.u8().max(1)]);
            }
            2 if !bytes.is_empty() => {
                let at = self.place(&name, bytes.len(), input);
                let len = usize::from(input.u8() % 24).min(bytes.len() - at);
                self.write(&name, at, input.bytes(len));
            }
            3 if !bytes.is_empty() => {
                let len = [8, 64, 512, 4096, 40_000][usize::from(input.u8()) % 5];
                let at = self.place(&name, bytes.len(), input) / 8 * 8;
                self.write(&name, at, &vec![0; len.min(bytes.len() - at)]);
            }
            4 => {
                let len = if bytes.is_empty() { 0 } else { self.place(&name, bytes.len(), input) };
                self.disk()
                    .open(&name, Access::ReadWrite)
                    .expect("it is there")
                    .set_len(len as u64)
                    .expect("it is free");
                self.touch(&name, len..usize::MAX);
            }
            5 => {
                let more = usize::from(input.u16());
                let len = (bytes.len() + more) as u64;
                self.disk().open(&name, Access::ReadWrite).expect("it is there").set_len(len).expect("it is free");
                self.touch(&name, bytes.len()..usize::MAX);
            }
            6 => {
                self.disk().remove(&name).expect("it is there");
                self.touch(&name, 0..usize::MAX);
            }
            7 => {
                let new = other_name(&name, input);
                self.disk().rename(&name, &new).expect("it is there");
                self.touch(&name, 0..usize::MAX);
                self.touch(&new, 0..usize::MAX);
            }
            8 => {
                let new = other_name(&name, input);
                self.put(&new, &bytes);
            }
            9 => {
                let other = names[usize::from(input.u8()) % names.len()].clone();
                let others = self.bytes(&other);
                self.put(&name, &others);
                self.put(&other, &bytes);
            }
            10 => {
                let other = base(self.recipe ^ u16::from(input.u8()));
                if let Some(bytes) = other.sim.contents(&name) {
                    self.put(&name, &bytes);
                    // All files together are a store again.
                    self.damaged.forged = true;
                }
            }
            11 => {
                let len = usize::from(input.u8());
                let new = other_name(&name, input);
                self.put(&new, input.bytes(len));
            }
            12 | 13 => self.change_a_frame(input),
            14 => self.add_a_frame(input),
            _ => self.change_a_head(&name, bytes, input),
        }
    }

    /// Changes a frame, and makes its checksums right.
    fn change_a_frame(&mut self, input: &mut Reader<'_>) {
        if self.frames.is_empty() {
            return;
        }
        let frame = &self.frames[input.below(self.frames.len())];
        let file = self.bytes(&frame.file);
        let (Some(mut bytes), Some(header)) = (file.get(frame.range.clone()).map(<[u8]>::to_vec), header_of(&file))
        else {
            return;
        };
        let before = bytes.clone();
        for _ in 0..=input.u8() % 3 {
            let fields = sums::fields(&bytes);
            if fields.is_empty() {
                break;
            }
            let field = fields[input.below(fields.len())].clone();
            let change = input.u8();
            if field.end <= bytes.len() {
                match change & 3 {
                    0 => bytes[field.start] = bytes[field.start].wrapping_add(change | 1),
                    1 => bytes[field.start] ^= 1 << (change >> 5),
                    2 => bytes[field].fill(0),
                    _ => bytes[field].fill(0xFF),
                }
            }
        }
        sums::repair_frame(&mut bytes, header.salt, frame.range.start as u64);
        if bytes != before {
            let (name, at) = (frame.file.clone(), frame.range.start);
            self.write(&name, at, &bytes);
            self.damaged.forged = true;
        }
    }

    /// Writes a frame that nobody asked for behind the last one of a segment, or over another.
    fn add_a_frame(&mut self, input: &mut Reader<'_>) {
        if self.frames.is_empty() {
            return;
        }
        let shape = input.u8();
        let last = &self.frames[self.frames.len() - 1 - usize::from(shape >> 6) % self.frames.len()];
        let name = last.file.clone();
        let Some(header) = header_of(&self.bytes(&name)) else { return };
        let gap = 8 * [0, 0, 0, 1, 8, 64, 512, 1000][usize::from(shape & 7)];
        let (offset, end) = (last.range.end as u64 + gap, last.first_position + last.events.len() as u64);
        let place = FramePlace {
            offset,
            incarnation: match shape >> 3 & 7 {
                0..=4 => last.incarnation,
                5 => last.incarnation.saturating_sub(1).max(1),
                6 => last.incarnation.saturating_add(1),
                _ => u32::MAX,
            },
            durable_through: match input.u8() & 7 {
                0..=3 => last.range.end as u64,
                4 => 8192,
                5 => offset,
                6 => last.range.start as u64,
                _ => (offset / 16 * 8).max(8192),
            },
            first_position: match input.u8() & 15 {
                0..=12 => end,
                13 => end + 1,
                14 => end.saturating_sub(1),
                _ => u64::MAX / 2,
            },
            recorded_at: 1,
        };
        let (key, mut bytes) = (header.key(), Vec::new());
        let kind = input.u8();
        let system = match kind & 7 {
            0 => Some(SystemFrame::Watermark),
            1 => Some(SystemFrame::Close),
            2 => Some(SystemFrame::Configuration(Configuration { idempotency_window: u32::from(input.u16()) })),
            3 => Some(SystemFrame::Prepared(PreparedSegment { salt: u64::from(input.u8()) })),
            4 => {
                let link = Link { salt: header.salt, end: last.range.end as u64, checksum: last.checksum };
                Some(SystemFrame::Link(link, Configuration { idempotency_window: 1 << 20 }))
            }
            _ => None,
        };
        if let Some(system) = system {
            encode_system(system, &key, &place, &mut bytes);
        } else {
            let event = |number: u8| {
                let id = Uuid::from_u128(0xF0 << 120 | u128::from(number));
                ProposedEvent::new("Forged", vec![number; 9]).with_id(id).with_tags(["tag-1"])
            };
            let stream = base::stream(kind >> 3);
            let append = ProposedAppend::new()
                .events(stream, vec![event(input.u8())])
                .check(|| unreachable!("it has an id"))
                .expect("it keeps the rules");
            let slot = StreamSlot { first_version: u64::from(input.u8() % 32), with_name: kind >> 7 == 0 };
            encode_append(&append, &[slot], &key, &place, &ExtensionArea::default(), &mut bytes);
        }
        if input.u8() > 0xE0 {
            let at = input.below(bytes.len());
            bytes[at] ^= 1;
        }
        let at = usize::try_from(offset).expect("it is in memory");
        self.write(&name, at, &bytes);
        self.damaged.forged = true;
    }

    /// Changes the head of a file, or a footer, and makes the checksum right.
    fn change_a_head(&mut self, name: &str, mut bytes: Vec<u8>, input: &mut Reader<'_>) {
        let before = bytes.clone();
        if number_of(name).is_some() && bytes.len() >= 8192 {
            let shape = input.u8();
            if shape & 3 == 3
                && let Some(header) = header_of(&bytes)
                && bytes[bytes.len() - 32..].starts_with(&[0xEF, 0x45, 0x56, 0x46, 0x45, 0x4E, 0x44, 0x1A])
            {
                let start = sums::u64_at(&bytes, bytes.len() - 24);
                let Some(footer) = usize::try_from(start).ok().and_then(|start| bytes.get_mut(start..)) else { return };
                let at = [input.below(footer.len()), input.below(256)][usize::from(shape >> 7)];
                footer[at] ^= input.u8().max(1);
                sums::repair_footer(footer, header.salt, start);
            } else {
                let (at, value) = (usize::from(input.u8() % 64), input.u8().max(1));
                for copy in 0..2u32 {
                    if shape >> copy & 1 == 0 {
                        let block = &mut bytes[4096 * usize::from(copy == 1)..];
                        block[at] ^= value;
                        sums::repair_segment_header(block, copy);
                    }
                }
            }
        } else {
            let (len, seed) = match name.rsplit('.').next() {
                Some("meta") => (4096, 0x5EED_0100),
                Some("pending" | "dropped") => (64, 0x5EED_0200),
                Some("checkpoint") => (4096, 0x5EED_0300u32),
                _ => return,
            };
            if bytes.len() < len {
                return;
            }
            let at = usize::from(input.u8()) % len.min(352);
            bytes[at] ^= input.u8().max(1);
            let checksum = crc32c(&bytes[..len - 4]) ^ seed;
            bytes[len - 4..len].copy_from_slice(&checksum.to_le_bytes());
        }
        if bytes != before {
            let first = bytes.iter().zip(&before).position(|(now, then)| now != then).unwrap_or(0);
            let last = bytes.iter().zip(&before).rposition(|(now, then)| now != then).unwrap_or(0);
            self.write(name, first, &bytes[first..=last]);
            self.damaged.forged = true;
        }
    }
}

/// Another name that a file could get.
fn other_name(name: &str, input: &mut Reader<'_>) -> String {
    let shape = input.u8();
    let kind = name.split_once('.').map_or("segment", |(_, kind)| kind);
    match shape & 15 {
        number @ 0..=7 => format!("{number:010}.{kind}"),
        8 => format!("{:010}.{kind}", u32::MAX),
        9 => format!("{name}.new"),
        10 => format!("{:010}.checkpoint", shape >> 4),
        11 => format!("{:010}-1.directory", shape >> 4),
        12 => format!("{:010}-{:02}.pending", shape >> 4 & 3, shape >> 6),
        13 => format!("{:010}-{:02}.dropped", shape >> 4 & 3, shape >> 6),
        14 => "store.meta".to_owned(),
        _ => "foreign".to_owned(),
    }
}
