//! The tables that are printed.

use std::fmt;

use crate::damage::Kind;
use crate::engine::version;
use crate::golden::{Golden, Image};
use crate::judge::Class;
use crate::sweep::{Asked, Outcome};

/// Everything that became of everything.
pub(crate) struct Tables {
    asked: String,
    engines: Vec<(&'static str, &'static str)>,
    /// Engine, store, its files and their bytes, and the outcomes.
    sweeps: Vec<(&'static str, Golden, String, Vec<Outcome>)>,
}

impl Tables {
    pub(crate) fn new(asked: &Asked) -> Self {
        let asked = format!("seed {}, {:?}", asked.seed, asked.budget);
        Self { asked, engines: Vec::new(), sweeps: Vec::new() }
    }

    pub(crate) fn add(
        &mut self,
        engine: &'static str,
        package: &'static str,
        golden: Golden,
        store: &Image,
        outcomes: Vec<Outcome>,
    ) {
        if !self.engines.contains(&(engine, package)) {
            self.engines.push((engine, package));
        }
        let (bytes, blocks) = store
            .files
            .values()
            .fold((0, 0), |(bytes, blocks), content| (bytes + content.len, blocks + content.dense_blocks(512).len()));
        let size = format!(
            "{} files, {bytes} bytes, {} of them in blocks of 512 that are not all zeroes",
            { store.files.len() },
            blocks * 512
        );
        self.sweeps.push((engine, golden, size, outcomes));
    }
}

const COLUMNS: &str = "cases | unharmed | healed | end told | earlier end told | told | refused | rolled back | **missing** | **wrong** | of these two: told in \
                       its log | told by its check | **crashed** |";

fn row<'a>(name: &str, outcomes: impl Iterator<Item = &'a Outcome>) -> String {
    let outcomes: Vec<&Outcome> = outcomes.collect();
    let all = outcomes.len();
    let percent = |count: usize| {
        let tenths = (count * 1000 + all / 2) / all.max(1);
        if count == 0 { "0".to_owned() } else { format!("{count} ({}.{} %)", tenths / 10, tenths % 10) }
    };
    let mut cells = vec![name.to_owned(), all.to_string()];
    let class = |class: Class| percent(outcomes.iter().filter(|outcome| outcome.class == class).count());
    cells.extend(Class::ALL[..9].iter().map(|one| class(*one)));
    let silent = || outcomes.iter().filter(|outcome| outcome.class.is_silent());
    cells.push(silent().filter(|outcome| outcome.logged).count().to_string());
    cells.push(silent().filter(|outcome| outcome.check_tells).count().to_string());
    cells.push(class(Class::Crashed));
    format!("| {} |", cells.join(" | "))
}

fn head(f: &mut fmt::Formatter<'_>, first: &str) -> fmt::Result {
    writeln!(f, "| {first} | {COLUMNS}\n|{}", "---|".repeat(COLUMNS.matches('|').count() + 1))
}

impl fmt::Display for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.asked)?;
        for (engine, package) in &self.engines {
            writeln!(f, "- {engine}: {package} {}", version(package))?;
        }
        writeln!(f, "- `SQLite` itself: {}", rusqlite::version())?;
        for golden in Golden::ALL {
            let of_it = || self.sweeps.iter().filter(|(_, of, ..)| *of == golden);
            if of_it().next().is_none() {
                continue;
            }
            writeln!(f, "\n## {}\n", golden.name())?;
            for (engine, _, size, _) in of_it() {
                writeln!(f, "- {engine}: {size}")?;
            }
            writeln!(f)?;
            head(f, "engine")?;
            for (engine, _, _, outcomes) in of_it() {
                writeln!(f, "{}", row(engine, outcomes.iter()))?;
            }
        }
        writeln!(f, "\n## In sum\n")?;
        head(f, "engine")?;
        let of = |engine: &'static str| {
            let sweeps = self.sweeps.iter().filter(move |(of, ..)| *of == engine);
            sweeps.flat_map(|(_, _, _, outcomes)| outcomes)
        };
        for (engine, _) in &self.engines {
            writeln!(f, "{}", row(engine, of(engine)))?;
        }
        for kind in Kind::ALL {
            writeln!(f, "\n## {}\n", kind.name())?;
            head(f, "engine")?;
            for (engine, _) in &self.engines {
                writeln!(f, "{}", row(engine, of(engine).filter(|outcome| outcome.kind == kind)))?;
            }
        }
        Ok(())
    }
}
