//! A child, and when it is struck.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::ledger::{Breach, Ledger};
use super::life::Life;
use super::word::Word;

/// Nothing takes a fraction of this. It is there so that what hangs is told.
const HANGS: Duration = Duration::from_mins(1);

/// What a process is struck after, by what it has told, so that a seed says it and nobody sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It was started.
    Started,
    /// It is about to open the store.
    Opening,
    /// It has told so many lines since.
    Lines(u64),
    /// It is about to close the store.
    Closing,
    /// It never is.
    Never,
}

/// When a process is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// What has to have happened.
    pub when: When,
    /// How many times around an empty loop it is let go on for, so that it is struck between two lines too.
    pub spins: u64,
}

impl Fate {
    /// To be left alone.
    pub const NONE: Self = Self { when: When::Never, spins: 0 };
}

/// A process that tells what it does.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

/// How a process has ended.
#[derive(Debug)]
pub struct Ended {
    /// Whether it was struck, rather than done before.
    pub struck: bool,
    /// What the system says.
    pub status: ExitStatus,
}

impl Process {
    /// The command that lives this life: the test `the_child` of the program that runs, under another program where one is
    /// given, with its arguments.
    ///
    /// # Panics
    ///
    /// If the system does not know what runs.
    pub fn command(program: &[String], life: &Life) -> Command {
        let itself = std::env::current_exe().expect("this program has a path");
        let mut command = match program {
            [] => Command::new(itself),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(itself);
                command
            }
        };
        let (name, value) = life.told();
        command.args(["the_child", "--exact", "--nocapture", "--quiet", "--test-threads=1"]).env(name, value);
        command
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// If the system can't.
    #[expect(clippy::disallowed_methods, reason = "who listens is a thread, so that a child that hangs is told")]
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program can be started again");
        let out = child.stdout.take().expect("it was asked for");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut out = BufReader::new(out);
            let mut line = String::new();
            // What ends without a line's end was cut off, and was not told.
            while out.read_line(&mut line).is_ok_and(|len| len > 0) && line.ends_with('\n') {
                if sender.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { child, lines }
    }

    /// Listens until it ends, and has it struck when it is time.
    ///
    /// # Errors
    ///
    /// What the ledger says of what it heard.
    ///
    /// # Panics
    ///
    /// If it hangs.
    pub fn live(mut self, fate: Fate, ledger: &mut Ledger, strike: impl FnOnce(&mut Child)) -> Result<Ended, Breach> {
        let mut strike = Some(strike);
        let (mut opening, mut closing, mut lines) = (false, false, 0);
        let mut heard = Ok(());
        loop {
            let due = match fate.when {
                When::Started => true,
                When::Opening => opening,
                When::Lines(count) => lines > count,
                When::Closing => closing,
                When::Never => false,
            };
            if due && let Some(strike) = strike.take() {
                (0..fate.spins).for_each(|_| std::hint::spin_loop());
                strike(&mut self.child);
            }
            let line = match self.lines.recv_timeout(HANGS) {
                Ok(line) => line,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    drop(self.child.kill());
                    panic!("a child hangs");
                }
            };
            let Some(word) = Word::parse(&line) else { continue };
            opening |= word == Word::Opening;
            closing |= word == Word::Closing;
            lines += 1;
            if heard.is_ok() {
                heard = ledger.hear(word);
            }
        }
        let status = self.child.wait().expect("it is this process's child");
        heard.map(|()| Ended { struck: strike.is_none(), status })
    }
}
