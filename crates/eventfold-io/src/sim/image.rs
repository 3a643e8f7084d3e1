//! What a file holds: pages, of which those that were never written are absent.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The unit in which space is counted and copies are shared.
pub(super) const PAGE_LEN: u64 = 4096;
const PAGE: usize = 4096;

type Page = [u8; PAGE];

/// Reserved space that was never written is one page, shared by all.
static ZEROES: LazyLock<Arc<Page>> = LazyLock::new(|| Arc::new([0; PAGE]));

/// Bytes of a file. Copies share their pages, so that a disk of many files is cheap to fork.
///
/// There may be bytes beyond the length: blocks that were written while the new length was not. They are never read, and
/// [`settle`](Self::settle) drops them.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    len: u64,
    pages: BTreeMap<u64, Arc<Page>>,
}

impl Image {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many pages have space of their own.
    pub(super) fn pages(&self) -> u64 {
        self.pages.len() as u64
    }

    /// How many more there would be if this range were written.
    pub(super) fn missing(&self, offset: u64, len: u64) -> u64 {
        let range = pages_of(offset, len);
        (range.end - range.start) - self.pages.range(range).count() as u64
    }

    /// Reads up to the end and returns how many bytes there were.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let there = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..there];
        for (number, within, part) in split(offset, there) {
            match self.pages.get(&number) {
                Some(page) => buffer[part.clone()].copy_from_slice(&page[within..within + part.len()]),
                None => buffer[part].fill(0),
            }
        }
        there
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).expect("a simulated file fits into memory")];
        self.read(&mut bytes, 0);
        bytes
    }

    /// Changes bytes, and not the length.
    pub(super) fn put(&mut self, bytes: &[u8], offset: u64) {
        for (number, within, part) in split(offset, bytes.len()) {
            let page = self.pages.entry(number).or_insert_with(|| ZEROES.clone());
            Arc::make_mut(page)[within..within + part.len()].copy_from_slice(&bytes[part]);
        }
    }

    /// Gives a range space of its own, and not the length.
    pub(super) fn reserve(&mut self, offset: u64, len: u64) {
        for number in pages_of(offset, len) {
            self.pages.entry(number).or_insert_with(|| ZEROES.clone());
        }
    }

    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Cuts off the length and every byte beyond it.
    pub(super) fn cut(&mut self, len: u64) {
        self.len = self.len.min(len);
        self.pages.split_off(&len.div_ceil(PAGE_LEN));
        let within = usize::try_from(len % PAGE_LEN).expect("less than a page");
        if within > 0
            && let Some(page) = self.pages.get_mut(&(len / PAGE_LEN))
        {
            Arc::make_mut(page)[within..].fill(0);
        }
    }

    /// Drops the bytes beyond the length.
    pub(super) fn settle(&mut self) {
        self.cut(self.len);
    }
}

fn pages_of(offset: u64, len: u64) -> std::ops::Range<u64> {
    if len == 0 { 0..0 } else { offset / PAGE_LEN..(offset + len).div_ceil(PAGE_LEN) }
}

/// The pages that a range touches: number, where in the page it starts, and which part of the range that is.
fn split(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % PAGE_LEN).expect("less than a page");
        let part = done..len.min(done + PAGE - within);
        done = part.end;
        Some((at / PAGE_LEN, within, part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_across_pages_and_holes_are_zeroes() {
        let mut image = Image::default();
        let bytes: Vec<u8> = (1..=255).cycle().take(10_000).collect();
        image.put(&bytes, 4000);
        assert_eq!(image.to_vec(), []);
        image.grow(20_000);
        let mut read = vec![9; 30_000];
        assert_eq!(image.read(&mut read, 1000), 19_000);
        assert_eq!(&read[..3000], [0; 3000]);
        assert_eq!(&read[3000..13_000], bytes);
        assert_eq!(&read[13_000..19_000], [0; 6000]);
        assert_eq!(&read[19_000..], [9; 11_000]);
        assert_eq!((image.pages(), image.missing(0, 20_000)), (4, 1));
        assert_eq!((image.missing(20_000, 0), image.missing(20_000, 1000)), (0, 2));
    }

    #[test]
    fn what_was_cut_off_does_not_come_back() {
        let mut image = Image::default();
        image.put(&[7; 9000], 0);
        image.grow(9000);
        image.cut(5000);
        image.grow(9000);
        assert!(image.to_vec()[5000..].iter().all(|byte| *byte == 0));
        assert_eq!(image.to_vec()[..5000], [7; 5000]);
    }

    #[test]
    fn a_copy_is_its_own() {
        let mut image = Image::default();
        image.put(&[1], 0);
        image.grow(1);
        let copy = image.clone();
        image.put(&[2], 0);
        assert_eq!((image.to_vec(), copy.to_vec()), (vec![2], vec![1]));
    }
}
