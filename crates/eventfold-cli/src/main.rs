//! The `eventfold` command.

mod args;
mod clock;
mod command;
mod config;
mod criteria;
mod exit;
mod json;
mod output;
mod progress;
mod serve;
mod signals;
mod target;
mod telemetry;

use clap::Parser;

use args::{Args, Command};
use exit::{Failure, code};

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let done = match args.command {
        Command::Serve(serve) => serve::run(&serve),
        Command::Append(append) => block_on(command::append::run(append)),
        Command::Read(read) => block_on(command::read::read(read)),
        Command::Query(query) => block_on(command::read::query(query)),
        Command::Tail(tail) => block_on(command::tail::run(tail)),
        Command::Streams(streams) => block_on(command::streams::run(streams)),
        Command::Stats(stats) => block_on(command::stats::run(stats)),
        Command::Verify(verify) => block_on(command::verify::run(verify)),
        Command::Repair(repair) => command::repair::run(&repair),
        Command::Backup(backup) => block_on(command::backup::run(backup)),
        Command::Restore(restore) => command::restore::run(&restore),
        Command::Export(export) => block_on(command::export::run(export)),
        Command::Import(import) => block_on(command::import::run(import)),
        Command::Bench(bench) => block_on(command::bench::run(bench)),
        Command::Token(token) => command::token::run(&token),
        Command::Completions { shell } => args::completions(shell),
    };
    done.map_or_else(Failure::report, |()| std::process::ExitCode::SUCCESS)
}

/// Runs a command that waits for others.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(code::FAILED, format!("no threads can be had: {error}")))?;
    runtime.block_on(command)
}
