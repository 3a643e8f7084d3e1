//! `eventfold streams`.

use serde::Serialize;

use crate::args::Streams;
use crate::exit::Failure;
use crate::json::line;
use crate::output::{Output, Table, note, shown};
use crate::target::Access;

/// So many are asked for at once.
const PAGE: usize = 1000;

/// A stream, as JSON.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    stream: &'a str,
    stream_id: String,
    /// Of its last event.
    version: u64,
}

pub(crate) async fn run(args: Streams) -> Result<(), Failure> {
    let target = args.at.open(Access::Read).await?;
    let mut output = Output::new();
    let mut table = Table::new(&["STREAM", "VERSION", "ID"]);
    let (mut after, mut is_empty) = (None, true);
    loop {
        let page = target.store.streams(args.prefix.clone(), after.clone(), PAGE).await?;
        is_empty &= page.is_empty();
        for info in &page {
            // Streams without names are not listed.
            let Some(name) = info.name.as_ref() else { continue };
            if args.json {
                let stream = Listed { stream: name, stream_id: info.id.to_string(), version: info.version };
                output.line(&line(&stream))?;
            } else {
                table.row(&mut output, vec![shown(name), info.version.to_string(), info.id.to_string()])?;
            }
        }
        if page.len() < PAGE {
            break;
        }
        after = page.last().and_then(|info| info.name.as_ref()).map(ToString::to_string);
    }
    table.show(&mut output)?;
    output.flush()?;
    if is_empty && !args.json {
        note("there are no such streams");
    }
    target.close().await
}
