use std::fmt;

/// A part of a message that can't be what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    field: String,
    what: &'static str,
}

impl Malformed {
    /// This field is wrong, since it is `what`.
    pub fn new(field: impl Into<String>, what: &'static str) -> Self {
        Self { field: field.into(), what }
    }

    /// This field is missing.
    pub fn missing(field: &'static str) -> Self {
        Self::new(field, "is missing")
    }

    /// As a part of this field.
    #[must_use]
    pub fn within(mut self, field: impl fmt::Display) -> Self {
        self.field = if self.field.is_empty() { field.to_string() } else { format!("{field}.{}", self.field) };
        self
    }

    /// Which part, as a path of the message's fields: `writes[0].events[2].id`.
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.what)
    }
}

impl std::error::Error for Malformed {}

/// What goes wrong in an element of a list.
pub(super) fn in_element(field: &'static str, index: usize) -> impl FnOnce(Malformed) -> Malformed {
    move |malformed| malformed.within(format_args!("{field}[{index}]"))
}
