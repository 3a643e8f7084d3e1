//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use eventfold_client::{ExpectedVersion, Uuid};

use crate::criteria::Criteria;
use crate::exit::Failure;
use crate::output::write_all;

use crate::command::token::Token;

/// An append-only event store.
#[derive(Debug, Parser)]
#[command(name = "eventfold", version, after_help = AFTER)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
Examples:
  eventfold append account-7 Opened '{\"owner\":\"ann\"}'   makes ./eventfold-data where there is none
  eventfold read                                        shows what is in it
  eventfold serve                                       serves it: see --server of the others

Exit codes: 0 done, 1 failed, 2 wrong usage or request, 3 conflict, 4 not found, 5 try again, 6 it is not known whether the \
append stands, 7 the store is damaged.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a store to clients, until it is told to stop by SIGTERM or Ctrl-C.
    Serve(Serve),
    /// Append an event, or many from standard input.
    Append(Append),
    /// Show the events of a stream, or of the whole log.
    Read(Read),
    /// Show the events that match a query.
    Query(Query),
    /// Follow a server: show events as they come, until Ctrl-C.
    Tail(Tail),
    /// List the streams that have names.
    Streams(Streams),
    /// Say how a store is, or a server.
    Stats(Stats),
    /// Read all of a store, and say what of it is damaged.
    Verify(Verify),
    /// Cut a store that is damaged back to what is intact.
    Repair(Repair),
    /// Copy a store, while it goes on, to a directory of backups.
    Backup(Backup),
    /// Make a store of a backup.
    Restore(Restore),
    /// Write events out as lines of JSON, with all that belongs to them.
    Export(Export),
    /// Append what was exported, with the same ids, times and versions.
    Import(Import),
    /// Measure what this disk gives, and what the store makes of it.
    Bench(Bench),
    /// Make, list and revoke the tokens of a server.
    #[command(subcommand)]
    Token(Token),
    /// Print a script that completes this command in a shell.
    #[command(after_help = "\
Examples:
  eventfold completions bash > ~/.local/share/bash-completion/completions/eventfold
  eventfold completions fish > ~/.config/fish/completions/eventfold.fish
  source <(eventfold completions zsh)                  for the shell that is open")]
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold serve                                   a store in ./eventfold-data, on 127.0.0.1:2113
  eventfold serve --data /srv/events --config /etc/eventfold.toml
  eventfold serve --set limits.connections=100 --print-config
  eventfold serve --listen 0.0.0.0:2113 --set tls.certificate=server.pem --set tls.key=server.key --set auth.tokens=tokens.toml

Settings come from the file, then from variables such as EVENTFOLD_LIMITS_CONNECTIONS, then from --set, then from the \
options below; the later ones are stronger.")]
pub(crate) struct Serve {
    /// A file with settings; `--print-config` shows one.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The directory of the store [default: ./eventfold-data].
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) data: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:2113].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Any setting, as in limits.connections=100; can be repeated.
    #[arg(long, value_name = "SETTING=VALUE")]
    pub(crate) set: Vec<String>,
    /// Listen without TLS where other machines can reach it.
    #[arg(long)]
    pub(crate) allow_plaintext: bool,
    /// Print all settings as a file, and end.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Say whether the settings are right, and end.
    #[arg(long, conflicts_with = "print_config")]
    pub(crate) check_config: bool,
}

const DATA: &str = "The directory of the store [or: EVENTFOLD_DATA] [default: ./eventfold-data]";

/// Which store: a directory, or a server.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Which store")]
pub(crate) struct Where {
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "server", help = DATA)]
    pub(crate) data: Option<PathBuf>,
    #[arg(long, value_name = "URL", help = "A server instead, as in http://127.0.0.1:2113 [or: EVENTFOLD_SERVER]")]
    pub(crate) server: Option<String>,
    #[arg(
        long,
        value_name = "FILE",
        help = "A file with the token by which the server knows who asks [or: the token in EVENTFOLD_TOKEN]"
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// How many seconds to wait for a server's answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
    /// Certificates to trust, as PEM, where the server is https.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// A certificate of one's own, as PEM, where the server asks for one.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Its key, as PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold append account-7 Opened '{\"owner\":\"ann\"}' --tag owner:ann --expect none
  eventfold append account-7 StatementSent --payload-file statement.pdf
  eventfold read --json | eventfold append --stdin --data ./another

--stdin takes JSON, one event a line, as `read --json` shows them: {\"stream\":\"account-7\",\"type\":\"Opened\",\"payload\":\"{}\"}. \
There have to be a type, and a stream or stream_id; tags, metadata, payload and id can be left out; position, version and time are the \
store's own. Lines are appended in their order, those that are there at once together: all of them or none.")]
pub(crate) struct Append {
    /// The stream: a name, or a UUID.
    #[arg(required_unless_present = "stdin")]
    pub(crate) stream: Option<String>,
    /// The event's type.
    #[arg(value_name = "TYPE", required_unless_present = "stdin")]
    pub(crate) event_type: Option<String>,
    /// The event's contents; - for standard input.
    pub(crate) payload: Option<String>,
    /// A file with the contents.
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    pub(crate) payload_file: Option<PathBuf>,
    /// What is to be said about the event.
    #[arg(long, value_name = "TEXT")]
    pub(crate) metadata: Option<String>,
    /// What the event is about, to find it by; can be repeated.
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// The event's id, which makes it safe to repeat the command.
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<Uuid>,
    /// What has to hold of the stream: any, none (it is new), exists, or the version of its last event.
    #[arg(long, value_name = "VERSION", default_value = "any", value_parser = expected)]
    pub(crate) expect: ExpectedVersion,
    /// Append events from standard input, one a line, as JSON.
    #[arg(long, conflicts_with_all = ["stream", "event_type", "payload", "payload_file", "metadata", "tag", "id", "expect"])]
    pub(crate) stdin: bool,
    /// Answer in JSON, one event a line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

fn expected(text: &str) -> Result<ExpectedVersion, String> {
    Ok(match text {
        "any" => ExpectedVersion::Any,
        "none" => ExpectedVersion::NoStream,
        "exists" => ExpectedVersion::Exists,
        version => {
            let version = version.parse();
            ExpectedVersion::Exact(version.map_err(|_| "it has to be any, none, exists, or a number".to_owned())?)
        }
    })
}

/// Which part of what there is.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Part {
    /// The first to show: a position, or where `read` or `tail` names a stream, a version [default: the first; with
    /// --backward, the last].
    #[arg(long, value_name = "NUMBER")]
    pub(crate) from: Option<u64>,
    /// How many to show at the most.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) count: Option<u64>,
    /// The latest first.
    #[arg(long)]
    pub(crate) backward: bool,
    /// Show all of each event in JSON, one a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold read                                 all events
  eventfold read account-7 --from 10 --count 5   versions 10 to 14
  eventfold read --backward --count 10 --json    the last ten, with all that is in them")]
pub(crate) struct Read {
    /// The stream: a name, or a UUID; all events without it.
    pub(crate) stream: Option<String>,
    #[command(flatten)]
    pub(crate) part: Part,
    #[command(flatten)]
    pub(crate) at: Where,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold query --type Opened --type Closed            of one type or the other
  eventfold query --prefix account- --tag owner:ann      of such streams, and with the tag
  eventfold query --type Opened --or --stream audit      of the type, or of the stream

An event matches that is of one of the types, has all of the tags, and is of the stream or prefix. --or begins another such \
set, of which one has to match.")]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) criteria: Criteria,
    #[command(flatten)]
    pub(crate) part: Part,
    #[command(flatten)]
    pub(crate) at: Where,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold tail --server http://127.0.0.1:2113                   all events, then what comes
  eventfold tail account-7 --from-end --server http://127.0.0.1:2113
  eventfold tail --tag owner:ann --json --count 1 --server http://127.0.0.1:2113

It goes on where it was when the server was restarted.")]
pub(crate) struct Tail {
    /// The stream: a name, or a UUID; all events without it, or those that match.
    pub(crate) stream: Option<String>,
    #[command(flatten)]
    pub(crate) criteria: Criteria,
    /// The first to show: a position, or of a stream, a version [default: the first].
    #[arg(long, value_name = "NUMBER", conflicts_with = "from_end")]
    pub(crate) from: Option<u64>,
    /// Show only what comes.
    #[arg(long)]
    pub(crate) from_end: bool,
    /// End after so many.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) count: Option<u64>,
    /// Show all of each event in JSON, one a line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  eventfold streams --prefix account- --json")]
pub(crate) struct Streams {
    /// Only those whose names begin so.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub(crate) prefix: String,
    /// Show them in JSON, one a line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold stats
  eventfold stats --server http://127.0.0.1:2113 --json")]
pub(crate) struct Stats {
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold verify --data /srv/events
  eventfold verify --server http://127.0.0.1:2113     while it is served
  eventfold verify --json | jq .findings

Nothing is changed. The exit code is 7 where something is damaged, also where that heals by itself.")]
pub(crate) struct Verify {
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold backup --to /backups/orders --server http://127.0.0.1:2113
  eventfold backup --to /backups/orders --data /srv/events --verify

Each backup is a directory in --to that is a store of its own, named by the time and by how far it goes. What does not change any \
more is shared with the one before, by hard links: so only what is new is copied, and old backups can be removed as directories \
are. The store may be served meanwhile; a directory that is not served is opened for it.")]
pub(crate) struct Backup {
    /// The directory of the backups: of one store.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) to: PathBuf,
    /// Read all of the backup again, what it shares included, and say what of it is damaged.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold restore /backups/orders --data /srv/events                          the newest
  eventfold restore /backups/orders/20260131T081500Z-1234 --data /srv/events

All of the backup is verified first, and nothing in it is changed. The store has the id that it had: only one of the two may go on \
to take appends.")]
pub(crate) struct Restore {
    /// A backup, or a directory of them, of which the newest is taken.
    pub(crate) backup: PathBuf,
    /// The directory of the store, which has to be empty or not there [default: as for the others].
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) data: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold export > events.jsonl
  eventfold export --server http://127.0.0.1:2113 | zstd > events.jsonl.zst
  eventfold export --from 1000 --server http://127.0.0.1:2113 >> events.jsonl

One event a line, as `read --json` shows them, with the position of the first event of its append as `append`. Appends are exported \
whole, also those that begin before --from or end behind --to. The last line says that it is the last: {\"exported_to\":1234}.")]
pub(crate) struct Export {
    /// The first position.
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    pub(crate) from: u64,
    /// The position behind the last [default: as far as the log goes].
    #[arg(long, value_name = "POSITION")]
    pub(crate) to: Option<u64>,
    #[command(flatten)]
    pub(crate) at: Where,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold import events.jsonl --data ./another
  zstd -dc events.jsonl.zst | eventfold import - --server http://127.0.0.1:2113

Events keep their ids, times, names and versions, and their positions where the log is empty or has what comes before them and \
nothing else. What is there already is passed over, so an import that was cut short is begun again. It ends before an append \
whose versions could not be kept, since a stream has other events.")]
pub(crate) struct Import {
    /// What was exported; - for standard input.
    pub(crate) file: PathBuf,
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold repair --data /srv/events                 says what would be lost, and changes nothing
  eventfold repair --data /srv/events --accept-loss   gives that up; what is given up is kept in a file beside

A store that opens needs no repair. Copy the directory first if you can: a backup, or another tool, may save more.")]
pub(crate) struct Repair {
    #[arg(long, value_name = "DIRECTORY", help = DATA)]
    pub(crate) data: Option<PathBuf>,
    /// Give up everything from the first damage on.
    #[arg(long)]
    pub(crate) accept_loss: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold bench                               the disk of the working directory
  eventfold bench --data /srv --size 2000 --seconds 60
  eventfold bench --callers 1 --callers 1000 --json
  eventfold bench --server http://127.0.0.1:2113 --yes

It writes to a directory of its own in --data, and removes it: what is appended meanwhile takes space. RAW is what the disk gives to one writer that writes as \
many bytes as the callers' appends take, and syncs them; RATIO is what the store makes of that.")]
pub(crate) struct Bench {
    /// How long all of it may take, about.
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Bytes of an event's contents.
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) size: u32,
    /// How many append at once, each waiting for its answer; can be repeated [default: 1, 64 and 256].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) callers: Vec<u32>,
    /// Append to a server, whose events stay.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Prints the script for a shell.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "eventfold", &mut script);
    write_all(&script)
}
