//! Leaves single rules out of the store, one at a time, and sees that the tests notice: each change of `list/*.toml` is made in a
//! copy of the tree, and one of the tests that the list names for it has to fail.
//!
//! What this is for, and what the last whole run came to, stands in `docs/TESTING.md`.

#![expect(
    clippy::disallowed_methods,
    reason = "a program for developers: it copies files, starts processes and tells how long they took"
)]

mod list;
mod report;
mod run;
mod scratch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use list::{Killer, Mutant};
use report::{Outcome, Report};
use run::Ran;
use scratch::{Scratch, Tree};

const USAGE: &str = "\
Usage: eventfold-mutants [--check] [--only TEXT]... [--shard K/N] [--scratch DIR]

    --check         only see that every change still applies to the tree
    --only TEXT     the mutants whose name contains TEXT
    --shard K/N     the Kth of N parts of the list, from 1
    --scratch DIR   where the copy is built; target/mutants if not given, and kept for the next run";

/// What a command may take beyond several times what it took without a change: more is a hang. libtest names the tests that
/// run for longer than a minute, so this is more than that.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Default)]
struct Options {
    check: bool,
    only: Vec<String>,
    shard: Option<(usize, usize)>,
    scratch: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("{wrong}\n\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match execute(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--check" => options.check = true,
            "--only" => options.only.push(value()?),
            "--shard" => options.shard = Some(shard(&value()?).ok_or("a shard is K/N, with K from 1 to N")?),
            "--scratch" => options.scratch = Some(value()?.into()),
            _ => return Err(format!("{argument} is no option")),
        }
    }
    Ok(options)
}

fn shard(text: &str) -> Option<(usize, usize)> {
    let (k, n) = text.split_once('/')?;
    let (k, n) = (k.parse().ok()?, n.parse().ok()?);
    (1..=n).contains(&k).then_some((k, n))
}

/// Returns whether all was as the list says.
fn execute(options: &Options) -> Result<bool, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let all = list::load(&root.join("tests/mutants/list"))?;
    let tree = Tree::new(&root)?;
    let failures: Vec<String> = all.iter().filter_map(|mutant| mutant.apply_to(&tree).err()).collect();
    if !failures.is_empty() {
        return Err(failures.join("\n"));
    }
    println!("all {} mutants apply", all.len());
    if options.check {
        return Ok(true);
    }
    let chosen = choose(&all, options);
    if chosen.is_empty() {
        return Err("no mutant is chosen".to_owned());
    }
    let scratch = options.scratch.clone().unwrap_or_else(|| root.join("target/mutants"));
    let scratch = Scratch::new(tree, &scratch)?;
    let mut campaign = Campaign { scratch, limits: BTreeMap::new() };
    // Now, while nothing is changed: later each would have to be built once more for it. The others may never be asked.
    for mutant in &chosen {
        campaign.limit(&mutant.killers[0])?;
    }
    let mut report = Report::default();
    for (number, mutant) in chosen.iter().enumerate() {
        let begun = Instant::now();
        let outcome = campaign.outcome(mutant)?;
        let seconds = begun.elapsed().as_secs_f32();
        println!("[{:>3}/{}] {seconds:>6.1} s  {}: {outcome}", number + 1, chosen.len(), mutant.name);
        report.add(mutant, outcome);
    }
    Ok(report.print())
}

fn choose<'a>(all: &'a [Mutant], options: &Options) -> Vec<&'a Mutant> {
    let named =
        |mutant: &&Mutant| options.only.is_empty() || options.only.iter().any(|text| mutant.name.contains(text));
    let chosen: Vec<&Mutant> = all.iter().filter(named).collect();
    let (k, n) = options.shard.unwrap_or((1, 1));
    chosen[chosen.len() * (k - 1) / n..chosen.len() * k / n].to_vec()
}

/// One mutant after the other.
struct Campaign {
    scratch: Scratch,
    /// How long each killer may take that was seen to pass without a change.
    limits: BTreeMap<Killer, Duration>,
}

impl Campaign {
    /// Makes the change, looks for the first of its killers that fails, and takes the change back.
    fn outcome(&mut self, mutant: &Mutant) -> Result<Outcome, String> {
        let outcome = self.first_killer(mutant);
        // Not the file alone: a property test that fails leaves the seed of its case beside the test.
        self.scratch.restore()?;
        outcome
    }

    fn first_killer(&mut self, mutant: &Mutant) -> Result<Outcome, String> {
        for killer in &mutant.killers {
            let limit = self.limit(killer)?;
            self.scratch.write(&mutant.file, &mutant.apply_to(self.scratch.tree())?)?;
            if let Err(output) = run::build(&self.scratch, killer) {
                return Ok(Outcome::Invalid(output));
            }
            match run::test(&self.scratch, killer, Some(limit)) {
                Ran::Passed | Ran::NoTest => {}
                Ran::Failed(test) => return Ok(Outcome::Killed(killer.clone(), format!("`{test}`"))),
                Ran::Hung(test) => return Ok(Outcome::Killed(killer.clone(), format!("`{test}` hangs"))),
            }
        }
        Ok(Outcome::Survived)
    }

    /// How long a killer may take. When it is asked for the first time, it has to pass without any change.
    fn limit(&mut self, killer: &Killer) -> Result<Duration, String> {
        if let Some(limit) = self.limits.get(killer) {
            return Ok(*limit);
        }
        self.scratch.restore()?;
        run::build(&self.scratch, killer).map_err(|output| format!("{killer} can't be built unchanged:\n{output}"))?;
        let begun = Instant::now();
        match run::test(&self.scratch, killer, None) {
            Ran::Passed => {}
            Ran::NoTest => return Err(format!("{killer} runs no test")),
            Ran::Failed(test) | Ran::Hung(test) => return Err(format!("{killer} fails without any change: {test}")),
        }
        println!("unchanged {:>6.1} s  {killer}", begun.elapsed().as_secs_f32());
        let limit = PATIENCE + 5 * begun.elapsed();
        self.limits.insert(killer.clone(), limit);
        Ok(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_the_list_once_and_in_order() {
        let all: Vec<Mutant> = (0..10).map(|number| Mutant::named(&format!("number {number}"))).collect();
        let mut seen = Vec::new();
        for k in 1..=3 {
            let options = parse(["--shard".to_owned(), format!("{k}/3")].into_iter()).unwrap();
            seen.extend(choose(&all, &options).iter().map(|mutant| mutant.name.clone()));
        }
        assert_eq!(seen, all.iter().map(|mutant| mutant.name.clone()).collect::<Vec<_>>());
        assert!(parse(["--shard".to_owned(), "4/3".to_owned()].into_iter()).is_err());
    }
}
