//! This server's own tokens, and the clients that it knows by their certificates.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use eventfold_db::{MAX_QUERY_ITEMS, MAX_STREAM_NAME_LEN};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use super::Rights;
use crate::access::Grant;
use crate::files::{FileError, Reloaded};

/// The file of tokens, as TOML.
///
/// ```
/// use eventfold_server::{Grant, Role, TokenEntry, TokenFile};
///
/// let grants = vec![Grant { role: Role::Read, prefix: "orders-".to_owned() }];
/// # let random = [7; 32];
/// let (token, entry) = TokenEntry::new("billing", random, grants, None);
/// assert!(token.starts_with("billing."));
///
/// let file = TokenFile { tokens: vec![entry], clients: Vec::new() };
/// assert_eq!(TokenFile::parse(&file.to_text())?, file);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenFile {
    /// Tokens, each with a name of its own.
    #[serde(rename = "token", skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenEntry>,
    /// Clients that show a certificate.
    #[serde(rename = "client", skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<ClientEntry>,
}

/// A token: not itself, but how to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEntry {
    /// What stands before the dot: 1 to 64 letters, digits, `-` and `_` of ASCII.
    pub name: String,
    /// The hash of all of it.
    pub hash: TokenHash,
    /// From when on it is taken no more, in Unix seconds. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// What it gives a right to.
    pub grants: Vec<Grant>,
}

/// A client that shows a certificate for a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientEntry {
    /// A DNS name that the certificate is for, as one of its alternative names.
    pub dns: String,
    /// What it gives a right to.
    pub grants: Vec<Grant>,
}

/// The BLAKE3 hash of a token. Two are compared in constant time.
///
/// A token has 256 random bits: nobody finds one by trying, so hashing it slowly would protect nothing and cost every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash(blake3::Hash);

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &str) -> Self {
        Self(blake3::hash(token.as_bytes()))
    }
}

/// As it stands in the file.
impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HASH_KIND}{}", self.0.to_hex())
    }
}

impl FromStr for TokenHash {
    type Err = InvalidTokens;

    fn from_str(text: &str) -> Result<Self, InvalidTokens> {
        let hash = text.strip_prefix(HASH_KIND).and_then(|hex| blake3::Hash::from_hex(hex).ok());
        hash.map(Self).ok_or(InvalidTokens::Hash)
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What stands before a hash, should there ever be others.
const HASH_KIND: &str = "blake3:";

/// What is wrong with a file of tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTokens {
    /// It is not what such a file has to be.
    #[error("{0}")]
    NotToml(toml::de::Error),
    /// A hash is none.
    #[error("a hash has to be `{HASH_KIND}` and 64 hexadecimal digits")]
    Hash,
    /// A name is empty, too long, or has other characters.
    #[error("the name {name:?} of a token has to be 1 to {MAX_NAME_LEN} letters, digits, - and _")]
    Name {
        /// The name.
        name: String,
    },
    /// Two have the same name.
    #[error("{name} is there twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A client's name is none.
    #[error("the client {dns:?} is no DNS name")]
    Dns {
        /// As it was given.
        dns: String,
    },
    /// A prefix is longer than any name.
    #[error("{name}: the prefix {prefix:?} has more than {MAX_STREAM_NAME_LEN} bytes")]
    Prefix {
        /// Whose.
        name: String,
        /// The prefix.
        prefix: String,
    },
    /// There are too many grants.
    #[error("{name}: {count} grants are more than {MAX_QUERY_ITEMS}")]
    TooManyGrants {
        /// Whose.
        name: String,
        /// How many.
        count: usize,
    },
}

const MAX_NAME_LEN: usize = 64;

impl TokenEntry {
    /// A new token and what to know it by. The 32 bytes have to be random, and nobody's but the token's.
    pub fn new(name: impl Into<String>, random: [u8; 32], grants: Vec<Grant>, expires: Option<u64>) -> (String, Self) {
        let name = name.into();
        let token = format!("{name}.{}", BASE64_URL_SAFE_NO_PAD.encode(random));
        let hash = TokenHash::of(&token);
        (token, Self { name, hash, expires, grants })
    }
}

impl TokenFile {
    /// What stands in a file.
    ///
    /// # Errors
    ///
    /// [`InvalidTokens`], for the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidTokens> {
        let file: Self = toml::from_str(text).map_err(InvalidTokens::NotToml)?;
        file.check()?;
        Ok(file)
    }

    /// Checks what no type says.
    ///
    /// # Errors
    ///
    /// [`InvalidTokens`], for the first thing that is wrong.
    pub fn check(&self) -> Result<(), InvalidTokens> {
        let mut names = BTreeSet::new();
        for TokenEntry { name, grants, .. } in &self.tokens {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if name.is_empty() || name.len() > MAX_NAME_LEN || !name.bytes().all(is_plain) {
                return Err(InvalidTokens::Name { name: name.clone() });
            }
            if !names.insert(name) {
                return Err(InvalidTokens::Twice { name: name.clone() });
            }
            check_grants(name, grants)?;
        }
        let mut names = BTreeSet::new();
        for ClientEntry { dns, grants } in &self.clients {
            if !matches!(ServerName::try_from(dns.as_str()), Ok(ServerName::DnsName(_))) {
                return Err(InvalidTokens::Dns { dns: dns.clone() });
            }
            if !names.insert(dns.to_ascii_lowercase()) {
                return Err(InvalidTokens::Twice { name: dns.clone() });
            }
            check_grants(dns, grants)?;
        }
        Ok(())
    }

    /// As a file.
    ///
    /// # Panics
    ///
    /// Never: all that it holds has a form in TOML.
    pub fn to_text(&self) -> String {
        toml::to_string(self).expect("names, numbers and lists have a form in TOML")
    }
}

/// Checks the grants of somebody.
pub(super) fn check_grants(name: &str, grants: &[Grant]) -> Result<(), InvalidTokens> {
    // Each can become an item of a query.
    if grants.len() > MAX_QUERY_ITEMS {
        return Err(InvalidTokens::TooManyGrants { name: name.to_owned(), count: grants.len() });
    }
    match grants.iter().find(|grant| grant.prefix.len() > MAX_STREAM_NAME_LEN) {
        Some(Grant { prefix, .. }) => Err(InvalidTokens::Prefix { name: name.to_owned(), prefix: prefix.clone() }),
        None => Ok(()),
    }
}

/// The tokens and clients of a file, to be found.
#[derive(Debug)]
pub(super) struct Tokens {
    tokens: BTreeMap<String, (TokenHash, Rights)>,
    clients: Vec<(ServerName<'static>, Vec<Grant>)>,
}

impl Tokens {
    pub(super) fn load(path: &Path) -> Result<Reloaded<Self>, FileError> {
        let owned = path.to_owned();
        Reloaded::load(vec![path.to_owned()], move |contents| {
            let text = str::from_utf8(&contents[0]).map_err(|error| FileError::new(&owned, &error))?;
            Ok(Self::of(TokenFile::parse(text).map_err(|error| FileError::new(&owned, &error))?))
        })
    }

    pub(super) fn of(file: TokenFile) -> Self {
        let token = |TokenEntry { name, hash, expires, grants }| {
            (name, (hash, Rights { grants: grants.into(), until: expires }))
        };
        let client = |ClientEntry { dns, grants }| Some((ServerName::try_from(dns).ok()?, grants));
        Self {
            tokens: file.tokens.into_iter().map(token).collect(),
            clients: file.clients.into_iter().filter_map(client).collect(),
        }
    }

    /// What a token gives a right to.
    pub(super) fn of_token(&self, token: &str, now: u64) -> Option<Rights> {
        let (name, _) = token.split_once('.')?;
        let (hash, rights) = self.tokens.get(name)?;
        let is_it = *hash == TokenHash::of(token);
        let has_expired = rights.until.is_some_and(|until| now >= until);
        (is_it && !has_expired).then(|| rights.clone())
    }

    /// What a certificate, which was found to be good, gives a right to: all that any of its names does.
    pub(super) fn of_certificate(&self, certificate: &CertificateDer<'_>) -> Option<Rights> {
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        let is_for = |name: &ServerName<'_>| certificate.verify_is_valid_for_subject_name(name).is_ok();
        let mut known = self.clients.iter().filter(|(name, _)| is_for(name)).peekable();
        known.peek()?;
        let grants = known.flat_map(|(_, grants)| grants.iter().cloned()).collect::<Vec<_>>();
        Some(Rights { grants: Arc::from(grants), until: None })
    }
}
