//! The filter: a split-block Bloom filter that tells, with one page, that a term is not in an index.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::TermKind;
use super::node::Term;
use super::page::{PAGE_CONTENT_LEN, Pages, SectionKind, page};
use crate::error::ReadError;

/// Bytes of a block: what one term's bits stand in.
pub(crate) const FILTER_BLOCK_LEN: usize = 4 * SALT.len();

/// Blocks in a page. What is left of it stays empty, so that no block stands in two.
pub(crate) const BLOCKS_PER_PAGE: usize = PAGE_CONTENT_LEN / FILTER_BLOCK_LEN;

/// Odd numbers, one for each word of a block.
pub(crate) const SALT: [u32; 8] =
    [0x7FEB_352D, 0x846C_A68B, 0x9E37_79B1, 0x85EB_CA77, 0xC2B2_AE3D, 0x27D4_EB2F, 0x1656_67B1, 0xD6E8_FEB9];

/// The hash of a term: what a filter knows of it.
pub(crate) fn hash(term: Term<'_>) -> u64 {
    xxh3_64_with_seed(term.key, term.kind as u64)
}

/// Whether a filter tells terms of this kind. A name is found by its stream's id, and names are listed from the table.
pub(crate) fn covers(kind: TermKind) -> bool {
    kind != TermKind::Name
}

/// Which block a hash belongs to.
fn block_of(hash: u64, blocks: u64) -> u64 {
    // Both factors are below 2³².
    ((hash >> 32) * blocks) >> 32
}

/// The bit of each word that a hash has.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is meant")]
fn bits(hash: u64) -> [u32; 8] {
    SALT.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

/// Puts a filter together.
pub(crate) struct FilterBuilder {
    blocks: Vec<[u32; 8]>,
}

impl FilterBuilder {
    /// A filter for so many terms. With 0 bits a term it has no pages, and tells nothing.
    pub(crate) fn new(terms: u64, bits_per_term: u32) -> Self {
        let bytes = terms.saturating_mul(bits_per_term.into()).div_ceil(8);
        let pages = bytes.div_ceil((BLOCKS_PER_PAGE * FILTER_BLOCK_LEN) as u64);
        let blocks = usize::try_from(pages).ok().and_then(|pages| pages.checked_mul(BLOCKS_PER_PAGE));
        Self { blocks: vec![[0; 8]; blocks.expect("a filter fits memory")] }
    }

    pub(crate) fn insert(&mut self, hash: u64) {
        let blocks = self.blocks.len() as u64;
        if blocks == 0 {
            return;
        }
        let block = usize::try_from(block_of(hash, blocks)).expect("below the number of blocks");
        for (word, bit) in self.blocks[block].iter_mut().zip(bits(hash)) {
            *word |= bit;
        }
    }

    /// The contents of the filter's pages, in order.
    pub(crate) fn pages(&self) -> impl Iterator<Item = Vec<u8>> {
        self.blocks.chunks(BLOCKS_PER_PAGE).map(|blocks| {
            let mut content: Vec<u8> = blocks.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
            content.resize(PAGE_CONTENT_LEN, 0);
            content
        })
    }
}

/// Whether an index may have a term with this hash: `false` is certain.
pub(crate) fn may_contain<P: Pages + ?Sized>(pages: &P, hash: u64) -> Result<bool, ReadError> {
    let page_count = pages.page_count(SectionKind::Filter);
    if page_count == 0 {
        return Ok(true);
    }
    let blocks = u64::from(page_count) * BLOCKS_PER_PAGE as u64;
    if blocks > u64::from(u32::MAX) {
        return Err(pages.damaged("a filter has more blocks than a hash can tell apart"));
    }
    let block = block_of(hash, blocks);
    let index = u32::try_from(block / BLOCKS_PER_PAGE as u64).expect("below the number of pages");
    let content = page(pages, SectionKind::Filter, index)?;
    let start = usize::try_from(block % BLOCKS_PER_PAGE as u64).expect("below 127") * FILTER_BLOCK_LEN;
    let words = content[start..start + FILTER_BLOCK_LEN].as_chunks().0;
    Ok(words.iter().zip(bits(hash)).all(|(word, bit)| u32::from_le_bytes(*word) & bit != 0))
}

const _: () = assert!(BLOCKS_PER_PAGE == 127);

#[cfg(test)]
mod tests {
    use super::super::testing::MemoryPages;
    use super::*;

    fn term_hash(number: u32, kind: TermKind) -> u64 {
        hash(Term { kind, key: &number.to_be_bytes() })
    }

    fn filter(terms: u32, bits: u32) -> MemoryPages {
        let mut builder = FilterBuilder::new(terms.into(), bits);
        for number in 0..terms {
            builder.insert(term_hash(number, TermKind::Tag));
        }
        MemoryPages::of(SectionKind::Filter, &builder.pages().flatten().collect::<Vec<_>>())
    }

    #[test]
    fn what_was_put_in_is_found_and_hardly_anything_else() {
        for terms in [1, 500, 2032, 100_000] {
            let pages = filter(terms, 16);
            let contains = |number, kind| may_contain(&pages, term_hash(number, kind)).unwrap();
            assert!((0..terms).all(|number| contains(number, TermKind::Tag)));
            let wrong = (0..100_000).filter(|number| contains(terms + number, TermKind::Tag)).count();
            assert!(wrong < 500, "{wrong} of 100,000 at {terms} terms");
            let wrong = (0..100_000).filter(|number| contains(*number, TermKind::Type)).count();
            assert!(wrong < 500, "{wrong} of 100,000 of another kind at {terms} terms");
        }
    }

    #[test]
    fn a_filter_without_bits_or_terms_has_no_pages() {
        assert_eq!(filter(100, 0).page_count(SectionKind::Filter), 0);
        assert_eq!(filter(0, 16).page_count(SectionKind::Filter), 0);
        assert!(may_contain(&filter(100, 0), 7).unwrap());
    }

    #[test]
    fn hashes_are_fixed_for_ever() {
        assert_eq!(xxh3_64_with_seed(b"", 0), 0x2D06_8005_38D3_94C2); // the published check value
        assert_eq!(hash(Term { kind: TermKind::Stream, key: &[0; 16] }), 4_713_023_592_697_847_323);
        assert_eq!(hash(Term { kind: TermKind::Tag, key: b"account:7" }), 9_117_678_875_070_908_330);
    }
}
