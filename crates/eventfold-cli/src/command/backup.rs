//! `eventfold backup`.

use std::path::Path;

use eventfold_backup::{Backup as Made, BackupError, Backups, Step};
use eventfold_client::Client;
use eventfold_db::{Environment, SystemEnvironment};
use futures_util::TryStreamExt;
use serde_json::json;

use crate::args::Backup;
use crate::exit::{Failure, code};
use crate::json::line;
use crate::output::{Output, shown, time};
use crate::progress::Progress;
use crate::target::{Access, Place, connect, open_directory};

pub(crate) async fn run(args: Backup) -> Result<(), Failure> {
    let made = match args.at.place()? {
        Place::Directory(directory) => tokio::task::block_in_place(|| of_directory(&directory, &args))?,
        Place::Server(client) => of_server(&connect(*client).await?, &args).await?,
    };
    let mut output = Output::new();
    let path = made.path.display().to_string();
    let Made { position, bytes_copied, bytes_shared, .. } = made;
    if args.json {
        let facts =
            json!({"path": path, "position": position, "bytes_copied": bytes_copied, "bytes_shared": bytes_shared});
        output.line(&line(&facts))?;
    } else {
        output.line(&format!("backed up to {}, up to position {position}", shown(&path)))?;
        output.line(&format!("{bytes_copied} bytes were copied, {bytes_shared} are shared with the backup before"))?;
    }
    output.flush()
}

/// Now, as in `20260131T081500Z`.
fn label() -> String {
    time(SystemEnvironment.unix_ms()).chars().filter(char::is_ascii_alphanumeric).collect()
}

/// The directory of the backups. Nothing is made where there is no store to be backed up.
fn backups(args: &Backup) -> Result<Backups, BackupError> {
    Ok(Backups::open(&args.to)?.verify_all(args.verify))
}

fn of_directory(directory: &Path, args: &Backup) -> Result<Made, Failure> {
    if let (Ok(to), Ok(store)) = (std::path::absolute(&args.to), std::path::absolute(directory))
        && to.starts_with(store)
    {
        let message = format!("{} is in the store itself: backups have to stand elsewhere", args.to.display());
        return Err(Failure::new(code::USAGE, message));
    }
    let (db, _) = open_directory(directory, Access::Copy)?;
    let mut progress = Progress::new("backing up", "MiB");
    let made = backups(args).and_then(|mut backups| {
        backups.back_up(db.reads().log(), &label(), |at| {
            progress.step(named("backing up", at.step), at.bytes_done >> 20, at.bytes_total >> 20);
        })
    });
    drop(progress);
    // The backup is as good if this fails.
    let closed = db.close_blocking();
    let made = made?;
    closed?;
    Ok(made)
}

async fn of_server(client: &Client, args: &Backup) -> Result<Made, Failure> {
    let mut backups = tokio::task::block_in_place(|| backups(args))?;
    let mut unfinished = tokio::task::block_in_place(|| backups.begin())?;
    let (manifest, mut chunks) = client.admin().backup(unfinished.held()).await?;
    unfinished.take(manifest)?;
    let total = unfinished.bytes_left();
    let mut progress = Progress::new("backing up", "MiB");
    let mut done = 0;
    while let Some(chunk) = chunks.try_next().await? {
        tokio::task::block_in_place(|| unfinished.write(&chunk))?;
        done += chunk.data.len() as u64;
        progress.at(done >> 20, total >> 20);
    }
    let finish = || {
        unfinished.finish(&label(), |at| {
            progress.step(named("backing up", at.step), at.bytes_done >> 20, at.bytes_total >> 20);
        })
    };
    Ok(tokio::task::block_in_place(finish)?)
}

/// What a step of this work is called.
pub(super) fn named(work: &'static str, step: Step) -> &'static str {
    if step == Step::Verifying { "verifying" } else { work }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let code = match &error {
            BackupError::UnderWay { .. } | BackupError::InUse { .. } => code::RETRY,
            BackupError::OtherStore { .. } | BackupError::OtherHistory { .. } | BackupError::NotEmpty { .. } => {
                code::USAGE
            }
            BackupError::NoBackup { .. } => code::NOT_FOUND,
            BackupError::Damaged { .. } | BackupError::Unsound { .. } => code::DAMAGED,
            _ => code::FAILED,
        };
        match error {
            BackupError::Store { path: None, source } => source.into(),
            error => Self::new(code, error.to_string()),
        }
    }
}
