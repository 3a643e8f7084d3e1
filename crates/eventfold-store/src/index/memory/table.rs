//! A list that grows without moving what it holds.

/// Items in chunks of `N`, all full but the last. Pushing one copies no other, so that whoever waits for the lock around the
/// list waits for little.
#[derive(Debug)]
pub(super) struct Table<T, const N: usize> {
    /// Each is allocated whole. None is empty.
    chunks: Vec<Vec<T>>,
    /// The first item of each chunk, side by side: a search that went from chunk to chunk would miss the cache at each.
    heads: Vec<T>,
}

impl<T, const N: usize> Default for Table<T, N> {
    fn default() -> Self {
        Self { chunks: Vec::new(), heads: Vec::new() }
    }
}

impl<T: Copy, const N: usize> Table<T, N> {
    pub(super) fn push(&mut self, item: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < N => last.push(item),
            _ => {
                let mut chunk = Vec::with_capacity(N);
                chunk.push(item);
                self.chunks.push(chunk);
                self.heads.push(item);
            }
        }
    }

    pub(super) fn get(&self, rank: usize) -> Option<&T> {
        self.chunks.get(rank / N)?.get(rank % N)
    }

    pub(super) fn last(&self) -> Option<&T> {
        self.chunks.last()?.last()
    }

    /// The items with the ranks `index * N` up to `N` more.
    pub(super) fn chunk(&self, index: usize) -> &[T] {
        self.chunks.get(index).map_or(&[], Vec::as_slice)
    }

    /// How many items come before the first for which `before` is false. It is true for all before that and for none behind.
    pub(super) fn partition_point(&self, before: impl Fn(&T) -> bool) -> usize {
        // The chunk that the boundary is in is the last whose first item lies before it.
        let chunks = self.heads.partition_point(&before);
        match chunks.checked_sub(1) {
            Some(last) => last * N + self.chunks[last].partition_point(before),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_like_one_list() {
        let (mut table, mut list) = (Table::<u32, 4>::default(), Vec::new());
        for item in (0..40).step_by(2) {
            for bound in 0..=item + 1 {
                let expected = list.partition_point(|other| *other < bound);
                assert_eq!(table.partition_point(|other| *other < bound), expected);
            }
            assert_eq!((table.last(), table.get(list.len())), (list.last(), None));
            table.push(item);
            list.push(item);
            assert!((0..list.len()).all(|rank| table.get(rank) == list.get(rank)));
            assert!(list.chunks(4).enumerate().all(|(index, chunk)| table.chunk(index) == chunk));
        }
        assert!(table.chunk(5).is_empty());
    }
}
