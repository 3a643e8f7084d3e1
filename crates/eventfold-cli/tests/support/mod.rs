//! The command as a process.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The command, without the settings of whoever runs the tests.
pub(crate) fn eventfold() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventfold"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("EVENTFOLD_")) {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// How a command has ended, and what it has printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// What it has answered, where it went well.
    #[track_caller]
    pub(crate) fn well(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// What it has complained of, where it ended with this code.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.err
    }

    /// Its answer as JSON, one value a line.
    #[track_caller]
    pub(crate) fn json(self) -> Vec<serde_json::Value> {
        self.well().lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().expect("the command can be run");
    let (out, err) = printed(&output);
    Ran { code: output.status.code().expect("it was not killed"), out, err }
}

/// Runs a command to its end, with this on its standard input.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let input = input.to_vec();
    // It may end before it has read all.
    let writing =
        std::thread::Builder::new().spawn(move || drop(stdin.write_all(&input))).expect("the system gives a thread");
    let output = child.wait_with_output().expect("it ends");
    writing.join().expect("it does not panic");
    let (out, err) = printed(&output);
    Ran { code: output.status.code().expect("it was not killed"), out, err }
}

/// A store: a directory, or a server that has it.
pub(crate) enum Place {
    Directory(PathBuf),
    Server(Box<Served>),
}

impl Place {
    /// A new store of either kind in this directory.
    pub(crate) fn both(directory: &Path) -> [Self; 2] {
        let served = Served::start(&directory.join("served"), &[]);
        [Self::Directory(directory.join("own")), Self::Server(Box::new(served))]
    }

    /// A command that is about it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = eventfold();
        command.args(arguments);
        match self {
            Self::Directory(path) => command.arg("--data").arg(path),
            Self::Server(served) => command.arg("--server").arg(served.url()),
        };
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }
}

/// What it has printed, as text.
pub(crate) fn printed(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A server in a process of its own, killed when the test is done with it.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Served {
    /// Serves a store in a directory, on any port.
    pub(crate) fn start(data: &Path, more: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", data, more)
    }

    /// Serves a store in a directory, at this address.
    pub(crate) fn start_at(address: &str, data: &Path, more: &[&str]) -> Self {
        let mut command = eventfold();
        command.args(["serve", "--listen", address, "--set", "log.format=json", "--data"]).arg(data).args(more);
        Self::of(&mut command).expect("the server says where it listens")
    }

    /// Serves as this command says, or tells what it has told before it ended.
    pub(crate) fn of(serve: &mut Command) -> Result<Self, String> {
        let command = serve.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command can be run");
        let stderr = child.stderr.take().expect("it is a pipe");
        let mut lines = BufReader::new(stderr).lines();
        let mut told = Vec::new();
        let address = lines.by_ref().map(|line| line.expect("text")).find_map(|line| {
            let address = address_in(&line);
            told.push(line);
            address
        });
        let Some(address) = address else {
            child.wait().expect("it is ours");
            return Err(told.join("\n"));
        };
        // The pipe has to be read for as long as the server writes.
        let mut rest = lines;
        std::thread::Builder::new()
            .spawn(move || rest.by_ref().for_each(drop))
            .map(drop)
            .expect("the system gives a thread");
        Ok(Self { child, address })
    }

    /// What clients are told.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks it to look at its files.
    pub(crate) fn hang_up(&self) {
        let asked = Command::new("kill").arg("-HUP").arg(self.child.id().to_string()).status();
        assert!(asked.expect("there is such a command").success());
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> bool {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(asked.expect("there is such a command").success());
        self.child.wait().expect("it is ours").success()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the server listens, if this line of its log says so, in either format.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("\"address\":\"").or_else(|| line.split_once(" address="))?;
    rest.split(['"', ' ']).next()?.parse().ok()
}

/// What a command line shows on a terminal; nothing where there is no `script` that could be one.
#[cfg(target_os = "linux")]
pub(crate) fn on_a_terminal(line: &str, variables: &[(&str, &str)]) -> Option<Ran> {
    Command::new("script").arg("--version").output().ok()?;
    let mut script = Command::new("script");
    script.args(["-qec", line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
    Some(run(script.envs(variables.iter().copied()).stdin(Stdio::null())))
}
