//! What each setting is for, and the file that shows them all.

use std::fmt::Write;

use toml::{Table, Value};

use super::Config;

/// Every setting, in the order of the file: its path, and what it is for.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("data", "The directory of the store. It is made, for its owner alone, where there is none."),
    ("listen", "Where the server listens: an address of this machine, and a port."),
    ("allow_plaintext", "Whether it may listen without TLS where other machines can reach it."),
    (
        "tls.certificate",
        "The server's certificate and those that lead to one that clients trust, as PEM. Empty: no TLS.",
    ),
    ("tls.key", "Its key, as PEM."),
    ("tls.client_ca", "Of whom clients have to have a certificate, as PEM. Empty: they need none."),
    (
        "auth.tokens",
        "The file of tokens, which `eventfold token` makes. Empty, and no JSON web tokens: everybody may do everything.",
    ),
    ("auth.allow_plaintext_tokens", "Whether tokens are taken without TLS from other machines."),
    ("auth.jwt.keys", "The public keys of JSON web tokens, as a JSON web key set. Empty: none are taken."),
    ("auth.jwt.algorithms", "How they may be signed: RS256, PS256, ES256, ES384, EdDSA."),
    ("auth.jwt.issuer", "Who has to have made them: iss."),
    ("auth.jwt.audience", "Whom they have to be for: aud."),
    ("auth.jwt.claim", "The claim that has the grants: a list of { role, prefix }."),
    ("store.segment_size", "Bytes that a segment grows to, of a store that is made: a multiple of 4096. 0: 256 MiB."),
    ("store.idempotency_window", "Appends that are searched for repetitions, of a store that is made. 0: 1048576."),
    ("store.cache_bytes", "Memory for blocks and index pages."),
    ("store.hot_tail_bytes", "Memory for the events that were appended last."),
    ("store.max_open_files", "Files of sealed segments that are open at once."),
    ("writer.max_requests", "Appends that may wait; those beyond wait for their turn to be queued."),
    ("writer.max_bytes", "Memory that they may take."),
    ("log.filter", "What is logged: error, warn, info, debug, or by module, as in \"info,eventfold_server=debug\"."),
    ("log.format", "How: \"text\" or \"json\"."),
    (
        "traces.otlp",
        "Where traces of calls are sent by OTLP: a collector, as in \"http://127.0.0.1:4317\". Empty: nowhere. A build has it with the feature otlp.",
    ),
    ("traces.filter", "What is traced, as in log.filter."),
    (
        "limits.message_bytes",
        "Bytes of a message of gRPC. The largest append has 16 MiB of events, and what is around them.",
    ),
    ("limits.append_bytes", "Bytes of an append's events."),
    ("limits.event_bytes", "Bytes of one event."),
    ("limits.header_bytes", "Bytes of a request's headers."),
    ("limits.connections", "Connections at once."),
    ("limits.calls_per_connection", "Calls at once on one connection."),
    ("limits.calls", "Calls at once on all connections, subscriptions included."),
    ("limits.subscriptions", "Subscriptions at once."),
    ("limits.reads", "Reads at once, until their answers are taken."),
    ("limits.admin_calls", "Backups, exports, imports and verifications at once."),
    ("limits.request_bytes", "Bytes of requests that are received and not answered, on all connections."),
    ("limits.session_requests", "Appends of one session that wait for their answers."),
    ("limits.session_bytes", "Bytes of them; an append that is larger is taken alone."),
    ("limits.page_bytes", "Bytes of events in one message to a reader."),
    ("limits.page_streams", "Streams in a page of a list."),
    ("limits.handshake_ms", "Milliseconds for a connection to say what it speaks, and for the headers of a request."),
    ("limits.idle_ms", "Milliseconds after which a connection without a call is closed."),
    (
        "limits.request_ms",
        "Milliseconds for a call, if its own deadline is not sooner; for a read, subscription, session or wait, to begin.",
    ),
    ("limits.keepalive_ms", "Milliseconds between signs of life that are asked of a peer, and for it to answer."),
    ("limits.pending_resets", "Calls that a peer may take back before they were looked at, before it is cut off."),
    ("limits.shutdown_ms", "Milliseconds for calls to end when the server is stopped."),
];

/// The configuration as a file, with what each setting is for.
pub(crate) fn annotated(config: &Config) -> String {
    let table = Table::try_from(config).expect("every setting has a form in the file");
    let mut file = String::from(
        "# The configuration of `eventfold serve`, with the values it has if nothing is said.\n\
         # Each can also be set by the environment, as in EVENTFOLD_LIMITS_CONNECTIONS=100, which is stronger than this file,\n\
         # and by `--set limits.connections=100`, which is stronger than both.\n",
    );
    let mut section = "";
    for (path, help) in SETTINGS {
        let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
        if parent != section {
            let _ = write!(file, "\n[{parent}]\n");
            section = parent;
        }
        let value = lookup(&table, path).expect("every setting that is described is one");
        let _ = write!(file, "\n# {help}\n{key} = {value}\n");
    }
    file
}

/// The value at a path.
pub(super) fn lookup<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((first, rest)) => lookup(table.get(first)?.as_table()?, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(table: &Table, parent: &str) -> Vec<String> {
        let path = |(key, value): (&String, &Value)| {
            let path = if parent.is_empty() { key.clone() } else { format!("{parent}.{key}") };
            value.as_table().map_or_else(|| vec![path.clone()], |table| paths(table, &path))
        };
        table.iter().flat_map(path).collect()
    }

    #[test]
    fn every_setting_is_described_once() {
        let mut settings = paths(&Table::try_from(Config::default()).unwrap(), "");
        let mut described: Vec<_> = SETTINGS.iter().map(|(path, _)| (*path).to_owned()).collect();
        settings.sort();
        described.sort();
        assert_eq!(settings, described);
    }

    #[test]
    fn the_annotated_file_says_what_it_was_made_of() {
        let config = Config::default();
        assert_eq!(toml::from_str::<Config>(&annotated(&config)).unwrap(), config);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the example is a file")]
    fn the_example_shows_the_defaults() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/eventfold.toml");
        assert_eq!(
            std::fs::read_to_string(example).unwrap(),
            annotated(&Config::default()),
            "`eventfold serve --print-config` prints it"
        );
    }
}
