//! Which names a file may have.

use std::io;

use crate::error::{IoError, IoErrorKind, Operation};

/// The longest name: what every file system in use allows.
pub const MAX_NAME_LEN: usize = 255;

/// Checks that a name is one component that means the same on every platform: 1 to [`MAX_NAME_LEN`] of the characters
/// `A-Z a-z 0-9 . _ -`, and the first of them none but a letter, a digit or `_`.
///
/// Names come from the store and not from users, so the rule can be strict: nothing here leads out of the directory, or
/// into a device that a platform has under a name.
///
/// ```
/// use eventfold_io::check_name;
///
/// assert!(check_name("00000003.segment").is_ok());
/// assert!(check_name("../LOCK").is_err());
/// ```
///
/// # Errors
///
/// An [`std::io::Error`] of the kind `InvalidInput`.
pub fn check_name(name: &str) -> Result<(), io::Error> {
    let bytes = name.as_bytes();
    let starts_well = bytes.first().is_some_and(|first| first.is_ascii_alphanumeric() || *first == b'_');
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if starts_well && bytes.len() <= MAX_NAME_LEN && bytes.iter().all(allowed) {
        Ok(())
    } else {
        let rule = format!(
            "{name:?} is not a valid name: 1 to {MAX_NAME_LEN} letters, digits, '.', '_' and '-', the first no '.' or '-'"
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, rule))
    }
}

/// The same, as the error of an operation on that name.
pub(crate) fn checked(operation: Operation, name: &str) -> Result<(), IoError> {
    check_name(name)
        .map_err(|error| IoError::new(operation, error).with_name(name).with_kind(IoErrorKind::InvalidInput))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_plain_components_are_names() {
        for good in ["LOCK", "store.meta", "00000001.segment", "_x", "a-b_c.d", &"n".repeat(MAX_NAME_LEN)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "n".repeat(MAX_NAME_LEN + 1);
        for bad in
            ["", ".", "..", ".hidden", "-rf", "a/b", "a\\b", "/", "a b", "a\0", "a:b", "\u{e9}", "*", long.as_str()]
        {
            assert_eq!(check_name(bad).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bad}");
        }
    }
}
