//! Callers who go beyond each limit of a server: what becomes of them, of what the server holds, and of others.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

mod calls;
mod connections;
mod floods;
mod memory;
mod neighbour;
mod peer;
mod readers;
mod strangers;
mod times;
mod writer;

use std::collections::BTreeSet;

use eventfold_server::Limits;
use toml::Table;

/// Some tests.
type Tests = &'static [fn()];

/// What goes beyond each limit.
const TESTS: &[(&str, Tests)] = &[
    (
        "message_bytes",
        &[calls::a_message_that_is_too_large_is_not_looked_at, memory::messages_hold_what_the_limits_say],
    ),
    ("append_bytes", &[calls::an_append_or_event_that_is_too_large_is_refused_alone]),
    ("event_bytes", &[calls::an_append_or_event_that_is_too_large_is_refused_alone]),
    (
        "header_bytes",
        &[
            calls::headers_that_are_too_large_are_refused,
            floods::headers_that_never_end,
            memory::headers_take_what_one_call_may,
        ],
    ),
    ("connections", &[connections::one_too_many_is_not_taken, memory::connections_take_what_their_number_says]),
    ("calls_per_connection", &[connections::calls_beyond_those_of_a_connection_are_refused]),
    ("calls", &[calls::too_many_calls_are_told_so, memory::calls_take_what_their_number_says]),
    ("subscriptions", &[calls::too_many_subscriptions_are_told_so]),
    ("reads", &[readers::a_read_counts_until_it_is_taken, memory::readers_who_take_nothing]),
    ("admin_calls", &[calls::too_much_looking_after_is_told_so]),
    ("request_bytes", &[calls::requests_count_until_they_are_answered, memory::messages_hold_what_the_limits_say]),
    ("session_requests", &[calls::a_session_takes_in_no_more_than_it_may]),
    (
        "session_bytes",
        &[calls::a_session_takes_in_no_more_than_it_may, memory::a_session_takes_what_it_may_though_the_disk_hangs],
    ),
    ("page_bytes", &[readers::pages_are_no_larger_than_is_said, memory::readers_who_take_nothing]),
    ("page_streams", &[readers::pages_are_no_larger_than_is_said]),
    ("handshake_ms", &[times::who_does_not_say_what_it_speaks, times::tls_that_never_begins]),
    ("idle_ms", &[times::who_asks_for_nothing, times::who_does_not_take_its_answers_by_http_1]),
    ("request_ms", &[times::a_message_that_never_comes]),
    ("keepalive_ms", &[times::who_shows_no_sign_of_life]),
    ("pending_resets", &[floods::calls_that_are_taken_back_at_once, memory::floods_of_frames_take_next_to_nothing]),
    ("shutdown_ms", &[times::the_end_does_not_wait_for_those_who_go_on]),
    ("writer.max_requests", &[writer::appends_beyond_those_that_the_writer_holds_wait]),
    ("writer.max_bytes", &[writer::appends_beyond_the_bytes_that_the_writer_holds_wait]),
];

#[test]
fn every_limit_has_somebody_who_goes_beyond_it() {
    let limits = Table::try_from(Limits::default()).unwrap();
    // The writer's are settings as well, and the file that shows all settings is compared with them elsewhere.
    let settings: Table = include_str!("../../../../docs/eventfold.toml").parse().unwrap();
    let writer = settings["writer"].as_table().unwrap().keys().map(|setting| format!("writer.{setting}"));
    let limits: BTreeSet<_> = limits.keys().cloned().chain(writer).collect();
    assert_eq!(TESTS.iter().map(|(limit, _)| (*limit).to_owned()).collect::<BTreeSet<_>>(), limits);
    assert!(TESTS.iter().all(|(_, tests)| !tests.is_empty()));
}
