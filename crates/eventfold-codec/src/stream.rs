//! Streams: their ids, their names, and what stands for either.

use uuid::Uuid;

use crate::limits::MAX_STREAM_NAME_LEN;
use crate::text::{Text, text_type};

/// The namespace of stream names: a named stream's id is the UUIDv5 of this and the name.
pub const STREAM_NAMESPACE: Uuid = Uuid::from_u128(0xe7f0_fe1d_5eed_5a1d_9b0c_0000_0000_0001);

/// The stream of events that belong to none.
pub const NO_STREAM: Uuid = Uuid::nil();

/// A stream's name: 1 to [`MAX_STREAM_NAME_LEN`] bytes of UTF-8 that are not the text of a UUID.
///
/// Names that begin with `$` are the system's: an append may not give them.
///
/// ```
/// use eventfold_codec::StreamName;
///
/// let name = StreamName::new("account-7")?;
/// assert_eq!(name.id(), StreamName::new("account-7")?.id());
/// # Ok::<(), eventfold_codec::InvalidStreamName>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamName(Text);

text_type!(StreamName);

impl StreamName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`InvalidStreamName`] where the length is out of bounds, or the text is a UUID's and so means that UUID.
    pub fn new(name: &str) -> Result<Self, InvalidStreamName> {
        check_name(name)?;
        Ok(Self(name.into()))
    }

    /// The id of the stream with this name.
    pub fn id(&self) -> Uuid {
        name_id(self.as_str())
    }

    /// Whether the name is the system's.
    pub fn is_reserved(&self) -> bool {
        self.starts_with('$')
    }
}

impl std::str::FromStr for StreamName {
    type Err = InvalidStreamName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

/// Why a text is not a stream's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidStreamName {
    /// It is empty or too long.
    #[error("a stream name has 1 to {max} bytes, this one has {len}")]
    Length {
        /// Its length in bytes.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
    /// It is the text of a UUID, which means that UUID.
    #[error("the text of a UUID is not a stream name: it means the stream {id}")]
    IsUuid {
        /// The UUID.
        id: Uuid,
    },
}

pub(crate) fn check_name(name: &str) -> Result<(), InvalidStreamName> {
    if name.is_empty() || name.len() > MAX_STREAM_NAME_LEN {
        return Err(InvalidStreamName::Length { len: name.len(), max: MAX_STREAM_NAME_LEN });
    }
    match parse_id(name) {
        Some(id) => Err(InvalidStreamName::IsUuid { id }),
        None => Ok(()),
    }
}

pub(crate) fn name_id(name: &str) -> Uuid {
    Uuid::new_v5(&STREAM_NAMESPACE, name.as_bytes())
}

/// The UUID whose hyphenated text this is, in either case.
fn parse_id(text: &str) -> Option<Uuid> {
    (text.len() == uuid::fmt::Hyphenated::LENGTH).then(|| Uuid::try_parse(text).ok())?
}

/// A stream, by its id or its name: what every call that needs a stream takes.
///
/// ```
/// use eventfold_codec::{StreamName, StreamRef};
/// use uuid::Uuid;
///
/// let by_name = StreamRef::from("account-7").resolve()?;
/// assert_eq!(by_name.id, StreamName::new("account-7")?.id());
///
/// let id = Uuid::from_u128(7);
/// assert_eq!(StreamRef::from(id).resolve()?.id, id);
/// assert_eq!(StreamRef::from(id.to_string()).resolve()?.id, id);
/// # Ok::<(), eventfold_codec::InvalidStreamName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRef(Repr);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Repr {
    Id(Uuid),
    Named(StreamName),
    Unchecked(String),
}

/// What a [`StreamRef`] stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedStream {
    /// The stream's id.
    pub id: Uuid,
    /// Its name, where it was given by name.
    pub name: Option<StreamName>,
}

impl StreamRef {
    /// The stream's id, and its name where that is how it was given.
    ///
    /// # Errors
    ///
    /// [`InvalidStreamName`] where a text is neither a UUID's nor a valid name.
    pub fn resolve(&self) -> Result<ResolvedStream, InvalidStreamName> {
        let name = match &self.0 {
            Repr::Id(id) => {
                return Ok(ResolvedStream { id: *id, name: None });
            }
            Repr::Named(name) => name.clone(),
            Repr::Unchecked(text) => match StreamName::new(text) {
                Err(InvalidStreamName::IsUuid { id }) => {
                    return Ok(ResolvedStream { id, name: None });
                }
                name => name?,
            },
        };
        Ok(ResolvedStream { id: name.id(), name: Some(name) })
    }
}

/// As it was given: a UUID's text, or a name.
impl std::fmt::Display for StreamRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Repr::Id(id) => id.fmt(f),
            Repr::Named(name) => name.fmt(f),
            Repr::Unchecked(text) => f.pad(text),
        }
    }
}

impl From<Uuid> for StreamRef {
    fn from(id: Uuid) -> Self {
        Self(Repr::Id(id))
    }
}

impl From<&Uuid> for StreamRef {
    fn from(id: &Uuid) -> Self {
        Self(Repr::Id(*id))
    }
}

impl From<&str> for StreamRef {
    fn from(text: &str) -> Self {
        Self(Repr::Unchecked(text.to_owned()))
    }
}

impl From<String> for StreamRef {
    fn from(text: String) -> Self {
        Self(Repr::Unchecked(text))
    }
}

impl From<&String> for StreamRef {
    fn from(text: &String) -> Self {
        Self(Repr::Unchecked(text.clone()))
    }
}

impl From<StreamName> for StreamRef {
    fn from(name: StreamName) -> Self {
        Self(Repr::Named(name))
    }
}

impl From<&StreamName> for StreamRef {
    fn from(name: &StreamName) -> Self {
        Self(Repr::Named(name.clone()))
    }
}

impl From<&StreamRef> for StreamRef {
    fn from(stream: &StreamRef) -> Self {
        stream.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_names_id_is_fixed_for_ever() {
        let expected = Uuid::parse_str("889eae69-b80c-53d8-bc1f-2e5ca9e4c291").unwrap();
        let id = StreamName::new("account-7").unwrap().id();
        assert_eq!(id.get_version_num(), 5);
        assert_eq!(id, expected);
    }

    #[test]
    fn a_name_keeps_its_limits() {
        for len in [1, MAX_STREAM_NAME_LEN - 1, MAX_STREAM_NAME_LEN] {
            assert!(StreamName::new(&"n".repeat(len)).is_ok(), "{len}");
        }
        for len in [0, MAX_STREAM_NAME_LEN + 1] {
            assert_eq!(
                StreamName::new(&"n".repeat(len)),
                Err(InvalidStreamName::Length { len, max: MAX_STREAM_NAME_LEN })
            );
        }
    }

    #[test]
    fn the_hyphenated_text_of_a_uuid_means_that_uuid_in_either_case() {
        let id = Uuid::from_u128(0xABCD_EF00);
        for text in [id.to_string(), id.to_string().to_uppercase()] {
            assert_eq!(StreamRef::from(&text).resolve(), Ok(ResolvedStream { id, name: None }));
            assert_eq!(StreamName::new(&text), Err(InvalidStreamName::IsUuid { id }));
        }
        for text in [id.simple().to_string(), id.braced().to_string(), id.urn().to_string()] {
            assert!(StreamName::new(&text).is_ok(), "{text} is a name");
        }
    }

    #[test]
    fn every_way_to_give_a_stream_names_the_same_one() {
        let name = StreamName::new("orders").unwrap();
        let resolved = ResolvedStream { id: name.id(), name: Some(name.clone()) };
        for stream in [
            StreamRef::from("orders"),
            StreamRef::from("orders".to_owned()),
            StreamRef::from(&"orders".to_owned()),
            StreamRef::from(&name),
            StreamRef::from(name.clone()),
        ] {
            assert_eq!(stream.resolve(), Ok(resolved.clone()));
            assert_eq!(stream.to_string(), "orders");
        }
        assert_eq!("orders".parse(), Ok(name.clone()));
        assert_eq!(StreamRef::from(Uuid::max()).to_string(), Uuid::max().to_string());
        assert!(!name.is_reserved());
        assert!(StreamName::new("$system").unwrap().is_reserved());
    }
}
