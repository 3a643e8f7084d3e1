//! Eventfold's server beside another one, under the same load in the same run.
//!
//! `beside DIRECTORY` has both make new stores in that directory, which has to be on a disk, and prints tables of what one does
//! beside the other. What is measured and how stands in `docs/PERFORMANCE.md`.
#![expect(clippy::cast_precision_loss, reason = "what is counted and timed here is far below 2^52")]

mod appending;
mod caller;
mod figures;
mod reading;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use server::Kind;

const USAGE: &str = "\
beside DIRECTORY [--turns N] [--turn-ms N] [--clients N,N,...]
    starts both servers on new stores in the directory, and prints how fast each is beside the other
    --turns     how often they take turns (5)
    --turn-ms   how long appends go on in one turn (1500)
    --clients   how many clients append at once (1,64,256)";

/// What was asked for.
struct Asked {
    directory: PathBuf,
    turns: u32,
    turn: Duration,
    clients: Vec<usize>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        // What is started as a process of its own.
        ["serve", kind, directory, address] => {
            server::serve(Kind::named(kind), Path::new(directory), address.parse().expect("an address"));
        }
        [directory, ref options @ ..] if !directory.starts_with('-') => {
            let asked = asked(directory, options);
            // Both servers have a runtime of as many threads.
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
            runtime.block_on(async {
                appending::run(&asked).await;
                reading::run(&asked).await;
            });
        }
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    }
}

fn asked(directory: &str, options: &[&str]) -> Asked {
    let mut asked =
        Asked { directory: directory.into(), turns: 5, turn: Duration::from_millis(1500), clients: vec![1, 64, 256] };
    for option in options.chunks(2) {
        let [option, value] = option else { panic!("{} needs a value\n{USAGE}", option[0]) };
        let number = |text: &str| {
            let number = text.parse::<u32>().ok().filter(|number| *number > 0);
            number.unwrap_or_else(|| panic!("{option}: {text} is no number from 1 on"))
        };
        let clients = |text| usize::try_from(number(text)).expect("a count fits the address space");
        match *option {
            "--turns" => asked.turns = number(value),
            "--turn-ms" => asked.turn = Duration::from_millis(number(value).into()),
            "--clients" => asked.clients = value.split(',').map(clients).collect(),
            _ => panic!("{option} is no option\n{USAGE}"),
        }
    }
    asked
}
