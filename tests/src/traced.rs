//! What a process asks of the system, as strace sees it.

use std::env;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// In which directory the process works that is watched.
const WATCHED: &str = "EVENTFOLD_TEST_WATCHED";

/// The calls that are watched: making, writing, naming and syncing; and closing, of which only those that are to fail are of interest.
const CALLS: &str = "trace=mkdir,pwrite64,ftruncate,fallocate,rename,renameat,fsync,fdatasync,close";

/// A call that has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    /// A directory was made.
    Made(PathBuf),
    /// A file's bytes or its length were changed.
    Written(PathBuf),
    /// Something has another name.
    Renamed(PathBuf, PathBuf),
    /// A file or a directory was synced.
    Synced(PathBuf),
}

/// What keeps strace from being used with these arguments, if something does.
pub fn strace_lacks(arguments: &[&str]) -> Option<String> {
    let mut trace = Command::new("strace");
    trace.args(["-f", "-qq", "-o", "/dev/null"]).args(arguments).arg("true");
    match trace.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// In the process that is watched: the directory that it works in.
pub fn watched_directory() -> Option<PathBuf> {
    env::var_os(WATCHED).map(PathBuf::from)
}

/// Runs this test in one more process, which works in a directory and is watched, by a strace that is told some more. Returns what
/// it has asked for there, in its order; the error is what this machine lacks.
///
/// # Errors
///
/// Where there is no strace, or nobody may use it.
///
/// # Panics
///
/// If the process fails.
pub fn watch(test: &str, directory: &Path, told: &[&str]) -> Result<Vec<Traced>, String> {
    if let Some(missing) = strace_lacks(&["-y", "-e", CALLS]) {
        return Err(missing);
    }
    let this = env::current_exe().expect("a test knows its program");
    let calls = tempfile::NamedTempFile::new().expect("the system has a directory for what is temporary");
    // Long enough for every path. What is written is cut off there.
    let mut trace = Command::new("strace");
    trace.args(["-f", "-qq", "-y", "-s", "4096", "-e", CALLS, "-o"]).arg(calls.path());
    trace.args(told).arg(this).args([test, "--exact", "--nocapture"]).env(WATCHED, directory);
    let output = trace.output().expect("what could be probed can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let mut bytes = Vec::new();
    calls.reopen().and_then(|mut file| file.read_to_end(&mut bytes)).expect("strace has written what it saw");
    let seen = String::from_utf8_lossy(&bytes);
    let is_here = |traced: &Traced| match traced {
        Traced::Made(path) | Traced::Written(path) | Traced::Synced(path) | Traced::Renamed(path, _) => {
            path.starts_with(directory)
        }
    };
    Ok(seen.lines().filter_map(parse).filter(is_here).collect())
}

/// `1234 fsync(5</a/directory>) = 0`, and the like. `None` for what has failed, and for what is not looked for.
fn parse(line: &str) -> Option<Traced> {
    let (call, rest) = line.split_once(' ')?.1.trim_start().split_once('(')?;
    if line.contains(" = -1 ") {
        return None;
    }
    // A path between angle brackets is that of a handle, one between quotation marks was given.
    let handle = |rest: &str| Some(PathBuf::from(rest.split_once('<')?.1.split_once('>')?.0));
    let mut given = rest.split('"').skip(1).step_by(2).map(PathBuf::from);
    Some(match call {
        "mkdir" => Traced::Made(given.next()?),
        "pwrite64" | "ftruncate" | "fallocate" => Traced::Written(handle(rest)?),
        "fsync" | "fdatasync" => Traced::Synced(handle(rest)?),
        "rename" => Traced::Renamed(given.next()?, given.next()?),
        "renameat" => {
            let directory = handle(rest)?;
            Traced::Renamed(directory.join(given.next()?), directory.join(given.next()?))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_strace_is_understood() {
        let path = PathBuf::from;
        let lines = [
            ("7 mkdir(\"/d/a\", 0777)         = 0", Some(Traced::Made(path("/d/a")))),
            ("7 mkdir(\"/d/a\", 0777)         = -1 EEXIST (File exists)", None),
            ("71  pwrite64(5</d/f>, \"a\\\"\"..., 9, 0) = 9", Some(Traced::Written(path("/d/f")))),
            ("7 fsync(5</d> <unfinished ...>", Some(Traced::Synced(path("/d")))),
            ("7 rename(\"/d/a\", \"/d/b\") = 0", Some(Traced::Renamed(path("/d/a"), path("/d/b")))),
            ("7 renameat(5</d>, \"a\", 5</d>, \"b\") = 0", Some(Traced::Renamed(path("/d/a"), path("/d/b")))),
            ("7 <... fsync resumed>) = 0", None),
            ("7 +++ exited with 0 +++", None),
        ];
        for (line, traced) in lines {
            assert_eq!(parse(line), traced, "{line}");
        }
    }
}
