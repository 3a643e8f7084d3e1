//! `eventfold token`: the tokens of a server.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use eventfold_server::{ClientEntry, Grant, Role, TokenEntry, TokenFile};
use serde_json::{Value, json};

use crate::exit::{Failure, code};
use crate::json::line;
use crate::output::{Output, Table, shown, write_all};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  eventfold token new --name billing --grant read:orders- --file tokens.toml
  eventfold token list --file tokens.toml
  eventfold token revoke billing --file tokens.toml
  eventfold serve --set auth.tokens=tokens.toml")]
pub(crate) enum Token {
    /// Make a token, and print it: this once. The file keeps its hash.
    New(New),
    /// Show what tokens there are, and what they give a right to.
    List(List),
    /// Take a token out of the file. Servers notice within seconds, and end its calls.
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eventfold token new --name billing --grant read:orders- --grant append:invoices- --file tokens.toml
  eventfold token new --name backup --grant admin: --expires 90d --file tokens.toml
  eventfold token new --name backup --grant admin: --file tokens.toml --json | jq -r .value

A grant is a role (read, append, admin) on the streams whose names begin with what stands behind the colon; with nothing \
behind it, on all. The file is made where there is none, for its owner alone, and written anew otherwise: comments in it are lost.")]
pub(crate) struct New {
    /// What the token is called: letters, digits, - and _.
    #[arg(long)]
    name: String,
    /// What it gives a right to, as in read:orders-; can be repeated.
    #[arg(long = "grant", value_name = "ROLE:PREFIX", required = true, value_parser = grant)]
    grants: Vec<Grant>,
    /// For how long it is good, as in 90d, 12h, 30m or 45s [default: for ever].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires: Option<u64>,
    /// The server's file of tokens: its setting auth.tokens.
    #[arg(long)]
    file: PathBuf,
    /// Answer in JSON: the token is its value.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  eventfold token list --file tokens.toml")]
pub(crate) struct List {
    /// The server's file of tokens: its setting auth.tokens.
    #[arg(long)]
    file: PathBuf,
    /// A line of JSON for each.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  eventfold token revoke billing --file tokens.toml")]
pub(crate) struct Revoke {
    /// What it is called: the part before the dot.
    name: String,
    /// The server's file of tokens: its setting auth.tokens.
    #[arg(long)]
    file: PathBuf,
    /// Answer in JSON, with what it gave a right to.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(token: &Token) -> Result<(), Failure> {
    match token {
        Token::New(args) => new(args),
        Token::List(args) => list(&read(&args.file)?, args.json),
        Token::Revoke(args) => revoke(args),
    }
}

fn new(args: &New) -> Result<(), Failure> {
    let expires = args.expires.map(|seconds| unix_seconds().saturating_add(seconds));
    let (token, entry) = TokenEntry::new(&args.name, random()?, args.grants.clone(), expires);
    let answer = if args.json {
        let mut facts = facts(&entry);
        facts["value"] = json!(token);
        line(&facts)
    } else {
        token
    };
    change(&args.file, |file| {
        if file.tokens.iter().any(|other| other.name == args.name) {
            let what = format!("{}: there is a token {} already", args.file.display(), args.name);
            return Err(Failure::new(code::CONFLICT, what));
        }
        file.tokens.push(entry);
        file.check().map_err(|error| Failure::new(code::USAGE, error.to_string()))
    })?;
    write_all(format!("{answer}\n").as_bytes())
}

/// Grants as they are given on the command line.
fn texts(grants: &[Grant]) -> Vec<String> {
    grants.iter().map(|grant| format!("{}:{}", role(grant.role), grant.prefix)).collect()
}

/// What anybody may know of a token.
fn facts(TokenEntry { name, expires, grants, .. }: &TokenEntry) -> Value {
    json!({"token": name, "expires": expires, "grants": texts(grants)})
}

fn list(file: &TokenFile, as_json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    if as_json {
        for token in &file.tokens {
            output.line(&line(&facts(token)))?;
        }
        for ClientEntry { dns, grants } in &file.clients {
            output.line(&line(&json!({"client": dns, "grants": texts(grants)})))?;
        }
        return output.flush();
    }
    let now = unix_seconds();
    let mut table = Table::new(&["KIND", "NAME", "GOOD", "GRANTS"]);
    let mut row = |kind: &str, name: &str, good: String, grants: &[Grant]| {
        table.row(&mut output, vec![kind.to_owned(), shown(name), good, shown(&texts(grants).join(" "))])
    };
    for TokenEntry { name, expires, grants, .. } in &file.tokens {
        row("token", name, remaining(*expires, now), grants)?;
    }
    for ClientEntry { dns, grants } in &file.clients {
        row("client", dns, "by its certificate".to_owned(), grants)?;
    }
    table.show(&mut output)?;
    output.flush()
}

fn revoke(args: &Revoke) -> Result<(), Failure> {
    let mut answer = String::new();
    change(&args.file, |file| {
        let Some(index) = file.tokens.iter().position(|token| token.name == args.name) else {
            let what = format!("{}: there is no token {}", args.file.display(), args.name);
            return Err(Failure::new(code::NOT_FOUND, what));
        };
        // A file that has a name twice is not taken when it is read.
        answer = line(&facts(&file.tokens.remove(index)));
        Ok(())
    })?;
    if args.json { write_all(format!("{answer}\n").as_bytes()) } else { Ok(()) }
}

/// `role:prefix`.
fn grant(text: &str) -> Result<Grant, String> {
    let form = || {
        "it has to be read, append or admin, a colon, and what the names of streams begin with: read:orders-, or read: for all"
            .to_owned()
    };
    let (name, prefix) = text.split_once(':').ok_or_else(form)?;
    let role = [Role::Read, Role::Append, Role::Admin].into_iter().find(|known| role(*known) == name);
    Ok(Grant { role: role.ok_or_else(form)?, prefix: prefix.to_owned() })
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Read => "read",
        Role::Append => "append",
        Role::Admin => "admin",
    }
}

const DAY_S: u64 = 24 * HOUR_S;
const HOUR_S: u64 = 60 * MINUTE_S;
const MINUTE_S: u64 = 60;

/// A number and a unit, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let units = [('d', DAY_S), ('h', HOUR_S), ('m', MINUTE_S), ('s', 1)];
    let parse = || {
        let (number, unit) = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(*name)?, *unit)))?;
        number.parse::<u64>().ok()?.checked_mul(unit).filter(|seconds| *seconds > 0)
    };
    parse().ok_or_else(|| "it has to be a number and d, h, m or s, as in 90d".to_owned())
}

/// How long a token is good still.
fn remaining(expires: Option<u64>, now: u64) -> String {
    let Some(left) = expires.map(|expires| expires.saturating_sub(now)) else { return "for ever".to_owned() };
    match left {
        0 => "expired".to_owned(),
        DAY_S.. => format!("{} d left", left / DAY_S),
        HOUR_S.. => format!("{} h left", left / HOUR_S),
        _ => format!("{left} s left"),
    }
}

#[expect(clippy::disallowed_methods, reason = "when a token expires is a time of the calendar")]
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[expect(clippy::disallowed_methods, reason = "nobody may foresee a token")]
fn random() -> Result<[u8; 32], Failure> {
    let mut random = [0; 32];
    let filled = getrandom::fill(&mut random);
    filled.map_err(|error| Failure::new(code::FAILED, format!("the system gives no random numbers: {error}")))?;
    Ok(random)
}

fn unusable(path: &Path, what: impl std::fmt::Display) -> Failure {
    Failure::new(code::FAILED, format!("{}: {what}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "the tokens are a file that is not the store's")]
fn read(path: &Path) -> Result<TokenFile, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| unusable(path, error))?;
    TokenFile::parse(&text).map_err(|error| unusable(path, error))
}

/// Changes a file, which others see as it was or as it is after, and nothing between. One that is not there is made by a change
/// that succeeds.
#[expect(clippy::disallowed_methods, reason = "the tokens are a file that is not the store's")]
fn change(path: &Path, change: impl FnOnce(&mut TokenFile) -> Result<(), Failure>) -> Result<(), Failure> {
    // Where the file is a link, what it leads to is changed.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = path.clone().into_os_string();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // It is made before the file is read, and only where it is not there: so of two who change the file at once, one is told.
    let mut written = options.open(&new).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(
            code::RETRY,
            format!(
                "{} is there: the tokens are being changed. If nobody does, it was left behind: remove it",
                new.display()
            ),
        ),
        _ => unusable(&new, error),
    })?;
    let done = (|| {
        let mut file = match path.try_exists() {
            Ok(false) => TokenFile::default(),
            _ => read(&path)?,
        };
        change(&mut file)?;
        written.write_all(file.to_text().as_bytes()).map_err(|error| unusable(&new, error))?;
        written.sync_all().map_err(|error| unusable(&new, error))?;
        keep_owner(&path, &new).map_err(|error| unusable(&new, error))?;
        std::fs::rename(&new, &path).map_err(|error| unusable(&path, error))?;
        sync_directory_of(&path)
    })();
    if done.is_err() {
        // It may be in its place already, so that there is nothing to remove.
        let _ = std::fs::remove_file(&new);
    }
    done
}

/// Gives the new file to whom the one before belongs: a server that could not read it would go on by what was in force before.
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "the tokens are a file that is not the store's")]
fn keep_owner(path: &Path, new: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let Ok(was) = std::fs::metadata(path) else { return Ok(()) };
    let is = std::fs::metadata(new)?;
    if (was.uid(), was.gid()) != (is.uid(), is.gid()) {
        chown(new, Some(was.uid()), Some(was.gid()))?;
    }
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
fn keep_owner(_: &Path, _: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Has the disk keep the new name: a token that was revoked must not come back with the power.
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "the tokens are a file that is not the store's")]
fn sync_directory_of(path: &Path) -> Result<(), Failure> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = std::fs::File::open(parent).and_then(|directory| directory.sync_all());
    synced.map_err(|error| unusable(parent, error))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
fn sync_directory_of(_: &Path) -> Result<(), Failure> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_a_role_and_a_prefix() {
        let right = |role, prefix: &str| Ok(Grant { role, prefix: prefix.to_owned() });
        assert_eq!(grant("read:orders-"), right(Role::Read, "orders-"));
        assert_eq!(grant("append:a:b"), right(Role::Append, "a:b"));
        assert_eq!(grant("admin:"), right(Role::Admin, ""));
        for wrong in ["", "read", "orders-", ":orders-", "Read:a", "write:a", " read:a"] {
            assert!(grant(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        assert_eq!(seconds("90d"), Ok(90 * 86_400));
        assert_eq!((seconds("2h"), seconds("3m"), seconds("4s")), (Ok(7200), Ok(180), Ok(4)));
        for wrong in ["", "d", "90", "-1d", "1.5h", "0s", "1w", "99999999999999999d", "\u{e9}"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(remaining(None, 5), "for ever");
        assert_eq!(remaining(Some(5), 5), "expired");
        assert_eq!(remaining(Some(5 + DAY_S), 5), "1 d left");
    }
}
