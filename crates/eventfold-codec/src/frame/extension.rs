//! The extension area: typed, length-prefixed fields between a frame's header and its table.

use super::header::FrameKind;
use crate::error::{FrameError, Rule, Unsupported};
use crate::layout::layout;
use crate::limits::{FRAME_HEADER_LEN, MAX_EXTENSION_LEN, MAX_IDEMPOTENCY_WINDOW};

layout! {
    /// Table "extension field".
    extension_field, 4 bytes {
        FIELD_TYPE: 2,
        DATA_LEN: 2,
    }
}

layout! {
    /// Table "link field".
    link_field, 20 bytes {
        PREVIOUS_SALT: 8,
        PREVIOUS_END: 8,
        PREVIOUS_CHECKSUM: 4,
    }
}

layout! {
    /// Table "successor field".
    successor_field, 8 bytes {
        SALT: 8,
    }
}

layout! {
    /// Table "configuration field".
    configuration_field, 4 bytes {
        IDEMPOTENCY_WINDOW: 4,
    }
}

/// Bit 15 of a field's type: a reader that does not know the field must refuse the frame.
pub(crate) const FIELD_REQUIRED: u16 = 0x8000;
pub(crate) const FIELD_LINK: u16 = 0x8001;
pub(crate) const FIELD_CONFIGURATION: u16 = 0x8002;
pub(crate) const FIELD_SUCCESSOR: u16 = 0x8003;

/// Bytes of a prepared frame.
pub(crate) const PREPARED_FRAME_LEN: usize =
    FRAME_HEADER_LEN + (extension_field::SIZE + successor_field::SIZE).next_multiple_of(8);

/// What a link frame says of the segment before its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// That segment's salt.
    pub salt: u64,
    /// Where it ends.
    pub end: u64,
    /// The checksum of its last frame's header.
    pub checksum: u32,
}

impl Link {
    pub(crate) fn encode(&self) -> [u8; link_field::SIZE] {
        let mut data = [0; link_field::SIZE];
        link_field::PREVIOUS_SALT.set_u64(&mut data, self.salt);
        link_field::PREVIOUS_END.set_u64(&mut data, self.end);
        link_field::PREVIOUS_CHECKSUM.set_u32(&mut data, self.checksum);
        data
    }

    fn decode(data: &[u8]) -> Option<Self> {
        (data.len() == link_field::SIZE).then(|| Self {
            salt: link_field::PREVIOUS_SALT.get_u64(data),
            end: link_field::PREVIOUS_END.get_u64(data),
            checksum: link_field::PREVIOUS_CHECKSUM.get_u32(data),
        })
    }
}

/// A setting that every replay has to agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Appends in the duplicate window, at most [`MAX_IDEMPOTENCY_WINDOW`].
    pub idempotency_window: u32,
}

impl Configuration {
    pub(crate) fn encode(self) -> [u8; configuration_field::SIZE] {
        assert!(self.idempotency_window <= MAX_IDEMPOTENCY_WINDOW, "the duplicate window has a limit");
        let mut data = [0; configuration_field::SIZE];
        configuration_field::IDEMPOTENCY_WINDOW.set_u32(&mut data, self.idempotency_window);
        data
    }

    fn decode(data: &[u8]) -> Option<Self> {
        if data.len() != configuration_field::SIZE {
            return None;
        }
        let idempotency_window = configuration_field::IDEMPOTENCY_WINDOW.get_u32(data);
        (idempotency_window <= MAX_IDEMPOTENCY_WINDOW).then_some(Self { idempotency_window })
    }
}

/// The next segment, once its file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreparedSegment {
    /// Its salt.
    pub salt: u64,
}

impl PreparedSegment {
    pub(crate) fn encode(self) -> [u8; successor_field::SIZE] {
        let mut data = [0; successor_field::SIZE];
        successor_field::SALT.set_u64(&mut data, self.salt);
        data
    }

    fn decode(data: &[u8]) -> Option<Self> {
        (data.len() == successor_field::SIZE).then(|| Self { salt: successor_field::SALT.get_u64(data) })
    }
}

/// The fields of one frame's extension area that this version knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownFields {
    /// What a link frame names.
    pub link: Option<Link>,
    /// What a configuration frame sets, and what a link frame finds set.
    pub configuration: Option<Configuration>,
    /// What a prepared frame names.
    pub prepared: Option<PreparedSegment>,
}

impl KnownFields {
    /// Reads the extension area of a frame of this kind. `required` says whether the frame's flags announce a required
    /// field.
    pub(crate) fn decode(area: &[u8], kind: FrameKind, required: bool) -> Result<Self, FrameError> {
        let malformed = FrameError::Malformed(Rule::Extension);
        let mut known = Self::default();
        let mut found_required = false;
        for field in fields(area) {
            let (field_type, data) = field.ok_or(malformed)?;
            found_required |= field_type & FIELD_REQUIRED != 0;
            match field_type {
                FIELD_LINK => known.link = Some(Link::decode(data).ok_or(malformed)?),
                FIELD_SUCCESSOR => known.prepared = Some(PreparedSegment::decode(data).ok_or(malformed)?),
                FIELD_CONFIGURATION => known.configuration = Some(Configuration::decode(data).ok_or(malformed)?),
                _ if field_type & FIELD_REQUIRED != 0 => {
                    return Err(Unsupported::ExtensionField { field_type }.into());
                }
                _ => {}
            }
        }
        if found_required != required {
            return Err(malformed);
        }
        if known.link.is_some() != (kind == FrameKind::Link)
            || known.configuration.is_some() != matches!(kind, FrameKind::Link | FrameKind::Configuration)
            || known.prepared.is_some() != (kind == FrameKind::Prepared)
        {
            return Err(FrameError::Malformed(Rule::Kind));
        }
        Ok(known)
    }
}

/// The fields of an area, in order; `None` where the rest of the area is not a run of ascending fields.
pub(crate) fn fields(area: &[u8]) -> impl Iterator<Item = Option<(u16, &[u8])>> {
    let mut rest = area;
    let mut last_type = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = split_field(rest).filter(|(field_type, _, _)| *field_type > last_type);
        let Some((field_type, data, tail)) = field else {
            rest = &[];
            return Some(None);
        };
        (last_type, rest) = (field_type, tail);
        Some(Some((field_type, data)))
    })
}

fn split_field(area: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let head = area.first_chunk::<{ extension_field::SIZE }>()?;
    let data_end = extension_field::SIZE + usize::from(extension_field::DATA_LEN.get_u16(head));
    let data = area.get(extension_field::SIZE..data_end)?;
    let padded_end = data_end.next_multiple_of(8);
    let padding = area.get(data_end..padded_end)?;
    padding
        .iter()
        .all(|byte| *byte == 0)
        .then(|| (extension_field::FIELD_TYPE.get_u16(head), data, &area[padded_end..]))
}

/// An extension area in the making.
///
/// ```
/// use eventfold_codec::ExtensionArea;
///
/// let mut area = ExtensionArea::default();
/// area.push(0x0123, b"trace")?;
/// assert_eq!(area.len(), 16);
/// # Ok::<(), eventfold_codec::ExtensionError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionArea {
    bytes: Vec<u8>,
    last_type: u16,
}

/// Why a field does not fit an extension area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// Its type is a required one's: readers would refuse the frame.
    #[error("extension field {field_type:#06x} is a required one, which readers of this version refuse")]
    Required {
        /// The field's type.
        field_type: u16,
    },
    /// Its type does not come after the one before it.
    #[error("extension field {field_type:#06x} does not come after {last_type:#06x}")]
    Order {
        /// The field's type.
        field_type: u16,
        /// That of the last field.
        last_type: u16,
    },
    /// The area would be too long.
    #[error("extension area of {len} bytes, it may have {max}")]
    TooLong {
        /// How long it would be.
        len: usize,
        /// The most allowed.
        max: usize,
    },
}

impl ExtensionArea {
    /// Adds an optional field. Types ascend.
    ///
    /// # Errors
    ///
    /// [`ExtensionError`] where the type is a required one's, which no version but this one's own frames may have, does
    /// not ascend, or the area would be too long.
    pub fn push(&mut self, field_type: u16, data: &[u8]) -> Result<(), ExtensionError> {
        if field_type & FIELD_REQUIRED != 0 {
            return Err(ExtensionError::Required { field_type });
        }
        self.push_any(field_type, data)
    }

    pub(crate) fn push_any(&mut self, field_type: u16, data: &[u8]) -> Result<(), ExtensionError> {
        if field_type <= self.last_type {
            return Err(ExtensionError::Order { field_type, last_type: self.last_type });
        }
        let len = (self.bytes.len() + extension_field::SIZE + data.len()).next_multiple_of(8);
        let too_long = ExtensionError::TooLong { len, max: MAX_EXTENSION_LEN };
        let data_len = u16::try_from(data.len()).map_err(|_| too_long)?;
        if len > MAX_EXTENSION_LEN {
            return Err(too_long);
        }
        self.bytes.extend_from_slice(&field_type.to_le_bytes());
        self.bytes.extend_from_slice(&data_len.to_le_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(len, 0);
        self.last_type = field_type;
        Ok(())
    }

    /// Bytes of the area: a multiple of 8.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the area has no fields.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether it has a required field. Types ascend, so the last field tells.
    pub(crate) fn has_required(&self) -> bool {
        self.last_type & FIELD_REQUIRED != 0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(fields: &[(u16, &[u8])]) -> ExtensionArea {
        let mut area = ExtensionArea::default();
        for (field_type, data) in fields {
            area.push_any(*field_type, data).unwrap();
        }
        area
    }

    #[test]
    fn unknown_optional_fields_are_skipped() {
        let area = area(&[(1, b""), (2, b"12345678"), (0x7FFF, b"x")]);
        assert!(!area.is_empty() && ExtensionArea::default().is_empty());
        assert_eq!(KnownFields::decode(area.as_bytes(), FrameKind::Append, false), Ok(KnownFields::default()));
    }

    #[test]
    fn unknown_required_fields_are_refused_by_number() {
        let area = area(&[(1, b"skipped"), (0x8123, b"x")]);
        assert_eq!(
            KnownFields::decode(area.as_bytes(), FrameKind::Append, true),
            Err(Unsupported::ExtensionField { field_type: 0x8123 }.into())
        );
    }

    #[test]
    fn known_fields_are_read_where_they_belong_and_refused_elsewhere() {
        let link = Link { salt: 1, end: 2, checksum: 3 };
        let window = Configuration { idempotency_window: MAX_IDEMPOTENCY_WINDOW };
        let linked = area(&[(7, b"trace"), (FIELD_LINK, &link.encode()), (FIELD_CONFIGURATION, &window.encode())]);
        assert_eq!(KnownFields::decode(linked.as_bytes(), FrameKind::Link, true).unwrap().link, Some(link));
        let misplaced = Err(FrameError::Malformed(Rule::Kind));
        assert_eq!(KnownFields::decode(linked.as_bytes(), FrameKind::Append, true), misplaced);
        assert_eq!(KnownFields::decode(&[], FrameKind::Link, false), misplaced);

        let bare = area(&[(FIELD_LINK, &link.encode())]);
        assert_eq!(KnownFields::decode(bare.as_bytes(), FrameKind::Link, true), misplaced, "settings are missing");
        let configured = area(&[(FIELD_CONFIGURATION, &window.encode())]);
        let known = KnownFields::decode(configured.as_bytes(), FrameKind::Configuration, true).unwrap();
        assert_eq!(known.configuration, Some(window));
        let too_wide = area(&[(FIELD_CONFIGURATION, &(MAX_IDEMPOTENCY_WINDOW + 1).to_le_bytes())]);
        assert!(KnownFields::decode(too_wide.as_bytes(), FrameKind::Configuration, true).is_err());
    }

    #[test]
    fn flags_that_hide_or_invent_a_required_field_are_refused() {
        let link = area(&[(FIELD_SUCCESSOR, &PreparedSegment { salt: 3 }.encode())]);
        let malformed = Err(FrameError::Malformed(Rule::Extension));
        assert_eq!(KnownFields::decode(link.as_bytes(), FrameKind::Prepared, false), malformed);
        assert_eq!(KnownFields::decode(&[], FrameKind::Append, true), malformed);
    }

    #[test]
    fn an_area_that_is_not_a_run_of_ascending_fields_is_refused() {
        for bytes in [
            [0, 0, 0, 0, 0, 0, 0, 0],       // type 0
            [1, 0, 5, 0, 0, 0, 0, 0],       // reaches past the area
            [1, 0, 3, 0, 9, 9, 9, 9],       // padding
            [1, 0, 0xFF, 0xFF, 0, 0, 0, 0], // far past the area
        ] {
            let decoded = KnownFields::decode(&bytes, FrameKind::Append, false);
            assert_eq!(decoded, Err(FrameError::Malformed(Rule::Extension)), "{bytes:?}");
        }
        let twice = [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        assert!(KnownFields::decode(&twice, FrameKind::Append, false).is_err());
        assert!(KnownFields::decode(&twice[..12], FrameKind::Append, false).is_err());
    }

    #[test]
    fn an_area_keeps_its_limit() {
        let fits = MAX_EXTENSION_LEN - extension_field::SIZE;
        for (len, fits) in [(fits - 1, true), (fits, true), (fits + 1, false), (70_000, false)] {
            let mut area = ExtensionArea::default();
            assert_eq!(area.push(1, &vec![1; len]).is_ok(), fits, "{len}");
        }
        let mut area = area(&[(5, b"")]);
        assert_eq!(area.push(5, b""), Err(ExtensionError::Order { field_type: 5, last_type: 5 }));
        assert_eq!(area.push(FIELD_LINK, b""), Err(ExtensionError::Required { field_type: FIELD_LINK }));
        assert_eq!(area.push(0, b""), Err(ExtensionError::Order { field_type: 0, last_type: 5 }));
    }
}
