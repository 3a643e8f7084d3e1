//! The small files of a store's directory, as bytes: section 9 of `docs/FORMAT.md`.
//!
//! Names and headers only; nothing here touches the disk. Every header starts and ends in the same way, so that any
//! version tells a file that is newer than itself from one that is damaged:
//!
//! 1. the magic, the format version and the required flags are its first 16 bytes, the store's id the next 16;
//! 2. its checksum is its last 4 bytes, of all the bytes before them;
//! 3. the version and the flags are looked at only once that checksum is right.

pub(crate) mod checkpoint;
pub(crate) mod meta;
pub(crate) mod naming;
pub(crate) mod side_file;

pub(crate) use naming::FileName;

use eventfold_codec::{ChecksumMismatch, FORMAT_VERSION, crc32c};
use uuid::Uuid;

/// `N` bytes at a fixed offset of a header.
#[derive(Clone, Copy, Debug)]
struct Field<const N: usize>(usize);

impl<const N: usize> Field<N> {
    const fn end(self) -> usize {
        self.0 + N
    }

    /// The field's bytes. `bytes` must be at least as long as the table, which every caller has checked.
    fn get(self, bytes: &[u8]) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&bytes[self.0..self.end()]);
        field
    }

    fn set(self, bytes: &mut [u8], value: [u8; N]) {
        bytes[self.0..self.end()].copy_from_slice(&value);
    }
}

impl Field<2> {
    fn get_u16(self, bytes: &[u8]) -> u16 {
        u16::from_le_bytes(self.get(bytes))
    }

    fn set_u16(self, bytes: &mut [u8], value: u16) {
        self.set(bytes, value.to_le_bytes());
    }
}

impl Field<4> {
    fn get_u32(self, bytes: &[u8]) -> u32 {
        u32::from_le_bytes(self.get(bytes))
    }

    fn set_u32(self, bytes: &mut [u8], value: u32) {
        self.set(bytes, value.to_le_bytes());
    }
}

impl Field<8> {
    fn get_u64(self, bytes: &[u8]) -> u64 {
        u64::from_le_bytes(self.get(bytes))
    }

    fn set_u64(self, bytes: &mut [u8], value: u64) {
        self.set(bytes, value.to_le_bytes());
    }
}

/// Declares a table of the document as a module of chained [`Field`]s and its `SIZE`, which the chain must add up to. Its
/// rows are also there as data, which a test holds against the document.
macro_rules! byte_table {
    ($(#[$meta:meta])* $name:ident: $size:literal bytes { $($field:ident: $len:literal),+ $(,)? }) => {
        $(#[$meta])*
        mod $name {
            use super::super::{Field, byte_table};

            byte_table!(@chain 0; $($field: $len,)+);
            pub(super) const SIZE: usize = $size;
            const _: () = assert!(0 $(+ $len)+ == SIZE);

            #[cfg(test)]
            pub(super) const ROWS: &[(usize, usize, &str)] = &[$(($field.0, $len, stringify!($field))),+];
        }
    };
    (@chain $offset:expr;) => {};
    (@chain $offset:expr; $field:ident: $len:literal, $($rest:tt)*) => {
        #[allow(dead_code, reason = "what is reserved, or sealed for every table alike, is named but not used by its name")]
        pub(super) const $field: Field<$len> = Field($offset);
        byte_table!(@chain $field.end(); $($rest)*);
    };
}
use byte_table;

const MAGIC: Field<8> = Field(0);
const VERSION: Field<4> = Field(MAGIC.end());
const REQUIRED_FLAGS: Field<4> = Field(VERSION.end());
const STORE_ID: Field<16> = Field(REQUIRED_FLAGS.end());

const CHECKSUM_LEN: usize = 4;

/// Why a file of the directory can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FileError {
    /// A newer version wrote it: it must not be touched.
    #[error("format version {found} is newer than {FORMAT_VERSION}, the newest this version reads")]
    Newer {
        /// The version it names.
        found: u32,
    },
    /// It needs features that only a newer version has: it must not be touched.
    #[error("it has the unknown required flags {bits:#010x}")]
    UnknownFlags {
        /// The unknown bits.
        bits: u32,
    },
    /// It is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// What is wrong with a file of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Damage {
    /// It has another length than it should.
    #[error("it has {found} bytes, expected {expected}")]
    Length {
        /// What it should have, or at the least.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// It does not start as a file of its kind does.
    #[error("it does not start as a file of its kind does")]
    NoMagic,
    /// A part of it has other bytes than were written.
    #[error("checksum of its {part}: {mismatch}")]
    Checksum {
        /// The part.
        part: &'static str,
        /// What was expected and found.
        mismatch: ChecksumMismatch,
    },
    /// A field has a value it can't have.
    #[error("field {field} can't be {value}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

/// What tells the header of one kind of file from those of the others.
struct HeaderKind {
    magic: [u8; 8],
    /// These files have no salt, or carry it themselves, so each kind sums its header under a constant.
    seed: u32,
}

impl HeaderKind {
    const fn new(name: [u8; 3], seed: u32) -> Self {
        Self { magic: [0xEF, b'E', b'V', b'F', name[0], name[1], name[2], 0x1A], seed }
    }

    /// Writes what every header starts with, and its checksum. All other fields must be there by now.
    fn seal(&self, header: &mut [u8], store_id: Uuid) {
        MAGIC.set(header, self.magic);
        VERSION.set_u32(header, FORMAT_VERSION);
        STORE_ID.set(header, store_id.into_bytes());
        let summed = header.len() - CHECKSUM_LEN;
        let checksum = self.sum(&header[..summed]);
        Field(summed).set_u32(header, checksum);
    }

    /// Checks what every header starts with, and its checksum. The id of the store is the result.
    fn open(&self, header: &[u8]) -> Result<Uuid, FileError> {
        if MAGIC.get(header) != self.magic {
            return Err(Damage::NoMagic.into());
        }
        let summed = header.len() - CHECKSUM_LEN;
        compare("header", Field(summed).get_u32(header), self.sum(&header[..summed]))?;
        match VERSION.get_u32(header) {
            FORMAT_VERSION => {}
            0 => return Err(Damage::Field { field: "format_version", value: 0 }.into()),
            found => return Err(FileError::Newer { found }),
        }
        match REQUIRED_FLAGS.get_u32(header) {
            0 => Ok(Uuid::from_bytes(STORE_ID.get(header))),
            bits => Err(FileError::UnknownFlags { bits }),
        }
    }

    fn sum(&self, bytes: &[u8]) -> u32 {
        crc32c(bytes) ^ self.seed
    }
}

fn compare(part: &'static str, expected: u32, found: u32) -> Result<(), Damage> {
    if expected == found {
        Ok(())
    } else {
        Err(Damage::Checksum { part, mismatch: ChecksumMismatch { expected, found } })
    }
}

/// The first `len` bytes of a file.
fn head(bytes: &[u8], len: usize) -> Result<&[u8], Damage> {
    bytes.get(..len).ok_or(Damage::Length { expected: len as u64, found: bytes.len() as u64 })
}

/// A rule that a field keeps, or the damage that it does not.
fn rule(keeps: bool, field: &'static str, value: u64) -> Result<(), Damage> {
    if keeps { Ok(()) } else { Err(Damage::Field { field, value }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../../docs/FORMAT.md");

    /// The bytes of a dump with notes: `#` starts a note, `00*12` is a byte twelve times.
    pub(super) fn hex(dump: &str) -> Vec<u8> {
        let tokens = dump.lines().flat_map(|line| line.split('#').next().unwrap().split_whitespace());
        tokens
            .flat_map(|token| {
                let (byte, count) = token.split_once('*').unwrap_or((token, "1"));
                vec![u8::from_str_radix(byte, 16).unwrap(); count.parse().unwrap()]
            })
            .collect()
    }

    /// The header changed, and its checksum made right again.
    pub(super) fn resealed(kind: &HeaderKind, header: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut header = header.to_vec();
        change(&mut header);
        let summed = header.len() - CHECKSUM_LEN;
        let checksum = kind.sum(&header[..summed]);
        Field(summed).set_u32(&mut header, checksum);
        header
    }

    /// Every header refuses newer ones by number, sound ones only, and calls what is no header damage.
    pub(super) fn keeps_the_common_rules(
        kind: &HeaderKind,
        header: &[u8],
        decode: impl Fn(&[u8]) -> Result<(), FileError>,
    ) {
        assert_eq!(decode(header), Ok(()));
        let newer = resealed(kind, header, |bytes| VERSION.set_u32(bytes, 7));
        assert_eq!(decode(&newer), Err(FileError::Newer { found: 7 }));
        let mut damaged = newer;
        damaged[20] ^= 1;
        assert!(matches!(decode(&damaged), Err(FileError::Damaged(Damage::Checksum { .. }))));
        let flagged = resealed(kind, header, |bytes| REQUIRED_FLAGS.set_u32(bytes, 6));
        assert_eq!(decode(&flagged), Err(FileError::UnknownFlags { bits: 6 }));
        let zero = resealed(kind, header, |bytes| VERSION.set_u32(bytes, 0));
        assert_eq!(decode(&zero), Err(Damage::Field { field: "format_version", value: 0 }.into()));
        let other = resealed(kind, header, |bytes| bytes[4] ^= 1);
        assert_eq!(decode(&other), Err(Damage::NoMagic.into()));
        for len in [0, 1, 15, header.len() - 1] {
            assert!(matches!(decode(&header[..len]), Err(FileError::Damaged(Damage::Length { .. }))), "{len}");
        }
    }

    fn table(name: &str) -> (usize, Vec<(usize, usize, String)>, Option<String>) {
        let (_, rest) = DOCUMENT.split_once(&format!("\nTable: {name}, ")).unwrap_or_else(|| panic!("no table {name}"));
        let size = rest.split(' ').next().unwrap().parse().unwrap();
        let rows: Vec<Vec<&str>> = rest
            .lines()
            .skip(4)
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        let magic = rows.iter().find(|cells| cells[3] == "`magic`").map(|cells| cells[4].to_owned());
        let field = |cells: &Vec<&str>| {
            (cells[1].parse().unwrap(), cells[2].parse().unwrap(), cells[3].trim_matches('`').to_uppercase())
        };
        (size, rows.iter().map(field).collect(), magic)
    }

    fn compare_with_document(name: &str, size: usize, rows: &[(usize, usize, &str)], kind: Option<&HeaderKind>) {
        let (written_size, written, magic) = table(name);
        let coded: Vec<_> = rows.iter().map(|&(offset, len, field)| (offset, len, field.to_owned())).collect();
        assert_eq!((written_size, written), (size, coded), "table {name}");
        let bytes = |kind: &HeaderKind| kind.magic.map(|byte| format!("{byte:02X}")).join(" ");
        assert_eq!(magic, kind.map(|kind| format!("`{}`", bytes(kind))), "magic of {name}");
        if let Some(kind) = kind {
            let row = format!("| {name} | `{:#06X}_{:04X}` |", kind.seed >> 16, kind.seed & 0xFFFF).replace("0X", "0x");
            assert!(DOCUMENT.contains(&row), "the document has no row {row}");
            for (field, offset) in [("MAGIC", 0), ("FORMAT_VERSION", 8), ("REQUIRED_FLAGS", 12), ("STORE_ID", 16)] {
                assert!(rows.iter().any(|row| (row.2, row.0) == (field, offset)), "{field} of {name}");
            }
            assert_eq!(rows.last().unwrap().1, CHECKSUM_LEN, "{name} ends with its checksum");
        }
    }

    #[test]
    fn every_table_is_the_documents_own() {
        let (size, rows, kind) = meta::layout();
        compare_with_document("store.meta", size, rows, Some(&kind));
        let (size, rows, kind) = checkpoint::layout();
        compare_with_document("checkpoint header", size, rows, Some(&kind));
        let (size, rows) = checkpoint::section_layout();
        compare_with_document("checkpoint section", size, rows, None);
        let (size, rows, kind) = side_file::layout();
        compare_with_document("side file header", size, rows, Some(&kind));
        let (size, rows) = side_file::extent_layout();
        compare_with_document("side file extent", size, rows, None);
    }
}
