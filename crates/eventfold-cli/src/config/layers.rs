//! One layer over the other.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Config;
use super::settings::{SETTINGS, lookup};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("could not read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    NotToml { path: PathBuf, source: toml::de::Error },
    #[error("{origin}: there is no setting {path}{}", similar(path))]
    Unknown { origin: String, path: String },
    #[error("{origin}: {path} has to be {wanted}, not {found}")]
    WrongKind { origin: String, path: String, wanted: &'static str, found: String },
    #[error("{origin}: {path} is {value}: {what}")]
    Wrong { origin: String, path: String, value: String, what: String },
    #[error("{name} has to be UTF-8")]
    NotText { name: String },
    #[error("{name}: there is no setting of this name, which is not UTF-8")]
    NameNotText { name: String },
    #[error("--set {text}: it has to be a setting and a value, as in --set limits.connections=100")]
    NotASetting { text: String },
}

/// The layers, each put over the ones before.
pub(crate) struct Layers {
    table: Table,
    /// Where each value comes from that is not the default, the last one last.
    origins: Vec<(String, String)>,
}

impl Layers {
    /// The defaults.
    pub(crate) fn new() -> Self {
        let table = Table::try_from(Config::default()).expect("every default has a form in the file");
        Self { table, origins: Vec::new() }
    }

    /// A file over it.
    #[expect(clippy::disallowed_methods, reason = "a configuration is a file that is not the store's")]
    pub(crate) fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let file: Table =
            toml::from_str(&text).map_err(|source| ConfigError::NotToml { path: path.to_owned(), source })?;
        self.table_of(&file, "", &path.display().to_string())
    }

    fn table_of(&mut self, table: &Table, parent: &str, origin: &str) -> Result<(), ConfigError> {
        for (key, value) in table {
            let path = if parent.is_empty() { key.clone() } else { format!("{parent}.{key}") };
            match (value, lookup(&self.table, &path)) {
                (Value::Table(inner), Some(Value::Table(_))) => self.table_of(inner, &path, origin)?,
                _ => self.value(&path, value, origin)?,
            }
        }
        Ok(())
    }

    /// The variables whose names begin with `EVENTFOLD_` over it.
    pub(crate) fn environment(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<(), ConfigError> {
        let is_ours = |name: &OsString| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
        let mut variables: Vec<_> = variables.filter(|(name, _)| is_ours(name)).collect();
        variables.sort();
        for (name, text) in variables {
            let name = name.into_string();
            let name = name.map_err(|name| ConfigError::NameNotText { name: name.display().to_string() })?;
            if NOT_SETTINGS.contains(&name.as_str()) {
                continue;
            }
            let text = text.into_string().map_err(|_| ConfigError::NotText { name: name.clone() })?;
            let of_path = |path: &str| format!("{PREFIX}{}", path.replace('.', "_").to_uppercase()) == name;
            let Some((path, _)) = SETTINGS.iter().find(|(path, _)| of_path(path)) else {
                let path = name[PREFIX.len()..].to_lowercase();
                return Err(ConfigError::Unknown { origin: name, path });
            };
            self.text(path, &text, &name)?;
        }
        Ok(())
    }

    /// `setting=value` over it.
    pub(crate) fn set(&mut self, text: &str) -> Result<(), ConfigError> {
        let (path, value) = text.split_once('=').ok_or_else(|| ConfigError::NotASetting { text: text.to_owned() })?;
        self.text(path.trim(), value.trim(), "--set")
    }

    /// A setting over it, given as a text, which is of the kind that the setting has.
    pub(crate) fn text(&mut self, path: &str, text: &str, origin: &str) -> Result<(), ConfigError> {
        let value = match lookup(&self.table, path) {
            Some(Value::String(_)) => Value::String(text.to_owned()),
            _ => text.parse().unwrap_or_else(|_| Value::String(text.to_owned())),
        };
        self.value(path, &value, origin)
    }

    fn value(&mut self, path: &str, value: &Value, origin: &str) -> Result<(), ConfigError> {
        let before = lookup(&self.table, path).filter(|before| !before.is_table());
        let Some(before) = before else {
            return Err(ConfigError::Unknown { origin: origin.to_owned(), path: path.to_owned() });
        };
        if !before.same_type(value) {
            let (wanted, found) = (kind(before), value.to_string());
            return Err(ConfigError::WrongKind { origin: origin.to_owned(), path: path.to_owned(), wanted, found });
        }
        // Whether the value is one that the setting can have is told by what reads it, with this alone over what is right.
        let mut changed = self.table.clone();
        put(&mut changed, path, value.clone());
        if let Err(error) = changed.clone().try_into::<Config>() {
            return Err(ConfigError::Wrong {
                origin: origin.to_owned(),
                path: path.to_owned(),
                value: value.to_string(),
                what: error.message().to_owned(),
            });
        }
        self.table = changed;
        self.origins.push((path.to_owned(), origin.to_owned()));
        Ok(())
    }

    /// What came of it.
    pub(crate) fn config(self) -> Config {
        self.table.try_into().expect("each layer was checked when it was put over the others")
    }
}

const PREFIX: &str = "EVENTFOLD_";

/// Variables of that prefix that are not settings of a server.
const NOT_SETTINGS: [&str; 2] = ["EVENTFOLD_SERVER", "EVENTFOLD_TOKEN"];

fn put(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(table.insert(path.to_owned(), value)),
        Some((first, rest)) => {
            if let Some(Value::Table(inner)) = table.get_mut(first) {
                put(inner, rest, value);
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list",
        _ => "something else",
    }
}

/// The setting that was most likely meant.
fn similar(path: &str) -> String {
    let last = path.rsplit(['.', '_']).next().unwrap_or(path);
    let close = |known: &&str| known.replace('.', "_") == path.replace('.', "_") || known.ends_with(last);
    match SETTINGS.iter().map(|(known, _)| *known).find(close) {
        Some(known) => format!("; is {known} meant?"),
        None => "; `eventfold serve --print-config` shows all".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(layers: &mut Layers, name: &str, value: &str) -> Result<(), ConfigError> {
        layers.environment(std::iter::once((name.into(), value.into())))
    }

    #[expect(clippy::disallowed_methods, reason = "a configuration is a file")]
    fn with_file(text: &str) -> Result<Layers, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("eventfold.toml");
        std::fs::write(&path, text).unwrap();
        let mut layers = Layers::new();
        layers.file(&path)?;
        Ok(layers)
    }

    #[test]
    fn each_layer_is_stronger_than_the_ones_before() {
        let mut layers = with_file("listen = \"0.0.0.0:1\"\n[limits]\nconnections = 7\ncalls = 8\n").unwrap();
        env(&mut layers, "EVENTFOLD_LIMITS_CONNECTIONS", "9").unwrap();
        env(&mut layers, "EVENTFOLD_LISTEN", "0.0.0.0:2").unwrap();
        layers.set("listen = 0.0.0.0:3").unwrap();
        let config = layers.config();
        assert_eq!((config.limits.connections, config.limits.calls), (9, 8));
        assert_eq!(config.listen.port(), 3);
        assert_eq!(config.limits.event_bytes, Config::default().limits.event_bytes);
    }

    #[test]
    fn what_is_wrong_is_told_with_where_it_stands() {
        let told = |result: Result<(), ConfigError>| result.unwrap_err().to_string();
        let mut layers = Layers::new();
        assert_eq!(
            told(env(&mut layers, "EVENTFOLD_LIMITS_CONNECTIONS", "many")),
            "EVENTFOLD_LIMITS_CONNECTIONS: limits.connections has to be a whole number, not \"many\""
        );
        assert!(told(env(&mut layers, "EVENTFOLD_CONNECTIONS", "1")).contains("is limits.connections meant?"));
        assert!(told(layers.set("limits.connections=-1")).starts_with("--set: limits.connections is -1: "));
        assert!(told(layers.set("limits=1")).contains("there is no setting limits"));
        assert!(told(layers.set("nonsense")).contains("as in --set"));
        assert!(
            with_file("[limits]\nconections = 1\n").map(drop).unwrap_err().to_string().contains("there is no setting")
        );
        assert!(with_file("listen =").map(drop).unwrap_err().to_string().contains("eventfold.toml"));
        assert!(told(layers.file(Path::new("/nonexistent/x.toml"))).contains("could not read"));
        assert_eq!(layers.config(), Config::default());
    }
}
