//! What `/metrics` shows, in Prometheus' text format.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use eventfold_db::Histogram;

use crate::service::Service;

/// Everything there is to know in numbers. `docs/OPERATIONS.md` has the table.
pub(crate) fn render(service: &Service) -> String {
    let mut page = Page::default();
    let stats = service.writer.stats();
    let log = service.reads.log();
    page.one("eventfold_position", "gauge", "Next position of the log: events ever appended.", log.global_position());
    page.one("eventfold_poisoned", "gauge", "1 if a failure has stopped appends.", u8::from(log.poison().is_some()));
    page.one("eventfold_appends_total", "counter", "Appends committed since the start.", stats.appends);
    page.one("eventfold_events_total", "counter", "Events committed since the start.", stats.events);
    page.one("eventfold_written_bytes_total", "counter", "Bytes written for them.", stats.bytes);
    page.one("eventfold_groups_total", "counter", "Groups committed: one sync of the disk each.", stats.groups);
    page.one("eventfold_queued_requests", "gauge", "Appends queued and not answered.", stats.queued_requests);
    page.one("eventfold_queued_bytes", "gauge", "About how much memory they take.", stats.queued_bytes);
    page.one("eventfold_preparing_requests", "gauge", "Appends something is read for.", stats.preparing_requests);
    page.one("eventfold_panics_total", "counter", "Panics that were caught.", stats.panics);
    let refused = &stats.rejections;
    page.head("eventfold_refused_appends_total", "counter", "Appends that were not made, by cause.");
    for (cause, count) in [
        ("conflict", refused.conflict),
        ("invalid", refused.invalid),
        ("backpressure", refused.backpressure),
        ("busy", refused.busy),
        ("storage_full", refused.storage_full),
        ("unreadable", refused.unreadable),
        ("outcome_unknown", refused.outcome_unknown + service.failures.late_appends.load(Ordering::Relaxed)),
        ("stopped", refused.stopped),
    ] {
        page.sample("eventfold_refused_appends_total", &format!("{{cause=\"{cause}\"}}"), count);
    }
    page.summary(
        "eventfold_commit_seconds",
        "From staging a group's first append until readers see it.",
        &stats.commit_latency,
        1e9,
    );
    page.summary("eventfold_sync_seconds", "Writing and syncing a group.", &stats.sync_latency, 1e9);
    page.summary("eventfold_group_appends", "Appends in a group.", &stats.group_size, 1.0);
    let cache = log.cache_stats();
    page.one("eventfold_cache_hits_total", "counter", "Lookups the block cache has answered.", cache.hits);
    page.one("eventfold_cache_misses_total", "counter", "Lookups that had to read the disk.", cache.misses);
    page.one("eventfold_cache_bytes", "gauge", "Bytes the block cache holds.", cache.bytes);
    page.one("eventfold_index_bytes", "gauge", "Memory of the index of what is not sealed.", log.memory_index_bytes());
    let gate = &service.gate;
    page.one("eventfold_connections", "gauge", "Connections open.", gate.connections.now());
    page.one("eventfold_calls", "gauge", "Calls under way.", gate.calls.now());
    page.one("eventfold_subscriptions", "gauge", "Subscriptions open.", gate.subscriptions.now());
    page.one("eventfold_reads", "gauge", "Reads whose answers were not taken yet.", gate.reads.now());
    page.one(
        "eventfold_request_bytes",
        "gauge",
        "Bytes of requests received and not answered.",
        gate.request_bytes.now(),
    );
    page.head("eventfold_failed_calls_total", "counter", "Calls whose answer was a failure from its start, by code.");
    for (code, count) in service.failures.all() {
        page.sample("eventfold_failed_calls_total", &format!("{{code=\"{code}\"}}"), count);
    }
    page.head("eventfold_build_info", "gauge", "1, with the version that runs.");
    page.sample("eventfold_build_info", concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1_u8);
    page.one("eventfold_uptime_seconds", "gauge", "Since the server has started.", service.uptime().as_secs());
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, "", value);
    }

    fn summary(&mut self, name: &str, help: &str, values: &Histogram, unit: f64) {
        #[expect(clippy::cast_precision_loss, reason = "what is shown is rounded anyway")]
        let scaled = |value: u64| value as f64 / unit;
        self.head(name, "summary", help);
        for share in [0.5, 0.9, 0.99, 0.999] {
            self.sample(name, &format!("{{quantile=\"{share}\"}}"), scaled(values.quantile(share)));
        }
        self.sample(&format!("{name}_sum"), "", scaled(values.sum()));
        self.sample(&format!("{name}_count"), "", values.count());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use eventfold_db::EventfoldDb;
    use tokio::sync::watch;

    use super::*;
    use crate::options::Limits;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the document is a file, and so is a store")]
    fn the_document_has_every_metric() {
        let directory = tempfile::tempdir().unwrap();
        let db = EventfoldDb::open(directory.path()).unwrap();
        let page = render(&Service::new(&db, Limits::default(), watch::channel(false).1));
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/OPERATIONS.md");
        let document = std::fs::read_to_string(document).unwrap();
        let of_page: BTreeSet<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ').map(|(name, _)| name))
            .collect();
        let of_document: BTreeSet<_> = document
            .lines()
            .filter(|line| line.starts_with("| `eventfold_"))
            .filter_map(|line| line.split('|').nth(1))
            .flat_map(|names| names.split(','))
            .map(|name| name.trim().trim_matches('`'))
            .filter(|name| !name.contains(' ') && !name.contains('{'))
            .collect();
        assert_eq!(of_page, of_document);
        db.close_blocking().unwrap();
    }
}
