//! Fixed layouts: each table of `docs/FORMAT.md` stands once in the code, as a [`layout!`] beside its encoder.
//!
//! A layout chains its offsets, so that a field can't overlap another, and asserts its size when it is compiled.
//! `FIELDS` lists the table as data: a test holds it against the document.

/// `N` bytes at a fixed offset of a layout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<const N: usize> {
    pub(crate) offset: usize,
}

impl<const N: usize> Field<N> {
    pub(crate) const fn at(offset: usize) -> Self {
        Self { offset }
    }

    pub(crate) const fn end(self) -> usize {
        self.offset + N
    }

    /// The field's bytes. `bytes` must be at least as long as the layout; every caller has checked that, or holds an
    /// array of the layout's size.
    #[inline]
    pub(crate) fn get(self, bytes: &[u8]) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&bytes[self.offset..self.offset + N]);
        field
    }

    #[inline]
    pub(crate) fn set(self, bytes: &mut [u8], value: [u8; N]) {
        bytes[self.offset..self.offset + N].copy_from_slice(&value);
    }
}

macro_rules! integer_field {
    ($size:literal, $int:ty, $get:ident, $set:ident) => {
        impl Field<$size> {
            #[inline]
            pub(crate) fn $get(self, bytes: &[u8]) -> $int {
                <$int>::from_le_bytes(self.get(bytes))
            }

            #[inline]
            pub(crate) fn $set(self, bytes: &mut [u8], value: $int) {
                self.set(bytes, value.to_le_bytes());
            }
        }
    };
}

integer_field!(1, u8, get_u8, set_u8);
integer_field!(2, u16, get_u16, set_u16);
integer_field!(4, u32, get_u32, set_u32);
integer_field!(8, u64, get_u64, set_u64);

/// Declares a module of chained [`Field`] constants, its `SIZE`, and `FIELDS` for the document's test.
macro_rules! layout {
    ($(#[$meta:meta])* $name:ident, $len:literal bytes { $($field:ident: $size:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[allow(dead_code, reason = "reserved fields are named but never read")]
        pub(crate) mod $name {
            $crate::layout::layout!(@chain 0; $($field: $size,)+);
            pub(crate) const SIZE: usize = $len;
            pub(crate) const FIELDS: &[(&str, usize, usize)] =
                &[$((stringify!($field), $field.offset, $size)),+];
            const _: () = assert!(FIELDS[FIELDS.len() - 1].1 + FIELDS[FIELDS.len() - 1].2 == SIZE);
        }
    };
    (@chain $offset:expr;) => {};
    (@chain $offset:expr; $field:ident: $size:literal, $($rest:tt)*) => {
        pub(crate) const $field: $crate::layout::Field<$size> = $crate::layout::Field::at($offset);
        $crate::layout::layout!(@chain $field.end(); $($rest)*);
    };
}

pub(crate) use layout;
