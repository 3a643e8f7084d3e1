//! What came of each change, and the table of it.

use std::fmt;

use crate::list::{Killer, Mutant};

/// What came of a change.
pub(crate) enum Outcome {
    /// Which tests noticed, and the first of them.
    Killed(Killer, String),
    Survived,
    /// It can't be built: what the compiler says.
    Invalid(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(killer, test) => write!(f, "{}/{} {test}", killer.package, killer.target),
            Self::Survived => write!(f, "nothing notices"),
            Self::Invalid(output) => write!(f, "can't be built\n{output}"),
        }
    }
}

/// What came of all of them.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<String>,
    killed: usize,
    wrong: Vec<String>,
}

impl Report {
    pub(crate) fn add(&mut self, mutant: &Mutant, outcome: Outcome) {
        let name = &mutant.name;
        let told = match (outcome, &mutant.survives) {
            (Outcome::Killed(killer, test), survives) => {
                self.killed += 1;
                if survives.is_some() {
                    self.wrong.push(format!("\"{name}\" is noticed, and marked as one that is not"));
                }
                format!("{}/{} | {test}", killer.package, killer.target)
            }
            (Outcome::Survived, Some(reason)) => format!("| nothing: {reason}"),
            (Outcome::Survived, None) => {
                self.wrong.push(format!("\"{name}\" is not noticed"));
                "| **nothing**".to_owned()
            }
            (Outcome::Invalid(_), _) => {
                self.wrong.push(format!("\"{name}\" can't be built"));
                "| **can't be built**".to_owned()
            }
        };
        self.rows.push(format!("| {name} | {told} |"));
    }

    /// Prints the table and what is wrong. Returns whether nothing is.
    pub(crate) fn print(&self) -> bool {
        println!("\n| what is left out | where | what fails |\n|---|---|---|");
        for row in &self.rows {
            println!("{row}");
        }
        println!("\n{} mutants, {} of them noticed", self.rows.len(), self.killed);
        for wrong in &self.wrong {
            println!("WRONG: {wrong}");
        }
        self.wrong.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_survivors_with_a_reason_may_survive_and_only_they() {
        let (plain, marked) =
            (Mutant::named("a"), Mutant { survives: Some("it is equal".to_owned()), ..Mutant::named("b") });
        let killed = || {
            let killer = Killer::try_from("store/faults".to_owned()).unwrap();
            Outcome::Killed(killer, "`t`".to_owned())
        };
        for (mutant, outcome, right) in [
            (&plain, killed(), true),
            (&plain, Outcome::Survived, false),
            (&plain, Outcome::Invalid(String::new()), false),
            (&marked, Outcome::Survived, true),
            (&marked, killed(), false),
        ] {
            let mut report = Report::default();
            report.add(mutant, outcome);
            assert_eq!(report.print(), right);
        }
    }
}
