//! Nodes of the table of terms: sorted entries in the content of one page.
//!
//! A node that comes from the disk is checked where it is looked at: every offset and length in it may be anything.

use std::cmp::Ordering;

use super::TermKind;
use super::page::PAGE_CONTENT_LEN;

/// Bytes of the longest term: its kind and a stream's name.
pub(crate) const MAX_TERM_LEN: usize = 1 + eventfold_codec::MAX_STREAM_NAME_LEN;

/// Level, a reserved byte, and the number of entries.
const HEAD_LEN: usize = 4;

/// Bytes of an entry's offset.
const SLOT_LEN: usize = 2;

/// Bytes of a term's length, before the term.
const TERM_LEN_LEN: usize = 2;

/// Bytes of a child's page index.
const CHILD_LEN: usize = 4;

// A node above the leaves has more than one child, so that levels shrink to a root.
const _: () = assert!(PAGE_CONTENT_LEN - HEAD_LEN >= 2 * (SLOT_LEN + TERM_LEN_LEN + MAX_TERM_LEN + CHILD_LEN));

/// What is wrong with a node.
pub(crate) type Malformed = &'static str;

const ENTRIES: Malformed = "a node's entries don't fit it";

/// A term as it is looked for: its kind and its key, which stand one after the other in a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term<'a> {
    pub(crate) kind: TermKind,
    pub(crate) key: &'a [u8],
}

impl Term<'_> {
    /// How `stored`, the bytes of a term in a node, compares with this one.
    #[inline]
    fn compare(self, stored: &[u8]) -> Ordering {
        match stored.split_first() {
            None => Ordering::Less,
            Some((kind, key)) => kind.cmp(&(self.kind as u8)).then_with(|| key.cmp(self.key)),
        }
    }

    /// The kind of a term as it stands in a node.
    pub(crate) fn kind_of(stored: &[u8]) -> Result<TermKind, Malformed> {
        let kinds = [TermKind::Stream, TermKind::Type, TermKind::Tag, TermKind::Name];
        let kind = kinds.into_iter().find(|kind| stored.first() == Some(&(*kind as u8)));
        kind.ok_or("a term has an unknown kind")
    }

    pub(crate) fn append_to(self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        out.extend_from_slice(self.key);
    }
}

/// A node, as it stands in a page.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    content: &'a [u8],
    level: u8,
    slots: &'a [[u8; SLOT_LEN]],
}

impl<'a> Node<'a> {
    /// Looks at the head of the node in the content of a page.
    pub(crate) fn open(content: &'a [u8]) -> Result<Self, Malformed> {
        let Some(([level, reserved, count @ ..], body)) = content.split_first_chunk::<HEAD_LEN>() else {
            return Err("a node is cut off");
        };
        let count = usize::from(u16::from_le_bytes(*count));
        if *reserved != 0 || count == 0 {
            return Err("a node's head is not one");
        }
        let entries_len = body.len().checked_sub(count * SLOT_LEN).ok_or(ENTRIES)?;
        let (entries, slots) = body.split_at(entries_len);
        let content = &content[..HEAD_LEN + entries.len()];
        Ok(Self { content, level: *level, slots: slots.as_chunks().0 })
    }

    /// 0 in a leaf.
    pub(crate) fn level(&self) -> u8 {
        self.level
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The term of entry `index`, and the bytes from its value on.
    #[inline]
    pub(crate) fn entry(&self, index: usize) -> Result<(&'a [u8], &'a [u8]), Malformed> {
        let slot = self.slots.get(index).ok_or(ENTRIES)?;
        let entry = self.content.get(usize::from(u16::from_le_bytes(*slot))..).ok_or(ENTRIES)?;
        let (len, rest) = entry.split_first_chunk::<TERM_LEN_LEN>().ok_or(ENTRIES)?;
        let len = usize::from(u16::from_le_bytes(*len));
        if len == 0 || len > MAX_TERM_LEN {
            return Err("a term's length is out of bounds");
        }
        rest.split_at_checked(len).ok_or(ENTRIES)
    }

    /// The page of child `index`, in a node that is no leaf.
    pub(crate) fn child(&self, index: usize) -> Result<u32, Malformed> {
        let (_, value) = self.entry(index)?;
        value.first_chunk().map(|child| u32::from_le_bytes(*child)).ok_or(ENTRIES)
    }

    /// The entry with this term, or the first one behind it.
    #[inline]
    pub(crate) fn search(&self, term: Term<'_>) -> Result<Result<usize, usize>, Malformed> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match term.compare(self.entry(middle)?.0) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(Ok(middle)),
                Ordering::Greater => high = middle,
            }
        }
        Ok(Err(low))
    }
}

/// Puts a node together.
pub(crate) struct NodeWriter {
    content: Vec<u8>,
    slots: Vec<u8>,
}

impl NodeWriter {
    pub(crate) fn new(level: u8) -> Self {
        Self { content: vec![level, 0, 0, 0], slots: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn has_room(&self, term: &[u8], value: &[u8]) -> bool {
        let entry = TERM_LEN_LEN + term.len() + value.len() + SLOT_LEN;
        self.content.len() + self.slots.len() + entry <= PAGE_CONTENT_LEN
    }

    /// Adds an entry behind the others.
    ///
    /// # Panics
    ///
    /// If there is no room for it.
    pub(crate) fn push(&mut self, term: &[u8], value: &[u8]) {
        assert!(self.has_room(term, value), "an entry fits its node");
        let fits = "a node's offsets and lengths are below 4,092";
        self.slots.extend_from_slice(&u16::try_from(self.content.len()).expect(fits).to_le_bytes());
        self.content.extend_from_slice(&u16::try_from(term.len()).expect(fits).to_le_bytes());
        self.content.extend_from_slice(term);
        self.content.extend_from_slice(value);
    }

    /// The node as a page's content; the writer is empty again.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let level = self.content[0];
        let mut content = std::mem::replace(&mut self.content, vec![level, 0, 0, 0]);
        let count = u16::try_from(self.slots.len() / SLOT_LEN).expect("a page has room for fewer entries");
        content[2..HEAD_LEN].copy_from_slice(&count.to_le_bytes());
        content.resize(PAGE_CONTENT_LEN - self.slots.len(), 0);
        content.append(&mut self.slots);
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Looks at everything in a node that may be anything.
    fn exercise(content: &[u8], key: &[u8]) {
        let Ok(node) = Node::open(content) else {
            return;
        };
        for index in 0..=node.len() {
            let _ = (node.entry(index), node.child(index));
        }
        for kind in [TermKind::Stream, TermKind::Name] {
            if let Ok(Ok(found) | Err(found)) = node.search(Term { kind, key }) {
                assert!(found <= node.len());
            }
        }
    }

    #[test]
    fn a_term_that_is_too_long_or_empty_is_malformed() {
        for len in [0, MAX_TERM_LEN + 1] {
            let mut writer = NodeWriter::new(0);
            writer.push(&vec![1; len], b"value");
            let content = writer.take();
            let node = Node::open(&content).unwrap();
            assert_eq!(node.entry(0), Err("a term's length is out of bounds"));
        }
        let mut writer = NodeWriter::new(0);
        writer.push(&[1; MAX_TERM_LEN], b"value");
        let content = writer.take();
        assert!(Node::open(&content).unwrap().entry(0).is_ok());
    }

    #[test]
    fn a_node_finds_what_was_put_into_it() {
        let mut writer = NodeWriter::new(0);
        let mut count = 0u16;
        loop {
            let mut term = Vec::new();
            Term { kind: TermKind::Tag, key: &(2 * count).to_be_bytes() }.append_to(&mut term);
            if !writer.has_room(&term, b"value") {
                break;
            }
            writer.push(&term, b"value");
            count += 1;
        }
        let content = writer.take();
        assert!(writer.is_empty());
        assert_eq!(content.len(), PAGE_CONTENT_LEN);
        let node = Node::open(&content).unwrap();
        assert_eq!((node.level(), node.len()), (0, usize::from(count)));
        for key in 0..=2 * count {
            let found = node.search(Term { kind: TermKind::Tag, key: &key.to_be_bytes() }).unwrap();
            let index = usize::from(key / 2);
            if key < 2 * count && key % 2 == 0 {
                assert_eq!(found, Ok(index));
                assert!(node.entry(index).unwrap().1.starts_with(b"value"));
            } else {
                assert_eq!(found, Err(usize::from(key.div_ceil(2))));
            }
        }
        assert_eq!(node.search(Term { kind: TermKind::Stream, key: b"" }).unwrap(), Err(0));
        assert_eq!(node.search(Term { kind: TermKind::Name, key: b"" }).unwrap(), Err(node.len()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_or_read_without_a_panic(
            head in prop::array::uniform4(any::<u8>()),
            count in prop_oneof![0..40u16, any::<u16>()],
            body in prop::collection::vec(any::<u8>(), 0..PAGE_CONTENT_LEN),
            key in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut content = vec![head[0] % 4, if head[1] < 16 { head[2] } else { 0 }];
            content.extend_from_slice(&count.to_le_bytes());
            content.extend_from_slice(&body);
            exercise(&content, &key);
            exercise(&content[..usize::from(head[3]) % 5], &key);
            content.resize(PAGE_CONTENT_LEN, head[3]);
            exercise(&content, &key);
        }

        #[test]
        fn small_offsets_and_lengths_are_no_trap(
            words in prop::collection::vec(0..600u16, PAGE_CONTENT_LEN / 2 - 2),
            count in 1..600u16,
            key in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut content = vec![0, 0];
            content.extend_from_slice(&count.to_le_bytes());
            content.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            exercise(&content, &key);
        }
    }
}
