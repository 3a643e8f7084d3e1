//! `store.meta`: what a store says of itself. Section 9.2 of `docs/FORMAT.md`.

use eventfold_codec::{MAX_IDEMPOTENCY_WINDOW, is_segment_size};
use uuid::Uuid;

use super::{Damage, FileError, HeaderKind, byte_table, head, rule};

byte_table! {
    /// Table "store.meta".
    table: 4096 bytes {
        MAGIC: 8,
        FORMAT_VERSION: 4,
        REQUIRED_FLAGS: 4,
        STORE_ID: 16,
        SEGMENT_SIZE: 8,
        IDEMPOTENCY_WINDOW: 4,
        RESERVED: 4048,
        CHECKSUM: 4,
    }
}

const META: HeaderKind = HeaderKind::new(*b"MET", 0x5EED_0100);

/// Bytes of the file.
pub(crate) const META_LEN: usize = table::SIZE;

/// The options a store is created with, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreMeta {
    /// Which store it is.
    pub(crate) store_id: Uuid,
    /// The configured size of its segments.
    pub(crate) segment_size: u64,
    /// How many appends its duplicate window holds, until a configuration frame says otherwise.
    pub(crate) idempotency_window: u32,
}

impl StoreMeta {
    /// The file's bytes.
    ///
    /// # Panics
    ///
    /// If an option is out of its bounds.
    pub(crate) fn encode(&self) -> Vec<u8> {
        if let Err(damage) = self.check() {
            panic!("only a file that a reader accepts is written: {damage}");
        }
        let mut bytes = vec![0; META_LEN];
        table::SEGMENT_SIZE.set_u64(&mut bytes, self.segment_size);
        table::IDEMPOTENCY_WINDOW.set_u32(&mut bytes, self.idempotency_window);
        META.seal(&mut bytes, self.store_id);
        bytes
    }

    /// Reads the whole file. One of a newer version is recognised by its first [`META_LEN`] bytes, however long it is.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FileError> {
        let header = head(bytes, META_LEN)?;
        let meta = Self {
            store_id: META.open(header)?,
            segment_size: table::SEGMENT_SIZE.get_u64(header),
            idempotency_window: table::IDEMPOTENCY_WINDOW.get_u32(header),
        };
        if bytes.len() != META_LEN {
            return Err(Damage::Length { expected: META_LEN as u64, found: bytes.len() as u64 }.into());
        }
        meta.check()?;
        Ok(meta)
    }

    fn check(&self) -> Result<(), Damage> {
        rule(is_segment_size(self.segment_size), "segment_size", self.segment_size)?;
        let window = self.idempotency_window;
        rule(window <= MAX_IDEMPOTENCY_WINDOW, "idempotency_window", u64::from(window))
    }
}

#[cfg(test)]
pub(super) fn layout() -> (usize, &'static [(usize, usize, &'static str)], HeaderKind) {
    (table::SIZE, table::ROWS, META)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hex, keeps_the_common_rules, resealed};
    use super::*;
    use eventfold_codec::{DEFAULT_SEGMENT_SIZE, MAX_SEGMENT_SIZE, MIN_SEGMENT_SIZE};
    use proptest::prelude::*;

    const GOLDEN: &str = include_str!("../../tests/golden/store_meta.hex");

    fn sample() -> StoreMeta {
        StoreMeta {
            store_id: Uuid::from_u128(0x6F96_19FF_8B86_D011_B42D_00C0_4FC9_64FF),
            segment_size: DEFAULT_SEGMENT_SIZE,
            idempotency_window: 1000,
        }
    }

    #[test]
    fn the_bytes_are_the_golden_ones() {
        assert_eq!(sample().encode(), hex(GOLDEN));
        assert_eq!(StoreMeta::decode(&hex(GOLDEN)), Ok(sample()));
    }

    #[test]
    fn newer_files_are_refused_by_number_and_others_as_damage() {
        keeps_the_common_rules(&META, &sample().encode(), |bytes| StoreMeta::decode(bytes).map(drop));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut bytes = sample().encode();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(StoreMeta::decode(&bytes), Err(FileError::Damaged(_))), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn options_keep_their_bounds() {
        let refused = |change: fn(&mut [u8])| {
            let Err(FileError::Damaged(Damage::Field { field, .. })) =
                StoreMeta::decode(&resealed(&META, &sample().encode(), change))
            else {
                panic!("accepted");
            };
            field
        };
        assert_eq!(refused(|bytes| table::SEGMENT_SIZE.set_u64(bytes, 65_537)), "segment_size");
        assert_eq!(refused(|bytes| table::IDEMPOTENCY_WINDOW.set_u32(bytes, 1 << 25)), "idempotency_window");
        let reserved = resealed(&META, &sample().encode(), |bytes| bytes[3000] = 9);
        assert_eq!(StoreMeta::decode(&reserved), Ok(sample()));
    }

    #[test]
    fn a_longer_file_is_damage_unless_it_is_newer() {
        let mut bytes = sample().encode();
        bytes.push(0);
        assert_eq!(StoreMeta::decode(&bytes), Err(Damage::Length { expected: 4096, found: 4097 }.into()));
        let mut newer = resealed(&META, &sample().encode(), |bytes| table::FORMAT_VERSION.set_u32(bytes, 2));
        newer.extend([1; 100]);
        assert_eq!(StoreMeta::decode(&newer), Err(FileError::Newer { found: 2 }));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            id in any::<u128>(),
            blocks in MIN_SEGMENT_SIZE / 4096..=MAX_SEGMENT_SIZE / 4096,
            idempotency_window in 0..=MAX_IDEMPOTENCY_WINDOW,
        ) {
            let meta = StoreMeta { store_id: Uuid::from_u128(id), segment_size: blocks * 4096, idempotency_window };
            prop_assert_eq!(StoreMeta::decode(&meta.encode()), Ok(meta));
        }

        #[test]
        fn arbitrary_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert!(StoreMeta::decode(&bytes).is_err());
        }

        #[test]
        fn arbitrary_fields_under_a_right_checksum_are_no_panic(fields in any::<[u8; 60]>()) {
            let bytes = resealed(&META, &sample().encode(), |bytes| bytes[8..68].copy_from_slice(&fields));
            if let Ok(meta) = StoreMeta::decode(&bytes) {
                prop_assert_eq!(meta.check(), Ok(()));
            }
        }
    }
}
