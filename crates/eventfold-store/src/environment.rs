//! What a store needs of the world besides a disk: the time, and random numbers.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use chacha20::ChaCha12Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use uuid::{Builder, Uuid};

/// The clock and the random numbers of a store. Nothing that decides an append asks either.
pub trait Environment: fmt::Debug + Send + Sync {
    /// The time, in milliseconds since 1970. It is recorded with each append, and nothing depends on it.
    fn unix_ms(&self) -> u64;

    /// 128 random bits: for salts, for a new store's id, and to seed the ids of events that are given none.
    fn random(&self) -> u128;
}

/// The system's clock and random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    #[expect(clippy::disallowed_methods, reason = "this is where the time comes in")]
    fn unix_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this is where random numbers come in")]
    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system gives random numbers: without them no id is unique");
        u128::from_le_bytes(bytes)
    }
}

/// A random (version 4) UUID.
pub(crate) fn new_id(environment: &dyn Environment) -> Uuid {
    Builder::from_random_bytes(environment.random().to_le_bytes()).into_uuid()
}

/// Where the ids of events come from: a generator for each store that is opened, since asking the system takes longer than
/// all else that preparing an append does. One for the whole process would be copied by a fork, and two stores, or one store
/// opened in turns, get the same ids.
#[derive(Debug)]
pub(crate) struct EventIds(Mutex<ChaCha12Rng>);

impl EventIds {
    pub(crate) fn new(environment: &dyn Environment) -> Self {
        let mut seed = [0; 32];
        for half in seed.as_chunks_mut::<16>().0 {
            *half = environment.random().to_le_bytes();
        }
        Self(Mutex::new(ChaCha12Rng::from_seed(seed)))
    }

    fn random_id(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// Ids for the events of one append: a random one for the first, and those that follow it in the lowest 48 bits for the
/// others, so that all share one turn at the generator. Ids of one append differ for certain then, and those of two coincide
/// no sooner than random ones would.
pub(crate) struct NewIds<'a> {
    ids: &'a EventIds,
    last: Option<Uuid>,
}

impl<'a> NewIds<'a> {
    pub(crate) fn new(ids: &'a EventIds) -> Self {
        Self { ids, last: None }
    }

    pub(crate) fn next(&mut self) -> Uuid {
        const LOW: u128 = (1 << 48) - 1;
        let id = match self.last {
            None => self.ids.random_id(),
            Some(last) => {
                let last = last.as_u128();
                Uuid::from_u128(last & !LOW | (last + 1) & LOW)
            }
        };
        self.last = Some(id);
        id
    }
}

/// A salt, which must never have been used before.
pub(crate) fn new_salt(environment: &dyn Environment) -> u64 {
    u64::try_from(environment.random() >> 64).expect("the upper half has 64 bits")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Counting(AtomicU64);

    impl Environment for Counting {
        fn unix_ms(&self) -> u64 {
            0
        }

        fn random(&self) -> u128 {
            self.0.fetch_add(1, Ordering::Relaxed).into()
        }
    }

    #[test]
    fn ids_of_an_append_differ_and_are_of_version_4() {
        let ids = EventIds::new(&Counting::default());
        // Where the lowest bits wrap around, too.
        let last = Some(Uuid::from_u128(ids.random_id().as_u128() | 0xFFFF_FFFF_FFFF));
        let mut ids = NewIds { ids: &ids, last };
        let ids: Vec<Uuid> = (0..65_536).map(|_| ids.next()).collect();
        assert!(ids.iter().all(|id| id.get_version_num() == 4 && id.get_variant() == uuid::Variant::RFC4122));
        assert_eq!(ids[0].as_u128() & 0xFFFF_FFFF_FFFF, 0);
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }

    #[test]
    fn ids_of_appends_and_stores_differ_and_replay_from_a_seed() {
        let ids = |environment: &Counting| {
            let ids = EventIds::new(environment);
            (0..100).map(|_| NewIds::new(&ids).next()).collect::<Vec<_>>()
        };
        let environment = Counting::default();
        let (first, second) = (ids(&environment), ids(&environment));
        assert_eq!(first.iter().chain(&second).collect::<BTreeSet<_>>().len(), 200);
        assert_eq!(ids(&Counting::default()), first);
    }
}
