//! What a child does: it opens a store, appends and reads from several threads, tells each step, and closes the store, if it
//! gets that far.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use eventfold_db::{BlockingSubscription, EventfoldDb, Query, ReadIndex, SubscriptionEvent, WriterHandle};

use super::deed::{Deed, Terms};
use super::saga::builder;
use super::word::{Failure, Word, digest, digest_of_all};
use crate::random::Random;

/// How many events a subscriber is served before it says so, at the most.
const TOLD_AT_ONCE: usize = 32;

/// The most appends that a client has under way at once.
const AT_ONCE: u64 = 6;

/// Longer than the writer waits for an append before it calls itself idle.
const IDLE: Duration = Duration::from_millis(70);

/// What a child is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Where the store is.
    pub path: PathBuf,
    /// No other life of this store has this number.
    pub number: u32,
    /// How many threads append and read.
    pub clients: u8,
    /// How often each of them asks for something.
    pub turns: u16,
    /// Where the subscriber begins.
    pub from: u64,
    /// Whether the store has a thread of its own.
    pub background: bool,
    /// Appends of earlier lives that were not answered. They are asked for again, before others.
    pub again: Vec<(Deed, Terms)>,
}

struct Client<'a> {
    life: &'a Life,
    number: u8,
    random: Random,
    writer: WriterHandle,
    reads: ReadIndex,
    turn: u16,
    /// The version of its own stream.
    own: Option<u64>,
    /// What was answered in this life.
    done: Vec<(Deed, Terms)>,
}

/// Nothing more can be done in this life.
struct Stopped;

/// How much is told of a panic: a line has to be less than a pipe takes at once.
const PANIC_LEN_MAX: usize = 500;

/// Where a process finds what it is to do.
const LIFE: &str = "EVENTFOLD_LIFE";

/// Does what the environment says, if it says something: what a test does that is run as a child.
///
/// # Panics
///
/// If that can't be understood, or nobody listens.
pub fn live_if_told() {
    let Ok(life) = std::env::var(LIFE) else { return };
    // What the test harness has begun ends here, so that each word is a line.
    println!();
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        let message = panic.to_string().replace('\n', " ");
        Word::Panicked { message: message.chars().take(PANIC_LEN_MAX).collect() }.tell();
    }));
    life.parse::<Life>().expect("the parent says what it means").live();
}

impl Life {
    /// What a child of this process has to be told: a variable of its environment, and its value.
    pub fn told(&self) -> (&'static str, String) {
        (LIFE, self.to_string())
    }

    #[expect(clippy::disallowed_methods, reason = "clients are threads of a process that is killed with all of them")]
    fn live(&self) {
        Word::Opening.tell();
        let db = match builder(self.background).open(&self.path) {
            Ok(db) => db,
            Err(error) => return Word::NotOpened { error: format!("{error:?}") }.tell(),
        };
        Word::Opened { position: db.reads().global_position() }.tell();
        std::thread::scope(|scope| {
            let subscription = db.reads().subscribe_blocking(Query::all(), self.from).expect("it is a query");
            scope.spawn(|| follow(subscription, self.from));
            let clients: Vec<_> = (0..self.clients)
                .map(|number| {
                    let mut client = Client::new(self, number, &db);
                    scope.spawn(move || drop(client.run()))
                })
                .collect();
            for client in clients {
                client.join().expect("a client does not panic");
            }
            Word::Closing.tell();
            match db.close_blocking() {
                Ok(()) => Word::Closed.tell(),
                Err(error) => Word::NotClosed { error: format!("{error:?}") }.tell(),
            }
        });
    }
}

/// Subscribes to everything until the store is closed.
fn follow(subscription: BlockingSubscription, mut from: u64) {
    let mut served = Vec::new();
    for item in subscription {
        let ends = match item {
            Ok(SubscriptionEvent::Event(event)) => {
                served.push(digest(&event));
                served.len() == TOLD_AT_ONCE
            }
            Ok(_) => true,
            Err(error) => return Word::NotRead { error: format!("{error:?}") }.tell(),
        };
        if ends && !served.is_empty() {
            let to = from + served.len() as u64;
            Word::Log { from, to, digest: digest_of_all(served.drain(..)) }.tell();
            from = to;
        }
    }
}

impl<'a> Client<'a> {
    fn new(life: &'a Life, number: u8, db: &EventfoldDb) -> Self {
        let random = Random::new(u64::from(life.number) << 8 | u64::from(number));
        let (writer, reads) = (db.writer().clone(), db.reads().clone());
        Self { life, number, random, writer, reads, turn: 0, own: None, done: Vec::new() }
    }

    fn run(&mut self) -> Result<(), Stopped> {
        let (life, number) = (self.life, self.number);
        for (deed, terms) in life.again.iter().filter(|(deed, _)| deed.client() == number) {
            self.ask(&[(*deed, *terms)])?;
        }
        self.own = self.read(|reads, number| reads.stream_version(Deed::own_stream(number)))?;
        while self.turn < self.life.turns {
            if self.life.clients == 1 && self.random.percent(2) {
                // So long that the writer writes down that it is idle: this position never comes.
                self.read(|reads, _| reads.wait_until_blocking(u64::MAX, IDLE))?;
            }
            match self.random.below(100) {
                0..60 => {
                    let deed = self.next_deed(true);
                    self.ask(&[deed])?;
                }
                60..75 => {
                    let deeds: Vec<_> =
                        (0..2 + self.random.below(AT_ONCE - 1)).map(|n| self.next_deed(n == 0)).collect();
                    self.ask(&deeds)?;
                }
                75..80 if !self.done.is_empty() => {
                    let again = self.random.pick(&self.done);
                    self.ask(&[again])?;
                }
                80..90 => self.read_log()?,
                _ => self.read_stream()?,
            }
        }
        Ok(())
    }

    /// Only one append at a time expects a version of the client's own stream: if it were refused for want of space, the next
    /// would be for its version.
    fn next_deed(&mut self, may_expect: bool) -> (Deed, Terms) {
        let deed = Deed::new(self.life.number, self.number, self.turn);
        self.turn += 1;
        match deed.terms(self.own) {
            Terms::At(_) if !may_expect => (deed, Terms::Any),
            terms => (deed, terms),
        }
    }

    /// Appends, all at once.
    fn ask(&mut self, deeds: &[(Deed, Terms)]) -> Result<(), Stopped> {
        let mut pending = Vec::with_capacity(deeds.len());
        for (deed, terms) in deeds {
            Word::Asked { deed: *deed, terms: *terms }.tell();
            pending.push(self.writer.try_append_request(deed.asked(*terms).append()));
        }
        let mut outcome = Ok(());
        for ((deed, terms), pending) in deeds.iter().copied().zip(pending) {
            match pending.and_then(eventfold_db::PendingAppend::wait) {
                Ok(events) => {
                    Word::Answered { deed, position: events[0].global_position }.tell();
                    if !self.done.contains(&(deed, terms)) {
                        self.done.push((deed, terms));
                    }
                    if let Terms::At(_) = terms {
                        let own = events.iter().filter(|event| event.stream_id == events[0].stream_id);
                        self.own = own.map(|event| event.stream_version).max().max(self.own);
                    }
                }
                Err(error) => {
                    let failure = Failure::of(&error);
                    Word::Failed { deed, failure, error: format!("{error:?}") }.tell();
                    if failure != Failure::Full {
                        outcome = Err(Stopped);
                    }
                }
            }
        }
        outcome
    }

    fn read<T>(&self, read: impl FnOnce(&ReadIndex, u8) -> Result<T, eventfold_db::Error>) -> Result<T, Stopped> {
        read(&self.reads, self.number).map_err(|error| {
            Word::NotRead { error: format!("{error:?}") }.tell();
            Stopped
        })
    }

    fn read_log(&mut self) -> Result<(), Stopped> {
        let from = self.random.below(self.reads.global_position() + 1);
        let count = self.random.below(50);
        let events = self.read(|reads, _| reads.read_all(from, count))?;
        let digest = digest_of_all(events.iter().map(digest));
        Word::Log { from, to: from + events.len() as u64, digest }.tell();
        Ok(())
    }

    fn read_stream(&mut self) -> Result<(), Stopped> {
        // Its own, or one that others write to.
        let shared = Deed::new(0, self.number, self.turn).asked(Terms::Any).runs.swap_remove(0).0;
        let name = if self.random.percent(50) { shared } else { Deed::own_stream(self.number) };
        let Some(version) = self.read(|reads, _| reads.stream_version(&name))? else { return Ok(()) };
        let (from, count) = (self.random.below(version + 1), self.random.below(30));
        let events = self.read(|reads, _| reads.read_stream(&name, from, count))?;
        let digest = digest_of_all(events.iter().map(digest));
        Word::Stream { name, from, count: events.len() as u64, digest }.tell();
        Ok(())
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, number, clients, turns, from, background, again } = self;
        write!(f, "{number} {clients} {turns} {from} {background} ")?;
        for (deed, terms) in again {
            write!(f, "{deed}:{terms},")?;
        }
        write!(f, " {}", path.display())
    }
}

impl FromStr for Life {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unclear = |_| "a number is none";
        let mut parts = text.splitn(7, ' ');
        let mut part = || parts.next().ok_or("it ends early");
        let number = part()?.parse().map_err(unclear)?;
        let clients = part()?.parse().map_err(unclear)?;
        let turns = part()?.parse().map_err(unclear)?;
        let from = part()?.parse().map_err(unclear)?;
        let background = part()? == "true";
        let again = part()?.split_terminator(',').map(|deed| {
            let (deed, terms) = deed.split_once(':').ok_or("an append has no terms")?;
            Ok((deed.parse().map_err(unclear)?, terms.parse().map_err(unclear)?))
        });
        let again = again.collect::<Result<_, &str>>()?;
        Ok(Self { path: part()?.into(), number, clients, turns, from, background, again })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_understands_what_it_is_told() {
        let mut life = Life {
            path: "/a path/with a space".into(),
            number: 7,
            clients: 3,
            turns: 40,
            from: 12,
            background: true,
            again: vec![(Deed::new(1, 2, 3), Terms::Any), (Deed::new(1, 0, 3), Terms::At(Some(4)))],
        };
        assert_eq!(life.told().1.parse(), Ok(life.clone()));
        life.again.clear();
        assert_eq!(life.told().1.parse(), Ok(life));
    }
}
