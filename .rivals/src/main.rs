//! Damages stores of several engines in the same ways, one thing at a time, and tells what each engine makes of it.
//!
//! `cargo run --release -- sweep DIRECTORY` makes the stores in that directory, which is best on a file system in memory, and
//! prints tables. What is damaged, and what the outcomes mean, stands in `docs/TESTING.md`.

mod damage;
mod engine;
mod engines;
mod golden;
mod judge;
mod random;
mod sweep;
mod table;
mod worker;

use std::path::Path;

use damage::Budget;
use golden::Golden;
use sweep::Asked;

const USAGE: &str = "\
corruption sweep DIRECTORY [--seed N] [--bits N|all] [--cuts N|all] [--blocks N|all] [--engine NAME] [--store NAME] [--reuse]
    makes the stores in the directory, damages copies of them, and prints what became of each
    --reuse takes the stores that are there";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["sweep", directory, ref options @ ..] => sweep::sweep(&asked(directory, options)),
        // What the sweep starts as processes of their own.
        ["build", engine, golden, seed, directory, older] => {
            let seed = seed.parse().expect("a seed is a number");
            golden::build(&*engine::named(engine), Golden::named(golden), seed, Path::new(directory), Path::new(older));
        }
        ["worker", engine, golden, from, directory, ref options @ ..] => {
            let from = from.parse().expect("the number of a case");
            worker::work(&*engine::named(engine), Golden::named(golden), from, &asked(directory, options));
        }
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    }
}

fn asked(directory: &str, options: &[&str]) -> Asked {
    let mut asked = Asked {
        directory: directory.into(),
        seed: 1,
        budget: Budget { bits: 3000, cuts: 500, blocks: 300 },
        engine: None,
        golden: None,
        reuse: false,
    };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        if *option == "--reuse" {
            asked.reuse = true;
            continue;
        }
        let value = options.next().unwrap_or_else(|| panic!("{option} needs a value"));
        let count = || if *value == "all" { u64::MAX } else { value.parse().expect("a number, or all") };
        match *option {
            "--seed" => asked.seed = count(),
            "--bits" => asked.budget.bits = count(),
            "--cuts" => asked.budget.cuts = count(),
            "--blocks" => asked.budget.blocks = count(),
            "--engine" => asked.engine = Some((*value).to_owned()),
            "--store" => asked.golden = Some(Golden::named(value)),
            _ => panic!("{option} is no option\n{USAGE}"),
        }
    }
    asked
}
