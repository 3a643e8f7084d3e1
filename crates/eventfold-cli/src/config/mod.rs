//! How a server is configured: the defaults, a file, the environment, the command line, each over the one before.
//!
//! A setting has one name everywhere, a path such as `limits.connections`: that of a key in the file, of the variable
//! `EVENTFOLD_LIMITS_CONNECTIONS`, and of the option `--set limits.connections=100`. So all of them are read by the same code.

mod layers;
mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use eventfold_db::{DEFAULT_CACHE_BYTES, DEFAULT_HOT_TAIL_BYTES, DEFAULT_MAX_OPEN_FILES, Store, StoreOptions};
use eventfold_db::{DEFAULT_MAX_BYTES, DEFAULT_MAX_REQUESTS, WriterOptions};
use eventfold_server::{Algorithm, DEFAULT_CLAIM, JwtOptions, Limits, ServerOptions, TlsFiles};
use serde::{Deserialize, Serialize};

pub(crate) use layers::{ConfigError, Layers};
pub(crate) use settings::annotated;

/// All settings of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) allow_plaintext: bool,
    pub(crate) tls: TlsConfig,
    pub(crate) auth: AuthConfig,
    pub(crate) store: StoreConfig,
    pub(crate) writer: WriterConfig,
    pub(crate) log: LogConfig,
    pub(crate) traces: TracesConfig,
    pub(crate) limits: Limits,
}

/// The files of TLS. None where they are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TlsConfig {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: PathBuf,
}

/// Who is let in. Everybody where no file is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuthConfig {
    pub(crate) tokens: PathBuf,
    pub(crate) allow_plaintext_tokens: bool,
    pub(crate) jwt: JwtConfig,
}

/// Which JSON web tokens are taken. None where no keys are named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct JwtConfig {
    pub(crate) keys: PathBuf,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) claim: String,
}

/// How the store is opened. What is fixed when a store is made is asked for only where it is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreConfig {
    pub(crate) segment_size: u64,
    pub(crate) idempotency_window: u32,
    pub(crate) cache_bytes: u64,
    pub(crate) hot_tail_bytes: u64,
    pub(crate) max_open_files: usize,
}

/// How much may wait to be appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WriterConfig {
    pub(crate) max_requests: usize,
    pub(crate) max_bytes: usize,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

/// Where traces of calls go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TracesConfig {
    pub(crate) otlp: String,
    pub(crate) filter: String,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { otlp: String::new(), filter: "eventfold_server=debug,eventfold_writer=debug".to_owned() }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./eventfold-data"),
            listen: ServerOptions::default().address,
            allow_plaintext: false,
            tls: TlsConfig::default(),
            auth: AuthConfig::default(),
            store: StoreConfig::default(),
            writer: WriterConfig::default(),
            log: LogConfig::default(),
            traces: TracesConfig::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            keys: PathBuf::new(),
            algorithms: Vec::new(),
            issuer: String::new(),
            audience: String::new(),
            claim: DEFAULT_CLAIM.to_owned(),
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            segment_size: 0,
            idempotency_window: 0,
            cache_bytes: DEFAULT_CACHE_BYTES,
            hot_tail_bytes: DEFAULT_HOT_TAIL_BYTES,
            max_open_files: DEFAULT_MAX_OPEN_FILES,
        }
    }
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self { max_requests: DEFAULT_MAX_REQUESTS, max_bytes: DEFAULT_MAX_BYTES }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Config {
    pub(crate) fn store_options(&self) -> StoreOptions {
        let store = &self.store;
        let mut options = Store::builder()
            .cache_bytes(store.cache_bytes)
            .hot_tail_bytes(store.hot_tail_bytes)
            .max_open_files(store.max_open_files);
        if store.segment_size > 0 {
            options = options.segment_size(store.segment_size);
        }
        if store.idempotency_window > 0 {
            options = options.idempotency_window(store.idempotency_window);
        }
        options
    }

    pub(crate) fn writer_options(&self) -> WriterOptions {
        WriterOptions::default().max_requests(self.writer.max_requests).max_bytes(self.writer.max_bytes)
    }

    pub(crate) fn server_options(&self) -> ServerOptions {
        let mut options = ServerOptions::default().address(self.listen).limits(self.limits.clone());
        options.tls = self.tls.files();
        options.auth.tokens = set(&self.auth.tokens);
        options.auth.jwt = self.auth.jwt.options();
        options.auth.allow_plaintext_tokens = self.auth.allow_plaintext_tokens;
        options
    }

    /// What is wrong although each setting for itself is right.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.tls.check()?;
        self.auth.jwt.check()?;
        if !self.traces.otlp.is_empty() && !cfg!(feature = "otlp") {
            return Err("traces.otlp is set, and this build sends no traces: it takes the feature otlp".to_owned());
        }
        if self.tls.files().is_none() && !self.listen.ip().is_loopback() && !self.allow_plaintext {
            return Err(format!(
                "listen is {}, which other machines can reach, and there is no TLS: whoever is on the way could read and \
                 change everything. tls.certificate and tls.key encrypt it; --allow-plaintext serves it all the same",
                self.listen
            ));
        }
        Ok(())
    }
}

/// A path, if it is one.
fn set(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}

impl TlsConfig {
    pub(crate) fn files(&self) -> Option<TlsFiles> {
        let files = TlsFiles::new(set(&self.certificate)?, set(&self.key)?);
        Some(match set(&self.client_ca) {
            Some(client_ca) => files.client_ca(client_ca),
            None => files,
        })
    }

    fn check(&self) -> Result<(), String> {
        match (set(&self.certificate), set(&self.key), set(&self.client_ca)) {
            (Some(_), None, _) => Err("tls.certificate is set, and tls.key is not".to_owned()),
            (None, Some(_), _) => Err("tls.key is set, and tls.certificate is not".to_owned()),
            (None, None, Some(_)) => Err("tls.client_ca is set, and tls.certificate and tls.key are not".to_owned()),
            _ => Ok(()),
        }
    }
}

impl JwtConfig {
    fn options(&self) -> Option<JwtOptions> {
        let options = JwtOptions::new(set(&self.keys)?, self.algorithms.clone(), &self.issuer, &self.audience);
        Some(options.claim(&self.claim))
    }

    /// All of it or nothing: a token whose issuer or audience is not looked at could be anybody's.
    fn check(&self) -> Result<(), String> {
        let others = [
            ("auth.jwt.algorithms", !self.algorithms.is_empty()),
            ("auth.jwt.issuer", !self.issuer.is_empty()),
            ("auth.jwt.audience", !self.audience.is_empty()),
        ];
        if set(&self.keys).is_none() {
            return match others.iter().find(|(_, is_set)| *is_set) {
                Some((name, _)) => Err(format!("{name} is set, and auth.jwt.keys is not")),
                None => Ok(()),
            };
        }
        match others.iter().find(|(_, is_set)| !is_set) {
            Some((name, _)) => Err(format!("auth.jwt.keys is set, and {name} is not")),
            None if self.claim.is_empty() => Err("auth.jwt.claim is empty".to_owned()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(settings: &[&str]) -> Result<(), String> {
        let mut layers = Layers::new();
        for setting in settings {
            layers.set(setting).unwrap();
        }
        layers.config().check()
    }

    const JWT: [&str; 4] = [
        "auth.jwt.keys=k.json",
        "auth.jwt.algorithms=[\"ES256\", \"EdDSA\"]",
        "auth.jwt.issuer=i",
        "auth.jwt.audience=a",
    ];

    #[test]
    fn what_belongs_together_is_set_together() {
        assert_eq!(told(&[]), Ok(()));
        assert_eq!(told(&["tls.certificate=c", "tls.key=k", "tls.client_ca=a"]), Ok(()));
        assert_eq!(told(&["tls.certificate=c"]).unwrap_err(), "tls.certificate is set, and tls.key is not");
        assert_eq!(told(&["tls.key=k"]).unwrap_err(), "tls.key is set, and tls.certificate is not");
        assert!(told(&["tls.client_ca=a"]).unwrap_err().starts_with("tls.client_ca is set"));
        assert_eq!(told(&JWT), Ok(()));
        for (left_out, setting) in JWT.iter().enumerate() {
            let (name, _) = setting.split_once('=').unwrap();
            let mut others = JWT.to_vec();
            others.remove(left_out);
            let told = told(&others).unwrap_err();
            assert!(told.contains(name), "{told}");
        }
        assert!(told(&[&JWT[..], &["auth.jwt.claim="]].concat()).is_err());
    }

    #[test]
    fn an_algorithm_that_is_none_here_is_no_setting() {
        for wrong in ["none", "HS256", "eddsa"] {
            let setting = format!("auth.jwt.algorithms=[\"{wrong}\"]");
            let told = Layers::new().set(&setting).unwrap_err().to_string();
            assert!(told.contains("auth.jwt.algorithms") && told.contains(wrong), "{told}");
        }
    }

    #[test]
    fn other_machines_are_served_with_tls_or_on_purpose() {
        let away = "listen=0.0.0.0:2113";
        assert!(told(&[away]).unwrap_err().contains("there is no TLS"));
        assert!(told(&[away, "auth.tokens=t"]).is_err(), "tokens alone protect nothing");
        assert_eq!(told(&[away, "allow_plaintext=true"]), Ok(()));
        assert_eq!(told(&[away, "tls.certificate=c", "tls.key=k"]), Ok(()));
    }
}
