//! Short strings: event types and tags.

use std::str::Utf8Error;

use bytes::Bytes;

/// UTF-8 in shared bytes: cheap to clone, and a slice of a larger buffer where it was decoded from one.
///
/// Invariant: the bytes are UTF-8. Every constructor takes a `str` or bytes that were checked.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text(Bytes);

impl Text {
    pub(crate) const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The slice of `source` that `text` is.
    pub(crate) fn slice_of(source: &Bytes, text: &str) -> Self {
        Self(source.slice_ref(text.as_bytes()))
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only UTF-8 gets in")
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Bytes> for Text {
    type Error = Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

/// Gives a type around [`Text`] what a string type is expected to have.
macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            pub(crate) fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                self.as_str()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        // As `str` does, since `Borrow<str>` promises it.
        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                *self == **other
            }
        }

        impl PartialEq<String> for $name {
            fn eq(&self, other: &String) -> bool {
                *self == **other
            }
        }

        impl PartialEq<$name> for str {
            fn eq(&self, other: &$name) -> bool {
                *other == *self
            }
        }

        impl PartialEq<$name> for &str {
            fn eq(&self, other: &$name) -> bool {
                *other == **self
            }
        }
    };
}

pub(crate) use text_type;

macro_rules! unchecked_text_type {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(Text);

        text_type!($name);

        impl $name {
            /// One that needs no copy.
            pub const fn from_static(text: &'static str) -> Self {
                Self(Text::from_static(text))
            }

            pub(crate) fn slice_of(source: &Bytes, text: &str) -> Self {
                Self(Text::slice_of(source, text))
            }
        }

        /// Without a copy.
        impl TryFrom<Bytes> for $name {
            type Error = Utf8Error;

            fn try_from(bytes: Bytes) -> Result<Self, Utf8Error> {
                Text::try_from(bytes).map(Self)
            }
        }

        /// Without a copy.
        impl From<$name> for Bytes {
            fn from(text: $name) -> Self {
                text.0.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<&String> for $name {
            fn from(text: &String) -> Self {
                Self(text.as_str().into())
            }
        }

        impl From<&$name> for $name {
            fn from(text: &$name) -> Self {
                text.clone()
            }
        }
    };
}

unchecked_text_type! {
    /// What kind of event an event is, such as `OrderPlaced`: 1 to [`MAX_EVENT_TYPE_LEN`](crate::MAX_EVENT_TYPE_LEN)
    /// bytes. The length is checked when the event is submitted.
    EventType
}

unchecked_text_type! {
    /// A short string that events are found by, such as `course:42`: 1 to [`MAX_TAG_LEN`](crate::MAX_TAG_LEN) bytes. The
    /// length is checked when the event is submitted.
    Tag
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn text_types_compare_and_look_up_like_strings() {
        let kind = EventType::from("Opened");
        assert_eq!(kind, "Opened");
        assert_eq!("Opened", kind);
        assert_eq!(kind, String::from("Opened"));
        assert_eq!(kind, EventType::from_static("Opened"));
        assert_eq!(format!("{kind:>8}|{kind:?}"), "  Opened|\"Opened\"");
        assert!(kind.starts_with("Open"));
        let map = BTreeMap::from([(kind, 1)]);
        assert_eq!(map.get("Opened"), Some(&1));
    }

    #[test]
    fn bytes_are_text_where_they_are_utf_8() {
        let source = Bytes::from("Opened".to_owned());
        let kind = EventType::try_from(source.clone()).unwrap();
        assert_eq!(kind, "Opened");
        assert_eq!(kind.as_bytes().as_ptr(), source.as_ptr());
        assert!(EventType::try_from(Bytes::from_static(&[b'O', 0xFF])).is_err());
    }

    #[test]
    fn a_slice_of_a_buffer_shares_it() {
        let source = Bytes::from("a long buffer".to_owned());
        let text = std::str::from_utf8(&source[2..6]).unwrap();
        let tag = Tag::slice_of(&source, text);
        assert_eq!(tag, "long");
        assert_eq!(tag.as_bytes().as_ptr(), source[2..].as_ptr());
    }
}
