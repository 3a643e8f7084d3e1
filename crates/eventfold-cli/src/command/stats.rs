//! `eventfold stats`.

use std::path::Path;

use eventfold_client::ClientBuilder;
use eventfold_db::{Disk, StdDisk, Uuid};
use serde_json::{Map, Value};

use crate::args::Stats;
use crate::exit::Failure;
use crate::json::line;
use crate::output::{Output, shown};
use crate::target::{Access, Place, connect, of_directory, open_directory};

/// What is told, in this order.
type Facts = Vec<(&'static str, Value)>;

pub(crate) async fn run(args: Stats) -> Result<(), Failure> {
    let facts = match args.at.place()? {
        Place::Directory(directory) => of_store(&directory)?,
        Place::Server(client) => of_server(*client).await?,
    };
    let mut output = Output::new();
    if args.json {
        let facts: Map<String, Value> = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        output.line(&line(&facts))?;
    } else {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in facts {
            let value = value.as_str().map_or_else(|| value.to_string(), shown);
            output.line(&format!("{:width$}  {value}", name.replace('_', " ")))?;
        }
    }
    output.flush()
}

fn of_store(directory: &Path) -> Result<Facts, Failure> {
    let (db, report) = open_directory(directory, Access::Read)?;
    let failed = |error: eventfold_db::IoError| of_directory(directory, Access::Read, error.into());
    let disk = StdDisk::open(directory).map_err(failed)?;
    let (mut segments, mut segment_bytes, mut other_bytes) = (0_u64, 0, 0);
    for name in disk.list().map_err(failed)? {
        // What is no file is not the store's.
        let Ok(len) = disk.file_len(&name) else { continue };
        if Path::new(&name).extension().is_some_and(|extension| extension == "segment") {
            segments += 1;
            segment_bytes += len;
        } else {
            other_bytes += len;
        }
    }
    let log = db.reads().log();
    Ok(vec![
        ("directory", directory.display().to_string().into()),
        ("store_id", log.store_id().to_string().into()),
        ("position", log.global_position().into()),
        ("segments", segments.into()),
        ("segment_bytes", segment_bytes.into()),
        ("other_bytes", other_bytes.into()),
        ("opening", report.to_string().into()),
    ])
}

async fn of_server(client: ClientBuilder) -> Result<Facts, Failure> {
    let status = connect(client).await?.status().await?;
    let store_id = Uuid::from_slice(&status.store_id).map_or_else(|_| "unknown".to_owned(), |id| id.to_string());
    let mut facts = vec![
        ("version", status.version.into()),
        ("store_id", store_id.into()),
        ("position", status.position.into()),
        ("uptime_ms", status.uptime.into()),
        ("opening", status.recovery.into()),
        ("appends", status.appends.into()),
        ("events", status.events.into()),
        ("queued_requests", status.queued_requests.into()),
        ("queued_bytes", status.queued_bytes.into()),
        ("connections", status.connections.into()),
        ("subscriptions", status.subscriptions.into()),
    ];
    if let Some(poisoned) = status.poisoned {
        facts.push(("poisoned", poisoned.into()));
    }
    Ok(facts)
}
