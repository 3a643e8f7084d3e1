//! JSON web tokens: tokens that somebody else has made and signed, whose keys are known here.
//!
//! A token is taken where all of this holds: it is signed, by one of the algorithms that are configured and by the key that it names,
//! which is of that kind; it was made by the configured issuer for the configured audience; it has not expired and is not for later;
//! and it asks for nothing that is not understood here (`crit`). Whatever a token says of itself chooses among what is configured, and
//! adds nothing: not a key, not an algorithm, not a place to get one from.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny, IntoDeserializer};
use serde_json::{Map, Value};

use super::Rights;
pub use super::keys::Algorithm;
use super::keys::Keys;
use super::tokens::check_grants;
use crate::access::Grant;
use crate::files::{FileError, Reloaded};

/// The claim that has a token's grants, where nothing else is said.
pub const DEFAULT_CLAIM: &str = "eventfold";

/// Which JSON web tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtOptions {
    /// The public keys, as a JSON web key set. It is read again when it changes.
    pub keys: PathBuf,
    /// How tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// Who makes them: `iss`.
    pub issuer: String,
    /// Whom they have to be for: `aud`.
    pub audience: String,
    /// The claim that has the grants.
    pub claim: String,
}

impl JwtOptions {
    /// Tokens that are signed by one of these keys in one of these ways, made by an issuer for an audience.
    pub fn new(
        keys: impl Into<PathBuf>,
        algorithms: impl IntoIterator<Item = Algorithm>,
        issuer: impl Into<String>,
        audience: impl Into<String>,
    ) -> Self {
        Self {
            keys: keys.into(),
            algorithms: algorithms.into_iter().collect(),
            issuer: issuer.into(),
            audience: audience.into(),
            claim: DEFAULT_CLAIM.to_owned(),
        }
    }

    /// With the grants in another claim.
    #[must_use]
    pub fn claim(mut self, claim: impl Into<String>) -> Self {
        self.claim = claim.into();
        self
    }
}

/// By how many seconds the clocks of who makes tokens and of who takes them may differ.
const LEEWAY_S: u64 = 60;

#[derive(Debug)]
pub(super) struct Jwt {
    options: JwtOptions,
    keys: Reloaded<Keys>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    exp: u64,
    nbf: Option<u64>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn has(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

impl Jwt {
    pub(super) fn load(options: &JwtOptions) -> Result<Self, FileError> {
        let path = options.keys.clone();
        let make = move |contents: &[Vec<u8>]| Keys::parse(&contents[0]).map_err(|what| FileError::new(&path, &what));
        Ok(Self { options: options.clone(), keys: Reloaded::load(vec![options.keys.clone()], make)? })
    }

    pub(super) fn reload(&self) -> bool {
        self.keys.reload()
    }

    /// What a token gives a right to at a time, in Unix seconds; or why it gives none.
    pub(super) fn rights(&self, token: &str, now: u64) -> Result<Rights, String> {
        let wrong = |what: &str| format!("the JSON web token is not taken: {what}");
        let (message, signature) = token.rsplit_once('.').ok_or_else(|| wrong("it has no signature"))?;
        let (header, claims) = message.split_once('.').ok_or_else(|| wrong("it has no claims"))?;
        let header: Header = part(header).ok_or_else(|| wrong("its header can't be read"))?;
        if header.crit.is_some() {
            return Err(wrong("it has demands (crit) that this server does not know"));
        }
        let algorithm =
            self.algorithm(&header.alg).ok_or_else(|| wrong("it is not signed by a configured algorithm"))?;
        let key = header.kid.ok_or_else(|| wrong("it does not say by which key it is signed (kid)"))?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| wrong("its signature can't be read"))?;
        let keys = self.keys.current();
        keys.verify(&key, algorithm, &header.alg, message.as_bytes(), &signature).map_err(wrong)?;
        // Only now is it worth reading.
        let mut claims: Claims = part(claims).ok_or_else(|| wrong("iss, aud or exp is missing, or not of its kind"))?;
        if claims.iss != self.options.issuer {
            return Err(wrong("it is made by another issuer"));
        }
        if !claims.aud.has(&self.options.audience) {
            return Err(wrong("it is for another audience"));
        }
        let until = claims.exp.saturating_add(LEEWAY_S);
        if now >= until {
            return Err(wrong("it has expired"));
        }
        if claims.nbf.is_some_and(|begins| now.saturating_add(LEEWAY_S) < begins) {
            return Err(wrong("it is for later"));
        }
        let grants = claims.others.remove(&self.options.claim).unwrap_or_else(|| Value::Array(Vec::new()));
        let grants: Vec<Grant> = serde_json::from_value(grants)
            .map_err(|error| wrong(&format!("the claim {}: {error}", self.options.claim)))?;
        check_grants(&self.options.claim, &grants).map_err(|error| wrong(&error.to_string()))?;
        Ok(Rights { grants: grants.into(), until: Some(until) })
    }

    /// The algorithm of this name, if it is one of those that are configured.
    fn algorithm(&self, name: &str) -> Option<Algorithm> {
        let known = Algorithm::deserialize(name.into_deserializer()).map_err(|_: serde::de::value::Error| ()).ok()?;
        self.options.algorithms.contains(&known).then_some(known)
    }
}

/// A part of a token.
fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
