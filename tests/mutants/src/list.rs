//! The list of changes.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::scratch::Tree;

/// A change that leaves one rule out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutant {
    /// What is left out, or what is done instead of what is right.
    pub(crate) name: String,
    /// The file that is changed, from the root of the tree.
    pub(crate) file: String,
    /// The text that is replaced, as it stands there.
    pub(crate) old: String,
    /// What stands there instead.
    pub(crate) new: String,
    /// Which of several places it is, from 1. Where it is not given, there must be one.
    pub(crate) nth: Option<usize>,
    /// What may notice, the most likely first.
    pub(crate) killers: Vec<Killer>,
    /// Why none of them does.
    pub(crate) survives: Option<String>,
}

/// The tests of a crate's library, or of one of its test files; all of them, or those whose name contains the filter.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub(crate) struct Killer {
    pub(crate) package: String,
    pub(crate) target: String,
    pub(crate) filter: Option<String>,
}

impl TryFrom<String> for Killer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (place, filter) = text.split_once(' ').map_or((&*text, None), |(place, filter)| (place, Some(filter)));
        let (package, target) = place.split_once('/').ok_or(format!("{text} is not CRATE/TARGET [FILTER]"))?;
        Ok(Self { package: package.to_owned(), target: target.to_owned(), filter: filter.map(str::to_owned) })
    }
}

impl fmt::Display for Killer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.package, self.target)?;
        self.filter.as_ref().map_or(Ok(()), |filter| write!(f, " {filter}"))
    }
}

impl Mutant {
    /// The text of the changed file.
    pub(crate) fn apply_to(&self, tree: &Tree) -> Result<String, String> {
        let text = tree.text(&self.file).ok_or(format!("\"{}\": there is no text {}", self.name, self.file))?;
        let applied = self.apply(text);
        applied.map_err(|what| format!("\"{}\" no longer applies: {} has its text {what}", self.name, self.file))
    }

    fn apply(&self, text: &str) -> Result<String, String> {
        let places: Vec<usize> = text.match_indices(&self.old).map(|(at, _)| at).collect();
        let place = match (self.nth, &*places) {
            (None, [place]) => Some(place),
            (None, _) => None,
            (Some(nth), places) => places.get(nth.wrapping_sub(1)),
        };
        let Some(place) = place else { return Err(format!("{} times", places.len())) };
        Ok([&text[..*place], &self.new, &text[place + self.old.len()..]].concat())
    }

    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            file: String::new(),
            old: "old".to_owned(),
            new: "new".to_owned(),
            nth: None,
            killers: Vec::new(),
            survives: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListFile {
    mutant: Vec<Mutant>,
}

/// All mutants of the files in this directory, in the order of the files' names.
pub(crate) fn load(directory: &Path) -> Result<Vec<Mutant>, String> {
    let told = |error: std::io::Error| format!("{}: {error}", directory.display());
    let entries = fs::read_dir(directory).map_err(told)?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(told)?;
    files.sort();
    let mut mutants: Vec<Mutant> = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(told)?;
        let list: ListFile = toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        for mutant in list.mutant {
            if mutants.iter().any(|other| other.name == mutant.name) {
                return Err(format!("two mutants are named \"{}\"", mutant.name));
            }
            if mutant.killers.is_empty() || mutant.old == mutant.new {
                return Err(format!("\"{}\" has no killers, or changes nothing", mutant.name));
            }
            mutants.push(mutant);
        }
    }
    Ok(mutants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_to_stand_where_it_is_said_to() {
        let mutant = Mutant::named("one");
        assert_eq!(mutant.apply("an old one"), Ok("an new one".to_owned()));
        assert_eq!(mutant.apply("none"), Err("0 times".to_owned()));
        assert_eq!(mutant.apply("old and old"), Err("2 times".to_owned()));
        let second = Mutant { nth: Some(2), ..mutant };
        assert_eq!(second.apply("old and old"), Ok("old and new".to_owned()));
        assert_eq!(second.apply("old"), Err("1 times".to_owned()));
        assert!(Mutant { nth: Some(0), ..second }.apply("old").is_err());
    }

    #[test]
    fn a_killer_is_told_as_it_is_read() {
        for text in ["codec/lib", "store/faults any_sync may"] {
            assert_eq!(Killer::try_from(text.to_owned()).unwrap().to_string(), text);
        }
        assert!(Killer::try_from("faults".to_owned()).is_err());
    }
}
