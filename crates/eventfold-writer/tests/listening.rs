//! A program whose own log panics: it harms nobody who waits for an answer. A test of its own, since it listens to the whole
//! process.
#![expect(clippy::disallowed_methods, reason = "a test waits no longer than it has patience")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use std::sync::mpsc;
use std::time::Duration;

use eventfold_io::sim::{Fault, When};
use eventfold_io::{IoErrorKind, Operation};
use eventfold_store::{Error, ExpectedVersion};
use eventfold_writer::{Writer, WriterOptions};

use support::{Gate, disk, events, store};

struct Broken;

impl tracing::Subscriber for Broken {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        let of_writer = std::thread::current().name().is_some_and(|name| name.starts_with("eventfold-"));
        assert!(!of_writer, "nobody reads the log");
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_log_that_panics_at_every_line_keeps_no_answer_back() {
    tracing::subscriber::set_global_default(Broken).unwrap();
    let disk = disk();
    let (writer, _thread) = Writer::start(store(&disk), &WriterOptions::default().max_requests(3)).unwrap();
    let stands = writer.append_blocking("s", ExpectedVersion::Any, events()).unwrap();
    let gate = Gate::close(&disk, 1);
    let good = writer.try_append("s", ExpectedVersion::Any, events()).unwrap();
    gate.wait_for_arrival();
    disk.inject(When::on(Operation::SyncData).of("*.segment"), Fault::Fail(IoErrorKind::Other));
    let lost = writer.try_append("s", ExpectedVersion::Any, events()).unwrap();
    gate.open();
    assert_eq!(good.wait().unwrap()[0].stream_version, 1);
    assert!(matches!(lost.wait(), Err(Error::OutcomeUnknown { cause: Some(_) })));
    assert_eq!(writer.log().read_stream("s", 0, 1).unwrap(), stands);
    let (closed, how) = mpsc::channel();
    std::thread::spawn(move || closed.send(writer.close_blocking()));
    let how = how.recv_timeout(Duration::from_mins(1)).expect("the writer ends");
    assert!(matches!(how, Err(Error::Poisoned { .. })), "{how:?}");
}
