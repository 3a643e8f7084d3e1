//! `eventfold restore`.

use serde_json::json;

use super::backup::named;
use crate::args::Restore;
use crate::exit::Failure;
use crate::json::line;
use crate::output::{Output, shown};
use crate::progress::Progress;
use crate::target::directory;

pub(crate) fn run(args: &Restore) -> Result<(), Failure> {
    let mut progress = Progress::new("restoring", "MiB");
    let data = directory(args.data.as_deref())?;
    let restored = eventfold_backup::restore(&args.backup, &data, |at| {
        progress.step(named("restoring", at.step), at.bytes_done >> 20, at.bytes_total >> 20);
    });
    drop(progress);
    let restored = restored?;
    let mut output = Output::new();
    let (backup, position) = (restored.backup.display().to_string(), restored.position);
    if args.json {
        output.line(&line(&json!({"backup": backup, "position": position, "bytes": restored.bytes})))?;
    } else {
        let data = data.display().to_string();
        output.line(&format!("restored {} to {}, up to position {position}", shown(&backup), shown(&data)))?;
    }
    output.flush()
}
