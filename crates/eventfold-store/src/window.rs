//! The duplicate window: the last appends of the log, by their first event's id.

use std::collections::VecDeque;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use uuid::Uuid;

/// The last appends, up to a number.
///
/// Invariant: `table` has the sequence number of the last entry of `ring` with each id, and nothing else. Two entries have
/// the same id where the window was small enough once to let the first go before the second came, and is larger now.
#[derive(Debug)]
pub(crate) struct Window {
    capacity: usize,
    ring: VecDeque<(Uuid, u64)>,
    /// The sequence number of the ring's front. Numbers wrap: they only tell entries of one window apart.
    front: u32,
    table: HashTable<u32>,
}

impl Window {
    pub(crate) fn new(capacity: u32) -> Self {
        Self { capacity: capacity as usize, ring: VecDeque::new(), front: 0, table: HashTable::new() }
    }

    pub(crate) fn capacity(&self) -> u32 {
        u32::try_from(self.capacity).expect("the capacity was given as a u32")
    }

    /// How many appends it holds.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.ring.len()
    }

    /// The position of the append whose first event has this id.
    pub(crate) fn find(&self, id: &Uuid) -> Option<u64> {
        let found = self.table.find(hash(id), |sequence| self.entry(*sequence).0 == *id)?;
        Some(self.entry(*found).1)
    }

    /// Adds the append whose first event has this id and position, and drops the oldest where there is no room.
    pub(crate) fn push(&mut self, id: Uuid, position: u64) {
        if self.capacity == 0 {
            return;
        }
        while self.ring.len() >= self.capacity {
            self.drop_oldest();
        }
        // Entries are told apart by 32 bits, and there are never more than the format's limit of 2^24.
        let sequence = self.front.wrapping_add(u32::try_from(self.ring.len()).expect("fewer than the capacity"));
        let Self { ring, front, table, .. } = self;
        let id_of = |sequence: &u32| ring[sequence.wrapping_sub(*front) as usize].0;
        match table.entry(hash(&id), |sequence| id_of(sequence) == id, |sequence| hash(&id_of(sequence))) {
            Entry::Occupied(mut earlier) => *earlier.get_mut() = sequence,
            Entry::Vacant(free) => {
                free.insert(sequence);
            }
        }
        self.ring.push_back((id, position));
    }

    /// Changes how many appends it holds from here on.
    pub(crate) fn resize(&mut self, capacity: u32) {
        self.capacity = capacity as usize;
        while self.ring.len() > self.capacity {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((id, _)) = self.ring.front().copied() else { return };
        let front = self.front;
        if let Ok(entry) = self.table.find_entry(hash(&id), |sequence| *sequence == front) {
            entry.remove();
        }
        self.ring.pop_front();
        self.front = self.front.wrapping_add(1);
    }

    fn entry(&self, sequence: u32) -> &(Uuid, u64) {
        &self.ring[sequence.wrapping_sub(self.front) as usize]
    }
}

fn hash(id: &Uuid) -> u64 {
    xxhash_rust::xxh3::xxh3_64(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn of_two_appends_with_one_id_it_knows_the_later(
            capacity in 1u32..10,
            ids in prop::collection::vec(0u128..6, 0..50),
        ) {
            let mut window = Window::new(capacity);
            for (index, (position, id)) in (0u64..).zip(&ids).enumerate() {
                window.push(Uuid::from_u128(*id), position);
                let kept = &ids[..=index];
                let kept = &kept[kept.len().saturating_sub(capacity as usize)..];
                for id in 0..6 {
                    let back = kept.iter().rev().position(|other| *other == id);
                    prop_assert_eq!(window.find(&Uuid::from_u128(id)), back.map(|back| position - back as u64));
                }
            }
        }

        #[test]
        fn it_holds_the_last_appends_and_no_others(
            capacity in 0u32..20,
            steps in prop::collection::vec(prop_oneof![9 => Just(None), 1 => (0u32..20).prop_map(Some)], 0..200),
        ) {
            let mut window = Window::new(capacity);
            let (mut all, mut kept, mut capacity) = (0u64, 0u64, u64::from(capacity));
            for step in steps {
                match step {
                    None => {
                        window.push(Uuid::from_u128(u128::from(all) << 64), all);
                        all += 1;
                        kept = (kept + 1).min(capacity);
                    }
                    Some(new) => {
                        window.resize(new);
                        capacity = u64::from(new);
                        kept = kept.min(capacity);
                    }
                }
                prop_assert_eq!(window.len() as u64, kept);
                for number in 0..=all {
                    let expected = (number < all && number + kept >= all).then_some(number);
                    prop_assert_eq!(window.find(&Uuid::from_u128(u128::from(number) << 64)), expected);
                }
            }
        }
    }
}
