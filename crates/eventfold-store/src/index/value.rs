//! What the table says of a term: its value, encoded and decoded.

use eventfold_codec::StreamName;
use uuid::Uuid;

use super::NamedStream;
use super::node::Malformed;
use super::varint;

/// The longest postings that stand in a term's own value. Longer ones would thin out the leaves for all lookups.
pub(crate) const INLINE_POSTINGS_LEN: usize = 48;

const FORM_CHUNKED: u8 = 254;
const FORM_DENSE: u8 = 255;

const CUT_OFF: Malformed = "a term's value is cut off";

/// Where a term's positions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredPostings<'a> {
    /// Nowhere: the nil stream's are not kept.
    None,
    /// Here, 1 to [`INLINE_POSTINGS_LEN`] bytes.
    Inline(&'a [u8]),
    /// In the section of postings.
    List(ListRange),
}

/// A list in the section of postings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListRange {
    pub(crate) form: ListForm,
    pub(crate) start: u64,
    pub(crate) len: u64,
}

/// How a list says its positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListForm {
    /// By what lies between them.
    Chunked,
    /// By the bits of a bitmap.
    Dense,
}

impl<'a> StoredPostings<'a> {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::None => out.push(0),
            Self::Inline(bytes) => {
                out.push(u8::try_from(bytes.len()).expect("at most 48 bytes stand in a value"));
                out.extend_from_slice(bytes);
            }
            Self::List(ListRange { form, start, len }) => {
                out.push(if form == ListForm::Dense { FORM_DENSE } else { FORM_CHUNKED });
                varint::put(out, start);
                varint::put(out, len);
            }
        }
    }

    pub(crate) fn decode(bytes: &mut &'a [u8]) -> Result<Self, Malformed> {
        let (&form, rest) = bytes.split_first().ok_or(CUT_OFF)?;
        *bytes = rest;
        let form = match form {
            0 => return Ok(Self::None),
            FORM_CHUNKED => ListForm::Chunked,
            FORM_DENSE => ListForm::Dense,
            len if usize::from(len) <= INLINE_POSTINGS_LEN => {
                let (inline, rest) = bytes.split_at_checked(usize::from(len)).ok_or(CUT_OFF)?;
                *bytes = rest;
                return Ok(Self::Inline(inline));
            }
            _ => return Err("postings have an unknown form"),
        };
        let start = varint::take(bytes).ok_or(CUT_OFF)?;
        let len = varint::take(bytes).ok_or(CUT_OFF)?;
        Ok(Self::List(ListRange { form, start, len }))
    }
}

/// The value of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamValue<'a> {
    /// Version of its first event here.
    pub(crate) base: u64,
    /// How many of its events are here: at least one.
    pub(crate) count: u32,
    /// The bytes of its name, where a frame here holds it.
    pub(crate) name: Option<&'a [u8]>,
    pub(crate) postings: StoredPostings<'a>,
    /// Where the frames of its events stand, encoded; empty where its postings stand elsewhere.
    pub(crate) frames: &'a [u8],
}

impl<'a> StreamValue<'a> {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        varint::put(out, self.base);
        varint::put(out, self.count.into());
        let name = self.name.unwrap_or_default();
        varint::put(out, name.len() as u64);
        out.extend_from_slice(name);
        self.postings.encode(out);
        out.push(u8::try_from(self.frames.len()).expect("at most 48 frames of 5 bytes"));
        out.extend_from_slice(self.frames);
    }

    pub(crate) fn decode(mut bytes: &'a [u8]) -> Result<Self, Malformed> {
        let base = varint::take(&mut bytes).ok_or(CUT_OFF)?;
        let count = decode_count(&mut bytes)?;
        if base.checked_add(count.into()).is_none() {
            return Err("a stream's versions overflow");
        }
        let name_len = varint::take(&mut bytes).and_then(|len| usize::try_from(len).ok()).ok_or(CUT_OFF)?;
        let (name, mut bytes) = bytes.split_at_checked(name_len).ok_or(CUT_OFF)?;
        let name = Some(name).filter(|name| !name.is_empty());
        let postings = StoredPostings::decode(&mut bytes)?;
        let (len, rest) = bytes.split_first().ok_or(CUT_OFF)?;
        let frames = rest.get(..usize::from(*len)).ok_or(CUT_OFF)?;
        Ok(Self { base, count, name, postings, frames })
    }
}

/// The value of an event type or a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TermValue<'a> {
    /// How many events have it: at least one.
    pub(crate) count: u32,
    pub(crate) postings: StoredPostings<'a>,
}

impl<'a> TermValue<'a> {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        varint::put(out, self.count.into());
        self.postings.encode(out);
    }

    pub(crate) fn decode(mut bytes: &'a [u8]) -> Result<Self, Malformed> {
        Ok(Self { count: decode_count(&mut bytes)?, postings: StoredPostings::decode(&mut bytes)? })
    }
}

/// The value of a name: in a segment's index with the position from which the stream has it, in a directory without.
pub(crate) fn encode_named(named: NamedStream, out: &mut Vec<u8>) {
    out.extend_from_slice(named.id.as_bytes());
    varint::put(out, u64::from(named.since));
}

/// The value of a name.
pub(crate) fn decode_named(bytes: &[u8]) -> Result<NamedStream, Malformed> {
    let (id, mut since) = bytes.split_first_chunk().ok_or(CUT_OFF)?;
    let since = if since.is_empty() { 0 } else { varint::take_u32(&mut since).ok_or(CUT_OFF)? };
    Ok(NamedStream { id: Uuid::from_bytes(*id), since })
}

/// A stream's name, from untrusted bytes.
pub(crate) fn decode_name(name: &[u8]) -> Result<StreamName, Malformed> {
    let name = std::str::from_utf8(name).ok().and_then(|name| StreamName::new(name).ok());
    name.ok_or("a stream's name is not one")
}

fn decode_count(bytes: &mut &[u8]) -> Result<u32, Malformed> {
    varint::take_u32(bytes).filter(|count| *count > 0).ok_or("a term's count is not one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn postings() -> impl Strategy<Value = (u8, Vec<u8>, u64, u64)> {
        (0..4u8, prop::collection::vec(any::<u8>(), 1..=INLINE_POSTINGS_LEN), any::<u64>(), any::<u64>())
    }

    fn stored((which, inline, start, len): &(u8, Vec<u8>, u64, u64)) -> StoredPostings<'_> {
        let (start, len) = (*start, *len);
        match which {
            0 => StoredPostings::None,
            1 => StoredPostings::Inline(inline),
            2 => StoredPostings::List(ListRange { form: ListForm::Chunked, start, len }),
            _ => StoredPostings::List(ListRange { form: ListForm::Dense, start, len }),
        }
    }

    proptest! {
        #[test]
        fn values_come_back_whatever_follows_them(
            base in 0..u64::MAX - u64::from(u32::MAX), count in 1..u32::MAX, name in "[a-z]{0,20}", postings in postings(),
            frames in prop::collection::vec(any::<u8>(), 0..=240),
            tail in prop::collection::vec(any::<u8>(), 0..5),
        ) {
            let name = Some(name.as_bytes()).filter(|name| !name.is_empty());
            let stream = StreamValue { base, count, name, postings: stored(&postings), frames: &frames };
            let mut bytes = Vec::new();
            stream.encode(&mut bytes);
            let len = bytes.len();
            bytes.extend_from_slice(&tail);
            prop_assert_eq!(StreamValue::decode(&bytes), Ok(stream));
            for cut in 0..len {
                prop_assert!(StreamValue::decode(&bytes[..cut]).is_err());
            }

            let term = TermValue { count, postings: stored(&postings) };
            let mut bytes = Vec::new();
            term.encode(&mut bytes);
            bytes.extend_from_slice(&tail);
            prop_assert_eq!(TermValue::decode(&bytes), Ok(term));
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (StreamValue::decode(&bytes), TermValue::decode(&bytes), decode_named(&bytes));
        }
    }
}
