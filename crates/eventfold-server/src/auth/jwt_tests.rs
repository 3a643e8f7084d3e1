//! What makes a JSON web token one that is taken.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair,
};
use serde_json::json;

use super::*;
use crate::access::Role;

const NOW: u64 = 1_000_000;

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn ed25519() -> Ed25519KeyPair {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()
}

fn ed25519_jwk(id: &str, key: &Ed25519KeyPair) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "use": "sig", "x": encode(key.public_key())})
}

#[expect(clippy::disallowed_methods, reason = "keys are a file")]
fn taking(keys: &[Value], algorithms: &[Algorithm]) -> Jwt {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    Jwt::load(&JwtOptions::new(path, algorithms.iter().copied(), "issuer", "eventfold")).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": "issuer", "aud": "eventfold", "exp": NOW + 100,
        "eventfold": [{"role": "read", "prefix": "orders-"}],
    })
}

/// The claims with some of them replaced, or taken away where they are null.
fn claims_with(changes: Value) -> Value {
    let Value::Object(mut claims) = claims() else { unreachable!("it is one") };
    let Value::Object(changes) = changes else { unreachable!("it is one") };
    for (name, value) in changes {
        if value.is_null() {
            claims.remove(&name)
        } else {
            claims.insert(name, value)
        };
    }
    claims.into()
}

fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn by(key: &Ed25519KeyPair, claims: &Value) -> String {
    signed(&json!({"alg": "EdDSA", "kid": "a"}), claims, |message| key.sign(message).as_ref().to_vec())
}

fn refused(jwt: &Jwt, token: &str) -> String {
    jwt.rights(token, NOW).unwrap_err()
}

#[test]
fn what_is_signed_and_for_here_and_now_is_taken() {
    let key = ed25519();
    let jwt = taking(&[ed25519_jwk("a", &key)], &[Algorithm::EdDSA]);
    let grants = vec![Grant { role: Role::Read, prefix: "orders-".to_owned() }];
    let rights = Rights { grants: grants.into(), until: Some(NOW + 100 + LEEWAY_S) };
    assert_eq!(jwt.rights(&by(&key, &claims()), NOW), Ok(rights.clone()));
    let many = claims_with(json!({"aud": ["other", "eventfold"], "nbf": NOW + LEEWAY_S, "sub": "someone"}));
    assert_eq!(jwt.rights(&by(&key, &many), NOW), Ok(rights));
    let none = jwt.rights(&by(&key, &claims_with(json!({"eventfold": null}))), NOW).unwrap();
    assert!(none.grants.is_empty(), "who is known and was given nothing may do nothing");
}

#[test]
fn each_claim_counts() {
    let key = ed25519();
    let jwt = taking(&[ed25519_jwk("a", &key)], &[Algorithm::EdDSA]);
    for (changes, why) in [
        (json!({"iss": "issuer2"}), "another issuer"),
        (json!({"iss": null}), "iss, aud or exp"),
        (json!({"aud": "eventfold2"}), "another audience"),
        (json!({"aud": ["a", "b"]}), "another audience"),
        (json!({"aud": []}), "another audience"),
        (json!({"aud": null}), "iss, aud or exp"),
        (json!({"exp": NOW - LEEWAY_S}), "expired"),
        (json!({"exp": 0}), "expired"),
        (json!({"exp": null}), "iss, aud or exp"),
        (json!({"exp": "2999"}), "iss, aud or exp"),
        (json!({"exp": -1}), "iss, aud or exp"),
        (json!({"nbf": NOW + LEEWAY_S + 1}), "for later"),
        (json!({"nbf": "never"}), "iss, aud or exp"),
        (json!({"eventfold": "admin"}), "the claim eventfold"),
        (json!({"eventfold": [{"role": "admin"}]}), "missing field `prefix`"),
        (json!({"eventfold": [{"role": "root", "prefix": ""}]}), "the claim eventfold"),
        (json!({"eventfold": [{"role": "read", "prefix": "", "also": 1}]}), "the claim eventfold"),
        (json!({"eventfold": [{"role": "read", "prefix": "x".repeat(10_000)}]}), "more than"),
    ] {
        let told = refused(&jwt, &by(&key, &claims_with(changes.clone())));
        assert!(told.contains(why), "{changes}: {told}");
    }
    assert!(jwt.rights(&by(&key, &claims_with(json!({"exp": NOW - LEEWAY_S + 1}))), NOW).is_ok(), "clocks differ");
    assert!(jwt.rights(&by(&key, &claims_with(json!({"exp": u64::MAX}))), NOW).is_ok());
}

#[test]
fn a_token_chooses_no_algorithm_and_no_key_that_are_not_configured() {
    let (key, other) = (ed25519(), ed25519());
    let public = ed25519_jwk("a", &key);
    let keys = [public.clone(), json!({"kty": "oct", "kid": "shared", "k": encode("secret")})];
    let jwt = taking(&keys, &[Algorithm::EdDSA, Algorithm::RS256]);
    let sign = |message: &[u8]| key.sign(message).as_ref().to_vec();
    // The public key as the secret of HMAC, in the forms in which somebody may have it.
    let hmac = |secret: Vec<u8>| {
        move |message: &[u8]| {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
            ring::hmac::sign(&key, message).as_ref().to_vec()
        }
    };
    let not_configured = "not signed by a configured algorithm";
    for name in ["none", "None", "NONE", "", "eddsa", "ES256", "PS256", "HS256"] {
        let header = json!({"alg": name, "kid": "a"});
        assert!(refused(&jwt, &signed(&header, &claims(), sign)).contains(not_configured), "{name}");
        assert!(refused(&jwt, &signed(&header, &claims(), |_| Vec::new())).contains(not_configured), "{name}");
    }
    for secret in [key.public_key().as_ref().to_vec(), encode(key.public_key()).into_bytes(), public.to_string().into()]
    {
        let header = json!({"alg": "HS256", "kid": "a"});
        assert!(refused(&jwt, &signed(&header, &claims(), hmac(secret))).contains(not_configured));
    }
    let header = json!({"alg": "HS256", "kid": "shared"});
    assert!(refused(&jwt, &signed(&header, &claims(), hmac(b"secret".to_vec()))).contains(not_configured));
    // An algorithm that is configured, of a key of another kind.
    let header = json!({"alg": "RS256", "kid": "a"});
    assert!(refused(&jwt, &signed(&header, &claims(), sign)).contains("for another algorithm"));
    for (header, why) in [
        (json!({"alg": "EdDSA", "kid": "b"}), "not known here"),
        (json!({"alg": "EdDSA", "kid": "shared"}), "not known here"),
        (json!({"alg": "EdDSA"}), "does not say by which key"),
        (json!({"alg": "EdDSA", "jwk": public}), "does not say by which key"),
        (json!({"alg": "EdDSA", "kid": "a", "crit": ["b64"], "b64": false}), "crit"),
        (json!({"kid": "a"}), "header can't be read"),
    ] {
        assert!(refused(&jwt, &signed(&header, &claims(), sign)).contains(why), "{header}");
    }
    // What is said twice could be read in two ways.
    let message = format!("{}.{}", encode(r#"{"alg":"none","kid":"a","alg":"EdDSA"}"#), encode(claims().to_string()));
    let twice = format!("{message}.{}", encode(sign(message.as_bytes())));
    assert!(refused(&jwt, &twice).contains("header can't be read"));
    let of_other = |message: &[u8]| other.sign(message).as_ref().to_vec();
    // A key that a token brings along is not looked at.
    let header = json!({"alg": "EdDSA", "kid": "a", "jwk": ed25519_jwk("a", &other)});
    assert!(refused(&jwt, &signed(&header, &claims(), of_other)).contains("its signature is wrong"));
}

#[test]
fn whatever_is_changed_of_a_token_it_is_not_taken() {
    let key = ed25519();
    let jwt = taking(&[ed25519_jwk("a", &key)], &[Algorithm::EdDSA]);
    let token = by(&key, &claims());
    for index in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        assert!(jwt.rights(&String::from_utf8(changed).unwrap(), NOW).is_err(), "{index}");
        assert!(jwt.rights(&token[..index], NOW).is_err(), "{index}");
    }
    for wrong in ["", ".", "..", "...", "a.b.c", "eyJhbGciOiJFZERTQSJ9..", "\u{e9}.\u{e9}.\u{e9}"] {
        assert!(jwt.rights(wrong, NOW).is_err(), "{wrong}");
    }
    assert!(jwt.rights(&token, NOW).is_ok());
}

#[test]
fn elliptic_curves() {
    let pair = |algorithm: &'static EcdsaSigningAlgorithm| {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &SystemRandom::new()).unwrap()
    };
    let jwk = |curve: &str, pair: &EcdsaKeyPair| {
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({"kty": "EC", "crv": curve, "kid": curve, "x": encode(x), "y": encode(y)})
    };
    let (small, large) = (pair(&ECDSA_P256_SHA256_FIXED_SIGNING), pair(&ECDSA_P384_SHA384_FIXED_SIGNING));
    let keys = [jwk("P-256", &small), jwk("P-384", &large)];
    let jwt = taking(&keys, &[Algorithm::ES256, Algorithm::ES384]);
    for (algorithm, curve, pair) in [("ES256", "P-256", &small), ("ES384", "P-384", &large)] {
        let sign = |message: &[u8]| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
        let token = |curve: &str| signed(&json!({"alg": algorithm, "kid": curve}), &claims(), sign);
        assert!(jwt.rights(&token(curve), NOW).is_ok(), "{algorithm}");
        let other = if curve == "P-256" { "P-384" } else { "P-256" };
        assert!(refused(&jwt, &token(other)).contains("for another algorithm"));
        let zeros = signed(&json!({"alg": algorithm, "kid": curve}), &claims(), |_| {
            vec![0; pair.public_key().as_ref().len() - 1]
        });
        assert!(refused(&jwt, &zeros).contains("its signature is wrong"));
    }
}

#[test]
fn rsa() {
    let key = |id: &str, only: Option<&str>| json!({"kty": "RSA", "kid": id, "n": RSA_N, "e": "AQAB", "alg": only});
    let token = |[header, signature]: [&str; 2]| format!("{header}.{RSA_CLAIMS}.{signature}");
    let both = taking(&[key("rsa", None)], &[Algorithm::RS256, Algorithm::PS256]);
    assert!(both.rights(&token(RS256), NOW).is_ok());
    assert!(both.rights(&token(PS256), NOW).is_ok());
    assert!(refused(&both, &token([RS256[0], PS256[1]])).contains("its signature is wrong"));
    assert!(refused(&both, &token([PS256[0], RS256[1]])).contains("its signature is wrong"));
    let pinned = taking(&[key("rsa", None)], &[Algorithm::PS256]);
    assert!(refused(&pinned, &token(RS256)).contains("not signed by a configured algorithm"));
    let of_key = taking(&[key("rsa", Some("RS256"))], &[Algorithm::RS256, Algorithm::PS256]);
    assert!(of_key.rights(&token(RS256), NOW).is_ok());
    assert!(refused(&of_key, &token(PS256)).contains("for another algorithm"));
}

#[test]
fn a_key_set_that_is_wrong_says_where() {
    let key = ed25519_jwk("a", &ed25519());
    let with = |name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    for (keys, why) in [
        (json!([]), "no key in it"),
        (json!([with("use", json!("enc"))]), "no key in it"),
        (json!([with("kty", json!("oct"))]), "no key in it"),
        (json!([with("kid", Value::Null)]), "no key in it"),
        (json!([key, key]), "two keys \"a\""),
        (json!([with("d", json!("AAAA"))]), "the key \"a\" is a private one"),
        (json!([with("x", json!("AAAA"))]), "the key \"a\": x has 3 bytes"),
        (json!([with("x", json!("%"))]), "the key \"a\": x: "),
        (json!([with("x", Value::Null)]), "the key \"a\": x is missing"),
        (json!([{"kty": "RSA", "kid": "r", "n": encode([255; 128]), "e": "AQAB"}]), "less than 2048 bits"),
        (json!({}), "invalid type"),
    ] {
        let told = Keys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
    assert!(Keys::parse(b"").is_err());
}

/// Signatures of one message by an RSA key that is gone: the claims are those of [`claims`], for ever.
const RSA_N: &str = "o-ZtvxHDGLUVyen3Xxk74qnnuHuRDoqJhSbe0QqdEuuCPd_sieaLjZoXfRVt-6MBZ4qn4CFM0K1O7UVa0tnvDr0ihq33NEUNxp2mz4R69Xb8Rc\
     y-chwurGZaqkkVXbzI6kCkJQUgVgYxmbuokUBXSJaK2OLyOrjXi9pJzQVgGEEZ4quVm1NZu3gdE0tcSx1vcE2d3PbylDoig3KLe_7P81PwR8B8\
     rE5m782yAbCEtjyISzxEn_vyaYvNpIw9fj6b0xiDepjd58kRFaUyfS_6im7jg2cp6V8R6QjjEtpLOZZLHu6I_R_AkNa0EAK2O0vaFnFA1Mf8W-\
     IEqq5nGid9Hw";
const RSA_CLAIMS: &str = "eyJpc3MiOiJpc3N1ZXIiLCJhdWQiOiJldmVudGZvbGQiLCJleHAiOjQxMDI0NDQ4MDAsImV2ZW50Zm9sZCI6W3sicm9sZSI6InJlYWQiLCJwcm\
     VmaXgiOiJvcmRlcnMtIn1dfQ";
const RS256: [&str; 2] = [
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9",
    "L0I4Df70RByVNJVMbjiU9OAbC7HqyU7ukiIqd8srjjgS0NfJd_2hMjPKz_jfi_ACCCzr80UN0wnzc3eWBeazNLbln_nHZBULf-12459r4xiZe6\
     MBSg7cbUVhRwqEnVIn2xswXTOljq63cBCGUzZwo_8MQ-IiEFXR7IEpBpdhyvklwwRh8p2YC3TL2C42TpXk7GGDop5HAdPbtt6zAgXShSLfLXr0\
     xgF8mAeAhViT1K9n1Rqlhr5dxo5xBYi0niZkzIKeY7pifxDehyuvIupeu7zxAU74v9eRkBQXC75j8_xrM5sAm8Er9ZhfNUqaSoISUUV4wuG04l\
     Bh6mpuaPBvAw",
];
const PS256: [&str; 2] = [
    "eyJhbGciOiJQUzI1NiIsImtpZCI6InJzYSJ9",
    "R6vIcj915x2Vs8NC2P6da9GnjZYNxwrAc3PPZcGStpIvEbvYJs7pQxMGAb3FQVdVX7_FNPclgoA_-OaPA_oMBLmBG2_iYtgL-N7Py-fFXOkBTm\
     yI-4UjjGEn20IezDEjSiMDGDgXJUjK0REI2lBmZClbXD103eRYei_-LHsO5DND8jwos_GR4VU1gpfbSU-nIx1VZFlNkb7mEney5dHyRtiv0mmB\
     2K21xN0mA-D6ZNaMW9V75a_c6uOsh-_9EJw5dZjxN5yAzOjTMD0CRhUDWa1THxd-smZVVKUx6CIp9jz02A47vOtOWrpvbgkuk2ygPuVvK0zorl\
     7bFzeY-_e6OQ",
];
