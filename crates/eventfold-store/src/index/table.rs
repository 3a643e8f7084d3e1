//! The table of terms: a tree of nodes that is written once, from sorted entries, and then only read.

use std::sync::Arc;

use bytes::Bytes;

use super::node::{Malformed, Node, NodeWriter, Term};
use super::page::{Pages, SectionKind, page};
use crate::error::ReadError;

/// Writes a table, a page's content at a time: the leaves as they fill, the levels above them at the end. What it keeps is
/// the first term of each leaf.
pub(crate) struct TableWriter {
    leaf: NodeWriter,
    firsts: Vec<Box<[u8]>>,
    term: Vec<u8>,
}

impl TableWriter {
    pub(crate) fn new() -> Self {
        Self { leaf: NodeWriter::new(0), firsts: Vec::new(), term: Vec::new() }
    }

    /// Adds an entry behind all others.
    ///
    /// # Panics
    ///
    /// If an entry doesn't fit a node by itself, which the limits of terms and values prevent.
    pub(crate) fn push<E>(
        &mut self,
        term: Term<'_>,
        value: &[u8],
        emit: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.term.clear();
        term.append_to(&mut self.term);
        push(&mut self.leaf, &mut self.firsts, &self.term, value, emit)
    }

    /// Writes what is left, up to the root.
    pub(crate) fn finish<E>(mut self, emit: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if self.leaf.is_empty() {
            return Ok(());
        }
        emit(&self.leaf.take())?;
        let (mut children, mut next_child) = (self.firsts, 0u32);
        for level in 1.. {
            if children.len() == 1 {
                break;
            }
            let (mut node, mut firsts) = (NodeWriter::new(level), Vec::new());
            for term in &children {
                push(&mut node, &mut firsts, term, &next_child.to_le_bytes(), emit)?;
                next_child += 1;
            }
            emit(&node.take())?;
            children = firsts;
        }
        Ok(())
    }
}

/// Adds an entry to a level, and begins another node where the last is full.
fn push<E>(
    node: &mut NodeWriter,
    firsts: &mut Vec<Box<[u8]>>,
    term: &[u8],
    value: &[u8],
    emit: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    if !node.is_empty() && !node.has_room(term, value) {
        emit(&node.take())?;
    }
    if node.is_empty() {
        firsts.push(term.into());
    }
    node.push(term, value);
    Ok(())
}

/// Looks a term up. What is returned starts with its value; what follows in the node may follow.
pub(crate) fn find<P: Pages + ?Sized>(pages: &P, term: Term<'_>) -> Result<Option<Bytes>, ReadError> {
    let Some((_, content)) = find_leaf(pages, term)? else {
        return Ok(None);
    };
    let found = Node::open(&content).and_then(|leaf| match leaf.search(term)? {
        Ok(index) => Ok(Some(leaf.entry(index)?.1)),
        Err(_) => Ok(None),
    });
    Ok(found.map_err(|what| pages.damaged(what))?.map(|value| content.slice_ref(value)))
}

/// The leaf that has the term if any has, and its page; the first where all terms are behind it. `None` in an empty table.
fn find_leaf<P: Pages + ?Sized>(pages: &P, term: Term<'_>) -> Result<Option<(u32, Bytes)>, ReadError> {
    let Some(mut index) = pages.page_count(SectionKind::Terms).checked_sub(1) else {
        return Ok(None);
    };
    let mut level = None;
    loop {
        let content = page(pages, SectionKind::Terms, index)?;
        let node = Node::open(&content).map_err(|what| pages.damaged(what))?;
        // Levels count down to 0, so this ends, whatever the nodes say of their children.
        if level.is_some_and(|level| level != node.level()) {
            return Err(pages.damaged("a node stands on another level than its parent says"));
        }
        let Some(below) = node.level().checked_sub(1) else {
            return Ok(Some((index, content)));
        };
        level = Some(below);
        index = child_of(node, term).map_err(|what| pages.damaged(what))?;
    }
}

fn child_of(node: Node<'_>, term: Term<'_>) -> Result<u32, Malformed> {
    match node.search(term)? {
        Ok(index) => node.child(index),
        Err(behind) => node.child(behind.saturating_sub(1)),
    }
}

/// Goes through a table's entries in order.
pub(crate) struct TableCursor<P> {
    pages: Arc<P>,
    leaf: Bytes,
    leaf_index: u32,
    /// The entry that is next in the leaf.
    slot: usize,
    /// The last entry's term: terms that do not ascend would break whoever merges them.
    term: Bytes,
    value: Bytes,
}

impl<P: Pages> TableCursor<P> {
    /// A cursor before the first entry whose term is not below this one.
    pub(crate) fn seek(pages: Arc<P>, term: Term<'_>) -> Result<Self, ReadError> {
        let (leaf_index, leaf) = find_leaf(&*pages, term)?.unwrap_or_default();
        let slot = if leaf.is_empty() {
            0
        } else {
            let found = Node::open(&leaf).and_then(|leaf| leaf.search(term));
            let (Ok(slot) | Err(slot)) = found.map_err(|what| pages.damaged(what))?;
            slot
        };
        Ok(Self { pages, leaf, leaf_index, slot, term: Bytes::new(), value: Bytes::new() })
    }

    /// A cursor before the first entry.
    pub(crate) fn start(pages: Arc<P>) -> Result<Self, ReadError> {
        Self::seek(pages, Term { kind: super::TermKind::Stream, key: &[] })
    }

    /// Goes to the next entry; `false` where there is none. After an error nothing more is found.
    pub(crate) fn advance(&mut self) -> Result<bool, ReadError> {
        let advanced = self.try_advance();
        if !matches!(advanced, Ok(true)) {
            self.end();
        }
        advanced
    }

    /// Makes it find nothing more.
    pub(crate) fn end(&mut self) {
        self.leaf = Bytes::new();
    }

    fn try_advance(&mut self) -> Result<bool, ReadError> {
        if self.leaf.is_empty() {
            return Ok(false);
        }
        let damaged = |what| self.pages.damaged(what);
        let mut node = Node::open(&self.leaf).map_err(damaged)?;
        let content;
        if self.slot == node.len() {
            self.leaf_index += 1;
            if self.leaf_index >= self.pages.page_count(SectionKind::Terms) {
                return Ok(false);
            }
            content = page(&*self.pages, SectionKind::Terms, self.leaf_index)?;
            node = Node::open(&content).map_err(damaged)?;
            if node.level() != 0 {
                return Ok(false);
            }
            self.slot = 0;
        } else {
            content = self.leaf.clone();
        }
        let (term, value) = node.entry(self.slot).map_err(damaged)?;
        if term <= &self.term[..] {
            return Err(damaged("terms are out of order"));
        }
        (self.term, self.value) = (content.slice_ref(term), content.slice_ref(value));
        self.slot += 1;
        self.leaf = content;
        Ok(true)
    }

    /// The entry's term: its kind, and its key. Not empty, once the cursor stands at an entry.
    pub(crate) fn term(&self) -> &[u8] {
        &self.term
    }

    /// The bytes that start with the entry's value.
    pub(crate) fn value(&self) -> &[u8] {
        &self.value
    }

    pub(crate) fn pages(&self) -> &P {
        &self.pages
    }
}

#[cfg(test)]
mod tests {
    use super::super::TermKind;
    use super::super::testing::MemoryPages;
    use super::*;

    const TERM: Term<'_> = Term { kind: TermKind::Tag, key: b"m" };

    /// A term as it stands in a node, and its value.
    type Entry<'a> = (&'a [u8], &'a [u8]);

    /// A table of these nodes, each a level and its entries.
    fn table(nodes: &[(u8, &[Entry<'_>])]) -> Arc<MemoryPages> {
        let mut content = Vec::new();
        for (level, entries) in nodes {
            let mut node = NodeWriter::new(*level);
            for (term, value) in *entries {
                node.push(term, value);
            }
            content.append(&mut node.take());
        }
        Arc::new(MemoryPages::of(SectionKind::Terms, &content))
    }

    fn what(error: &ReadError) -> &'static str {
        match error {
            ReadError::Index { what, .. } => what,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_node_among_its_own_descendants_is_no_endless_search() {
        let own_child = 0u32.to_le_bytes();
        let pages = table(&[(1, &[(b"\x03a", &own_child)])]);
        assert_eq!(what(&find(&*pages, TERM).unwrap_err()), "a node stands on another level than its parent says");
        let beyond = 1u32.to_le_bytes();
        let pages = table(&[(1, &[(b"\x03a", &beyond)])]);
        assert_eq!(what(&find(&*pages, TERM).unwrap_err()), "a page lies beyond its section");
    }

    #[test]
    fn a_cursor_ends_with_the_first_term_out_of_order() {
        for terms in [[&b"\x03b"[..], b"\x03a"], [b"\x03b", b"\x03b"]] {
            let one_node = table(&[(0, &[(terms[0], b"x"), (terms[1], b"y")])]);
            let children = [0u32.to_le_bytes(), 1u32.to_le_bytes()];
            let two_nodes = table(&[
                (0, &[(terms[0], b"x")]),
                (0, &[(terms[1], b"y")]),
                (1, &[(terms[0], &children[0]), (b"\x03z", &children[1])]),
            ]);
            for pages in [one_node, two_nodes] {
                let mut cursor = TableCursor::start(pages).unwrap();
                assert!(cursor.advance().unwrap());
                assert_eq!((cursor.term(), &cursor.value()[..1]), (terms[0], &b"x"[..]));
                assert_eq!(what(&cursor.advance().unwrap_err()), "terms are out of order");
                assert!(!cursor.advance().unwrap(), "nothing follows an error");
            }
        }
    }

    #[test]
    fn a_search_below_all_terms_starts_at_the_first() {
        let children = [0u32.to_le_bytes(), 1u32.to_le_bytes()];
        let pages = table(&[
            (0, &[(b"\x03n", b"x")]),
            (0, &[(b"\x03p", b"y")]),
            (1, &[(b"\x03n", &children[0]), (b"\x03p", &children[1])]),
        ]);
        assert_eq!(find(&*pages, TERM).unwrap(), None);
        for (key, expected) in [(b"a", Some(b"\x03n")), (b"n", Some(b"\x03n")), (b"o", Some(b"\x03p")), (b"q", None)] {
            let mut cursor = TableCursor::seek(Arc::clone(&pages), Term { kind: TermKind::Tag, key }).unwrap();
            let found = cursor.advance().unwrap().then(|| cursor.term());
            assert_eq!(found, expected.map(|term| &term[..]));
        }
    }

    #[test]
    fn the_longest_terms_make_a_tall_table_in_which_all_are_found() {
        let name = |number: usize| format!("{number:0>512}").into_bytes();
        let (mut writer, mut content) = (TableWriter::new(), Vec::new());
        let mut emit = |page: &[u8]| {
            content.extend_from_slice(page);
            Ok::<(), ReadError>(())
        };
        for number in (0..4000).step_by(2) {
            writer.push(Term { kind: TermKind::Name, key: &name(number) }, &number.to_le_bytes(), &mut emit).unwrap();
        }
        writer.finish(&mut emit).unwrap();
        let pages = Arc::new(MemoryPages::of(SectionKind::Terms, &content));
        let root = pages.page_count(SectionKind::Terms) - 1;
        assert_eq!(pages.page(SectionKind::Terms, root).unwrap()[0], 3, "the root's level");
        for number in 0..4000 {
            let found = find(&*pages, Term { kind: TermKind::Name, key: &name(number) }).unwrap();
            let expected = number.is_multiple_of(2).then(|| number.to_le_bytes());
            assert_eq!(found.map(|value| value[..8].to_vec()), expected.map(|value| value.to_vec()));
        }
        let mut cursor = TableCursor::start(pages).unwrap();
        for number in (0..4000).step_by(2) {
            assert!(cursor.advance().unwrap());
            assert_eq!(cursor.term()[1..], name(number));
        }
        assert!(!cursor.advance().unwrap());
    }
}
