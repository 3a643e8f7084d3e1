//! Varints: seven bits a byte, the lowest first.

/// A `u64` takes no more bytes.
const MAX_LEN: usize = 10;

/// Appends a number.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// How many bytes a number takes.
#[inline]
pub(crate) fn len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).expect("at most 10")
}

/// Takes a number off the front of `bytes`, or `None` where no number of 64 bits stands there.
#[inline]
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(u64::from(first));
    }
    take_long(bytes)
}

/// Takes a number that must fit 32 bits.
#[inline]
pub(crate) fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes)?.try_into().ok()
}

fn take_long(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(MAX_LEN).enumerate() {
        let bits = u64::from(byte & 0x7F);
        let shifted = bits << (7 * index);
        if shifted >> (7 * index) != bits {
            return None;
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_number_of_64_bits_is_refused() {
        for bytes in [&[][..], &[0x80], &[0xFF; 9], &[0xFF; 10], &[0x80; 11]] {
            assert_eq!(take(&mut &*bytes), None, "{bytes:?}");
        }
        let mut too_long = [0xFF; 10];
        too_long[9] = 2;
        assert_eq!(take(&mut &too_long[..]), None);
        too_long[9] = 1;
        assert_eq!(take(&mut &too_long[..]), Some(u64::MAX));
        assert_eq!(take_u32(&mut &too_long[..]), None);
    }

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, shift in 0u32..64, tail: u8) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(bytes.len(), len(value));
            bytes.push(tail);
            let mut rest = &bytes[..];
            prop_assert_eq!(take(&mut rest), Some(value));
            prop_assert_eq!(rest, &[tail]);
        }
    }
}
