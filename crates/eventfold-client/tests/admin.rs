//! Looking after a store, through its server.
#![expect(clippy::disallowed_methods, reason = "a server runs beside its clients, and files are damaged")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use std::path::{Path, PathBuf};

use eventfold_backup::{Backup, BackupError, Backups, ExportedEvent, restore};
use eventfold_client::{
    Client, Error, EventStoreExt, EventfoldDb, ExpectedVersion, ProposedEvent, StoreError, Verified,
};
use eventfold_db::{Consequence, Store};
use eventfold_server::{Limits, Server, ServerOptions};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const LABEL: &str = "20231114T221320Z";

struct Running {
    client: Client,
    db: EventfoldDb,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Running {
    async fn start(path: &Path) -> Self {
        let db = EventfoldDb::builder().store(Store::builder().segment_size(64 << 10)).open(path).unwrap();
        let mut limits = Limits::default();
        limits.admin_calls = 1;
        let options = ServerOptions::default().address("127.0.0.1:0".parse().unwrap()).limits(limits);
        let server = Server::bind(&options, &db).await.unwrap();
        let endpoint = format!("http://{}", server.local_addr());
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(server.serve(async { drop(stopped.await) }));
        let client = Client::builder().endpoint(endpoint).connect().await.unwrap();
        Self { client, db, stop, ended }
    }

    async fn append(&self, count: usize) {
        for n in 0..count {
            let event = ProposedEvent::new("Counted", vec![7; 700]);
            self.client.append(format!("stream-{}", n % 10), ExpectedVersion::Any, vec![event]).await.unwrap();
        }
    }

    async fn back_up(&self, into: &Path) -> Result<Backup, BackupError> {
        let mut backups = Backups::open(into)?;
        let mut unfinished = backups.begin()?;
        let (manifest, mut chunks) = self.client.admin().backup(unfinished.held()).await.unwrap();
        unfinished.take(manifest)?;
        while let Some(chunk) = chunks.try_next().await.unwrap() {
            unfinished.write(&chunk)?;
        }
        unfinished.finish(LABEL, |_| {})
    }

    async fn export(&self) -> Vec<ExportedEvent> {
        self.client.admin().export(0, None).await.unwrap().try_collect().await.unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap();
        self.db.close().await.unwrap();
    }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[tokio::test]
async fn a_backup_through_the_server_is_a_store_and_the_next_takes_what_is_new() {
    let place = Place::new();
    let running = Running::start(&place.path("store")).await;
    running.append(300).await;
    let first = running.back_up(&place.path("backups")).await.unwrap();
    assert_eq!((first.position, first.bytes_shared), (300, 0));
    running.append(30).await;
    let second = running.back_up(&place.path("backups")).await.unwrap();
    assert_eq!(second.position, 330);
    assert!(second.bytes_shared > 0 && second.bytes_copied < first.bytes_copied, "{first:?}, {second:?}");

    assert_eq!(restore(place.path("backups"), place.path("restored"), |_| {}).unwrap().position, 330);
    let restored = Running::start(&place.path("restored")).await;
    assert_eq!(restored.client.read_all(0, 1000).await.unwrap(), running.client.read_all(0, 1000).await.unwrap());
    restored.stop().await;
    running.stop().await;
}

#[tokio::test]
async fn what_is_exported_from_one_server_is_imported_into_another() {
    let place = Place::new();
    let (source, target) = (Running::start(&place.path("a")).await, Running::start(&place.path("b")).await);
    source.append(250).await;
    let large = vec![ProposedEvent::new("Large", vec![9; 900_000]); 3];
    source.client.append("large", ExpectedVersion::NoStream, large).await.unwrap();
    let exported = source.export().await;
    assert_eq!(exported.iter().filter(|event| event.append == 250).count(), 3);

    let admin = target.client.admin();
    let report = admin.import(stream::iter(exported.clone())).await.unwrap();
    assert_eq!((report.appends, report.events, report.moved_appends), (251, 253, 0));
    assert_eq!(target.client.read_all(0, 1000).await.unwrap(), source.client.read_all(0, 1000).await.unwrap());
    assert_eq!(target.export().await, exported);
    let again = admin.import(stream::iter(exported.clone())).await.unwrap();
    assert_eq!((again.appends, again.repeated_appends, again.position), (0, 251, 253));

    // The failure is the store's, with the place in the export.
    let part = stream::iter(exported[40..].to_vec());
    let other = Running::start(&place.path("c")).await;
    let refused = other.client.admin().import(part).await.unwrap_err();
    assert!(matches!(refused, Error::Store(StoreError::WrongExpectedVersion { .. })), "{refused}");
    let mut swapped = exported.clone();
    swapped.swap(0, 1);
    let refused = other.client.admin().import(stream::iter(swapped)).await.unwrap_err();
    assert!(refused.to_string().contains("it does not come behind the one before it"), "{refused}");
    // What came before it may have been on its way.
    assert!(other.client.read_all(0, 10).await.unwrap().len() <= 1);
    for running in [source, target, other] {
        running.stop().await;
    }
}

#[tokio::test]
async fn a_server_verifies_its_store_while_it_goes_on() {
    let place = Place::new();
    let running = Running::start(&place.path("store")).await;
    running.append(300).await;
    let verify = || async {
        let told: Vec<_> = running.client.admin().verify().await.unwrap().try_collect().await.unwrap();
        let findings: Vec<_> = told
            .iter()
            .filter_map(|told| match told {
                Verified::Finding(finding) => Some(finding.clone()),
                _ => None,
            })
            .collect();
        let Some(Verified::Summary(summary)) = told.last() else { panic!("{told:?}") };
        (findings, *summary)
    };
    let (findings, summary) = verify().await;
    assert_eq!((findings.len(), summary.events, summary.findings, summary.position), (0, 300, 0, 300));

    let file = place.path("store/0000000000.segment");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[20_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (findings, summary) = verify().await;
    assert_eq!(summary.findings, findings.len() as u64);
    assert!(
        findings
            .iter()
            .any(|finding| finding.file == "0000000000.segment" && finding.consequence != Some(Consequence::Heals)),
        "{findings:?}"
    );
    running.stop().await;
}

#[tokio::test]
async fn so_many_at_once_and_an_end_that_is_told() {
    let place = Place::new();
    let running = Running::start(&place.path("store")).await;
    running.append(300).await;
    let admin = running.client.admin();
    let (_, mut chunks) = admin.backup(&[]).await.unwrap();
    chunks.next().await.unwrap().unwrap();
    let refused = admin.verify().await.map(drop).unwrap_err();
    assert!(
        matches!(&refused, Error::LimitExceeded { limit, max: 1, .. } if limit == "limits.admin_calls"),
        "{refused}"
    );
    drop(chunks);

    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<ExportedEvent>();
    let events = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let importing = running.client.admin();
    let importing = tokio::spawn(async move {
        loop {
            // The place of the backup is free when the server has seen that nobody wants it any more.
            let begun = importing.export(0, Some(0)).await;
            if begun.is_ok() {
                break;
            }
        }
        importing.import(events).await
    });
    // The server ends an import that nothing comes for.
    running.stop().await;
    let ended = importing.await.unwrap();
    assert!(ended.is_err() || ended.is_ok_and(|report| report.appends == 0));
    drop(sender);
}
