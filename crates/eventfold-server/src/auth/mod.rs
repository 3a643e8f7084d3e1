//! Who calls, and what they may do.
//!
//! A caller shows a token of this server's, a token of somebody else's that it trusts, or a certificate. Each of them has grants; what
//! they come to is in [`access`](crate::access). What is shown is looked up again when a file changes and when it expires, so that
//! calls that stay open end soon after their caller's rights do.

mod jwt;
mod keys;
mod tokens;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eventfold_proto::convert::Failed;
use eventfold_proto::v1::failure::Cause;
use eventfold_proto::v1::{Advice, Unauthenticated};
use http::{HeaderMap, header};
use tokio::sync::watch;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tonic::Code;

pub use jwt::{Algorithm, DEFAULT_CLAIM, JwtOptions};
pub use tokens::{ClientEntry, InvalidTokens, TokenEntry, TokenFile, TokenHash};

use crate::access::{Access, Grant};
use crate::clock;
use crate::files::{FileError, Reloaded};
use jwt::Jwt;
use tokens::Tokens;

/// Who is let in. Where neither tokens nor JSON web tokens are set up, everybody may do everything; where one of them is, nobody
/// may do anything that no grant allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthOptions {
    /// A [`TokenFile`]: this server's own tokens, and the names of clients that show a certificate.
    pub tokens: Option<PathBuf>,
    /// Tokens of somebody else.
    pub jwt: Option<JwtOptions>,
    /// Tokens are taken over connections without TLS from other machines too.
    pub allow_plaintext_tokens: bool,
}

impl AuthOptions {
    /// With the tokens of this file.
    #[must_use]
    pub fn tokens(mut self, path: impl Into<PathBuf>) -> Self {
        self.tokens = Some(path.into());
        self
    }

    /// With tokens of somebody else.
    #[must_use]
    pub fn jwt(mut self, jwt: JwtOptions) -> Self {
        self.jwt = Some(jwt);
        self
    }

    /// Whether tokens are taken over connections without TLS from other machines too.
    #[must_use]
    pub fn allow_plaintext_tokens(mut self, allow: bool) -> Self {
        self.allow_plaintext_tokens = allow;
        self
    }
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) is_encrypted: bool,
    /// The certificate it has shown, which was found to be good.
    pub(crate) certificate: Option<CertificateDer<'static>>,
}

impl Peer {
    /// Whether nobody on the way can read what it sends.
    fn is_private(&self) -> bool {
        self.is_encrypted || self.address.to_canonical().is_loopback()
    }
}

/// By what a caller is known.
enum Credential {
    Token(String),
    Certificate(CertificateDer<'static>),
}

/// What is known of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rights {
    grants: Arc<[Grant]>,
    /// From when on, in Unix seconds, it is known no more.
    until: Option<u64>,
}

/// What is known of all callers.
#[derive(Debug)]
pub(crate) struct Auth {
    /// None: everybody may do everything.
    rules: Option<Rules>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Rules {
    tokens: Option<Reloaded<Tokens>>,
    jwt: Option<Jwt>,
    allow_plaintext_tokens: bool,
}

impl Auth {
    pub(crate) fn load(options: &AuthOptions) -> Result<Self, FileError> {
        let tokens = options.tokens.as_deref().map(Tokens::load).transpose()?;
        let jwt = options.jwt.as_ref().map(Jwt::load).transpose()?;
        let is_on = tokens.is_some() || jwt.is_some();
        let rules = Rules { tokens, jwt, allow_plaintext_tokens: options.allow_plaintext_tokens };
        Ok(Self { rules: is_on.then_some(rules), changed: watch::Sender::new(()) })
    }

    pub(crate) fn reload(&self) {
        let Some(rules) = &self.rules else { return };
        let tokens = rules.tokens.as_ref().is_some_and(Reloaded::reload);
        let keys = rules.jwt.as_ref().is_some_and(Jwt::reload);
        if tokens || keys {
            self.changed.send_replace(());
        }
    }

    /// What the caller of a request may do, and for how long.
    pub(crate) fn admit(self: &Arc<Self>, headers: &HeaderMap, peer: &Peer) -> Result<(Access, Standing), Failed> {
        let Some(rules) = &self.rules else { return Ok((Access::everything(), Standing(None))) };
        // From before the look on, so that no change is missed.
        let changed = self.changed.subscribe();
        let credential = rules.credential(headers, peer)?;
        let rights = rules.rights(&credential, clock::unix_seconds())?;
        let access = Access::of(rights.grants.clone());
        Ok((access, Standing(Some(Arc::new(Known { auth: self.clone(), credential, rights, changed })))))
    }
}

impl Rules {
    /// What the caller shows.
    fn credential(&self, headers: &HeaderMap, peer: &Peer) -> Result<Credential, Failed> {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let Some(authorization) = shown.next() else {
            let certificate = peer.certificate.clone().map(Credential::Certificate);
            return certificate
                .ok_or_else(|| unauthenticated("the call has no token, as in `authorization: Bearer TOKEN`"));
        };
        // Looked at before the token is: what it is worth is nobody's to know who may have read it on the way.
        if !peer.is_private() && !self.allow_plaintext_tokens {
            return Err(unauthenticated(
                "the token came over a connection without TLS, so that others may have read it: take it for known, and revoke it. \
                 This server takes none that way (auth.allow_plaintext_tokens)",
            ));
        }
        if shown.next().is_some() {
            return Err(unauthenticated("the call has more than one header `authorization`"));
        }
        let bearer = authorization.to_str().ok().and_then(|text| text.split_once(' '));
        match bearer {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                Ok(Credential::Token(token.trim().to_owned()))
            }
            _ => Err(unauthenticated("the header `authorization` is not of the form `Bearer TOKEN`")),
        }
    }

    /// What this gives a right to at a time, in Unix seconds.
    fn rights(&self, credential: &Credential, now: u64) -> Result<Rights, Failed> {
        let tokens = self.tokens.as_ref().map(Reloaded::current);
        match credential {
            // JSON web tokens have three parts, this server's own have two.
            Credential::Token(token) if token.split('.').count() == 3 => match &self.jwt {
                Some(jwt) => jwt.rights(token, now).map_err(unauthenticated),
                None => Err(unauthenticated("this server takes no JSON web tokens")),
            },
            Credential::Token(token) => tokens
                .and_then(|tokens| tokens.of_token(token, now))
                .ok_or_else(|| unauthenticated("this server does not know the token, or no longer")),
            Credential::Certificate(certificate) => {
                tokens.and_then(|tokens| tokens.of_certificate(certificate)).ok_or_else(|| {
                    unauthenticated("the call has no token, and this server knows no name of the certificate")
                })
            }
        }
    }
}

/// That a caller's rights are as they were when it called.
#[derive(Clone, Debug)]
pub(crate) struct Standing(Option<Arc<Known>>);

struct Known {
    auth: Arc<Auth>,
    credential: Credential,
    rights: Rights,
    changed: watch::Receiver<()>,
}

impl std::fmt::Debug for Known {
    /// Without what the caller has shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("rights", &self.rights).finish_non_exhaustive()
    }
}

impl Standing {
    /// Ready when they are not any more, with what the caller is told.
    pub(crate) async fn lost(self) -> Failed {
        let Some(known) = &self.0 else { return std::future::pending().await };
        let Some(rules) = &known.auth.rules else { return std::future::pending().await };
        let (mut changed, mut until) = (known.changed.clone(), known.rights.until);
        loop {
            let left = until.map(|until| Duration::from_secs(until.saturating_sub(clock::unix_seconds())));
            tokio::select! {
                // The sender is kept by what is known.
                _ = changed.changed() => {}
                () = clock::sleep(left.map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN))) => {}
            }
            match rules.rights(&known.credential, clock::unix_seconds()) {
                Err(failed) => return failed,
                Ok(rights) if rights.grants != known.rights.grants => return rights_changed(),
                Ok(rights) => until = rights.until,
            }
        }
    }
}

/// How soon it is noticed that the clock was set, so that what was to expire later has.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

fn unauthenticated(message: impl Into<String>) -> Failed {
    let cause = Cause::Unauthenticated(Unauthenticated {});
    Failed::new(Code::Unauthenticated, Advice::Forbidden, message, Some(cause))
}

/// The caller is known as before, and may do something else: calling again tells what.
fn rights_changed() -> Failed {
    Failed::new(
        Code::Unavailable,
        Advice::Retry,
        "what the caller may do has changed: the call has to be made again",
        None,
    )
}

#[cfg(test)]
mod tests;
