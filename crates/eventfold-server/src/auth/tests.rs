//! Who is let in, with what, and for how long.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::HeaderValue;

use super::*;
use crate::access::Role;

const NOW: u64 = 1_000_000;

fn grants(prefix: &str) -> Vec<Grant> {
    vec![Grant { role: Role::Read, prefix: prefix.to_owned() }]
}

/// A file with these tokens, and the tokens.
fn issued(names: &[(&str, Option<u64>)]) -> (TokenFile, Vec<String>) {
    let mut file = TokenFile::default();
    let mut tokens = Vec::new();
    for (number, (name, expires)) in (1..).zip(names) {
        let (token, entry) = TokenEntry::new(*name, [number; 32], grants(name), *expires);
        file.tokens.push(entry);
        tokens.push(token);
    }
    (file, tokens)
}

#[expect(clippy::disallowed_methods, reason = "tokens are a file")]
fn auth(file: &TokenFile, options: AuthOptions) -> Arc<Auth> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.toml");
    std::fs::write(&path, file.to_text()).unwrap();
    Arc::new(Auth::load(&options.tokens(path)).unwrap())
}

fn from(address: impl Into<IpAddr>, is_encrypted: bool) -> Peer {
    Peer { address: address.into(), is_encrypted, certificate: None }
}

fn shows(authorization: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in authorization {
        headers.append(header::AUTHORIZATION, HeaderValue::try_from(*value).unwrap());
    }
    headers
}

fn told(result: Result<(Access, Standing), Failed>) -> String {
    let failed = result.map(drop).unwrap_err();
    assert_eq!(failed.code, Code::Unauthenticated);
    assert!(matches!(failed.failure.cause, Some(Cause::Unauthenticated(_))));
    failed.message
}

#[test]
fn a_token_is_known_by_all_of_it_until_it_expires() {
    let (file, tokens) = issued(&[("a", None), ("b", Some(NOW))]);
    let known = Tokens::of(file);
    assert_eq!(known.of_token(&tokens[0], u64::MAX).unwrap().grants[..], grants("a"));
    assert!(known.of_token(&tokens[1], NOW - 1).is_some());
    assert!(known.of_token(&tokens[1], NOW).is_none());
    for len in 0..tokens[0].len() {
        assert!(known.of_token(&tokens[0][..len], NOW).is_none(), "{len}");
    }
    let (_, secret) = tokens[0].split_once('.').unwrap();
    assert_eq!(secret.len(), 43, "256 bits");
    for wrong in
        [format!("{}=", tokens[0]), format!("b.{secret}"), format!("c.{secret}"), secret.to_owned(), "a.".to_owned()]
    {
        assert!(known.of_token(&wrong, 0).is_none(), "{wrong}");
    }
}

#[test]
fn without_a_way_to_be_known_everybody_may_do_everything_and_with_one_nobody_who_is_not() {
    let open = Arc::new(Auth::load(&AuthOptions::default()).unwrap());
    let here = from(Ipv4Addr::LOCALHOST, false);
    assert!(open.admit(&shows(&[]), &here).unwrap().0.is_everything());
    // A file without a token lets nobody in.
    let closed = auth(&TokenFile::default(), AuthOptions::default());
    assert!(told(closed.admit(&shows(&[]), &here)).contains("has no token"));
    assert!(told(closed.admit(&shows(&["Bearer a.b"]), &here)).contains("does not know the token"));
    assert!(told(closed.admit(&shows(&["Bearer a.b.c"]), &here)).contains("takes no JSON web tokens"));
}

#[test]
fn the_header_is_one_and_of_its_form() {
    let (file, tokens) = issued(&[("a", None)]);
    let auth = auth(&file, AuthOptions::default());
    let here = from(Ipv4Addr::LOCALHOST, false);
    let bearer = format!("Bearer {}", tokens[0]);
    assert!(!auth.admit(&shows(&[&bearer]), &here).unwrap().0.is_everything());
    assert!(auth.admit(&shows(&[&bearer.replace("Bearer", "bEARER")]), &here).is_ok());
    assert!(told(auth.admit(&shows(&[&bearer, &bearer]), &here)).contains("more than one"));
    for wrong in ["", "Bearer", &tokens[0], "Basic YTpi"] {
        assert!(told(auth.admit(&shows(&[wrong]), &here)).contains("not of the form"), "{wrong}");
    }
}

#[test]
fn a_token_that_others_may_have_read_is_refused_be_it_right_or_wrong() {
    let (file, tokens) = issued(&[("a", None)]);
    let right = shows(&[&format!("Bearer {}", tokens[0])]);
    let strict = auth(&file, AuthOptions::default());
    let away = [IpAddr::from([10, 0, 0, 1]), "fe80::1".parse().unwrap(), "::ffff:10.0.0.1".parse().unwrap()];
    for address in away {
        for shown in [&right, &shows(&["Bearer a.wrong"])] {
            assert!(told(strict.admit(shown, &from(address, false))).contains("without TLS"), "{address}");
        }
        assert!(strict.admit(&right, &from(address, true)).is_ok());
        assert!(
            auth(&file, AuthOptions::default().allow_plaintext_tokens(true))
                .admit(&right, &from(address, false))
                .is_ok()
        );
    }
    for address in
        ["127.8.8.8".parse().unwrap(), IpAddr::from(Ipv6Addr::LOCALHOST), "::ffff:127.0.0.1".parse().unwrap()]
    {
        assert!(strict.admit(&right, &from(address, false)).is_ok(), "{address}");
    }
}

#[test]
fn a_token_is_not_shown() {
    let (file, tokens) = issued(&[("a", None)]);
    let auth = auth(&file, AuthOptions::default());
    let shown = shows(&[&format!("Bearer {}", tokens[0])]);
    let (access, standing) = auth.admit(&shown, &from(Ipv4Addr::LOCALHOST, false)).unwrap();
    let (_, secret) = tokens[0].split_once('.').unwrap();
    assert!(!format!("{access:?} {standing:?} {auth:?} {file:?}").contains(secret));
    assert!(!file.to_text().contains(secret));
}

#[test]
fn a_token_file_that_is_wrong_says_where() {
    let (right, _) = issued(&[("a", None)]);
    let text = right.to_text();
    let hash = right.tokens[0].hash.to_string();
    let client = |dns: &str| format!("[[client]]\ndns = \"{dns}\"\ngrants = []\n");
    for (text, why) in [
        (text.replace("name = \"a\"", "name = \"a.b\""), "the name \"a.b\""),
        (text.replace("name = \"a\"", "name = \"\""), "the name \"\""),
        (text.replace("name = \"a\"", &format!("name = \"{}\"", "a".repeat(65))), "letters"),
        (format!("{text}\n{text}"), "a is there twice"),
        (text.replace(&hash, &hash[..hash.len() - 1]), "64 hexadecimal digits"),
        (text.replace("blake3:", "md5:"), "64 hexadecimal digits"),
        (text.replace("prefix = \"a\"", ""), "missing field `prefix`"),
        (text.replace("prefix = \"a\"", "prefx = \"a\""), "unknown field `prefx`"),
        (text.replace("role = \"read\"", "role = \"reads\""), "unknown variant `reads`"),
        (text.replace("prefix = \"a\"", &format!("prefix = \"{}\"", "a".repeat(10_000))), "more than"),
        (text.replace("[[token", "[[tokens"), "unknown field `tokens`"),
        (text.replace("name = \"a\"", "name = \"a\"\nexpires = -1"), "expires"),
        (client("10.0.0.1"), "no DNS name"),
        (client("not a name"), "no DNS name"),
        (client("a.example") + &client("A.example"), "A.example is there twice"),
        (client("a.example") + "x = 1", "unknown field `x`"),
    ] {
        let told = TokenFile::parse(&text).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
    let many = vec![Grant { role: Role::Read, prefix: String::new() }; 129];
    let (_, entry) = TokenEntry::new("a", [1; 32], many, None);
    let told = TokenFile { tokens: vec![entry], clients: Vec::new() }.check().unwrap_err().to_string();
    assert!(told.contains("129 grants"), "{told}");
}
