//! The public keys of who makes JSON web tokens.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// How a JSON web token can be signed. There are none here that take a secret which both sides have, so that nobody can have a
/// public key taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSA, PKCS 1 version 1.5, with SHA-256; keys of 2048 bits at least.
    RS256,
    /// RSA, PSS, with SHA-256; keys of 2048 bits at least.
    PS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

/// The keys of a file, by their ids.
#[derive(Debug)]
pub(super) struct Keys(BTreeMap<String, Key>);

#[derive(Debug)]
struct Key {
    material: Material,
    /// The one algorithm that it is for, where it says so.
    algorithm: Option<String>,
}

#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Entry>,
}

/// A key as it stands in the file, with what is looked at here.
#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<IgnoredAny>,
}

const RSA_BYTES_MIN: usize = 2048 / 8;

impl Keys {
    /// The keys of a file of JSON (RFC 7517). Those of other kinds than are known here, for other uses than signing, and without
    /// an id are passed over.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let set: Set = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let mut keys = BTreeMap::new();
        for mut entry in set.keys {
            let Some(id) = entry.kid.take() else { continue };
            if entry.d.is_some() {
                return Err(format!("the key {id:?} is a private one, which belongs to who makes tokens alone"));
            }
            if entry.used_for.as_ref().is_some_and(|used_for| used_for != "sig") {
                continue;
            }
            let Some(material) = entry.material().map_err(|what| format!("the key {id:?}: {what}"))? else { continue };
            let key = Key { material, algorithm: entry.alg };
            if keys.insert(id.clone(), key).is_some() {
                return Err(format!("there are two keys {id:?}"));
            }
        }
        if keys.is_empty() { Err("there is no key in it that can be used".to_owned()) } else { Ok(Self(keys)) }
    }

    /// Whether the key with this id has made this signature of a message in this way.
    pub(super) fn verify(
        &self,
        id: &str,
        algorithm: Algorithm,
        name: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), &'static str> {
        let key = self.0.get(id).ok_or("its key is not known here")?;
        if key.algorithm.as_ref().is_some_and(|only| only != name) {
            return Err("its key is for another algorithm");
        }
        let verified = match (algorithm, &key.material) {
            (Algorithm::RS256, Material::Rsa { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Algorithm::PS256, Material::Rsa { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            }
            (Algorithm::ES256, Material::P256(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Algorithm::ES384, Material::P384(point)) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature)
            }
            (Algorithm::EdDSA, Material::Ed25519(key)) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
            _ => return Err("its key is for another algorithm"),
        };
        verified.map_err(|_| "its signature is wrong")
    }
}

impl Entry {
    fn material(&self) -> Result<Option<Material>, String> {
        let material = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let unsigned =
                    |text: &Option<String>, name| bytes(text.as_ref(), name).map(|bytes| without_zeros(&bytes));
                let (n, e) = (unsigned(&self.n, "n")?, unsigned(&self.e, "e")?);
                if n.len() < RSA_BYTES_MIN {
                    return Err("it has less than 2048 bits".to_owned());
                }
                Material::Rsa { n, e }
            }
            ("EC", Some("P-256")) => Material::P256(self.point(32)?),
            ("EC", Some("P-384")) => Material::P384(self.point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(exactly(self.x.as_ref(), "x", 32)?),
            _ => return Ok(None),
        };
        Ok(Some(material))
    }

    /// A point of a curve, uncompressed.
    fn point(&self, len: usize) -> Result<Vec<u8>, String> {
        let mut point = vec![4];
        point.extend(exactly(self.x.as_ref(), "x", len)?);
        point.extend(exactly(self.y.as_ref(), "y", len)?);
        Ok(point)
    }
}

fn bytes(text: Option<&String>, name: &str) -> Result<Vec<u8>, String> {
    let text = text.ok_or_else(|| format!("{name} is missing"))?;
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|error| format!("{name}: {error}"))
}

fn exactly(text: Option<&String>, name: &str, len: usize) -> Result<Vec<u8>, String> {
    let bytes = bytes(text, name)?;
    if bytes.len() == len { Ok(bytes) } else { Err(format!("{name} has {} bytes, not {len}", bytes.len())) }
}

/// A number as ring takes it: some write it with a zero in front, for a sign.
fn without_zeros(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number[zeros..].to_vec()
}
