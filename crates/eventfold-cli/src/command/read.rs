//! `eventfold read` and `eventfold query`.

use eventfold_client as client;
use futures_util::StreamExt;

use crate::args::{Part, Query, Read, Where};
use crate::command::events::Events;
use crate::exit::{Failure, code};
use crate::output::note;
use crate::target::Access;

/// How what is sound behind something that is damaged is had all the same.
const AROUND: &str = "the next event can't be read; all before it are shown. `eventfold verify` tells which are damaged, and --from goes on \
                      behind them";

pub(crate) async fn read(args: Read) -> Result<(), Failure> {
    // Positions lead around what is damaged where it is by positions that one reads.
    let damaged = (args.stream.is_none() && !args.part.backward).then_some(AROUND);
    let read = args.stream.map_or_else(client::Read::all, client::Read::stream);
    show(read, &args.part, &args.at, damaged).await
}

pub(crate) async fn query(args: Query) -> Result<(), Failure> {
    if args.criteria.is_empty() {
        let message = "a query needs --type, --tag, --stream or --prefix; `eventfold read` shows all events";
        return Err(Failure::new(code::USAGE, message));
    }
    show(client::Read::query(args.criteria.into_query()), &args.part, &args.at, None).await
}

async fn show(mut read: client::Read, part: &Part, at: &Where, damaged: Option<&'static str>) -> Result<(), Failure> {
    read.from = part.from;
    read.max_count = part.count;
    if part.backward {
        read = read.backward();
    }
    let target = at.open(Access::Read).await?;
    let mut events = Events::new(target.store.clone(), part.json);
    let mut found = target.store.read(read);
    while let Some(event) = found.next().await {
        let shown = match event {
            Ok(event) => events.show(&event).await,
            Err(error) => Err(error.into()),
        };
        if let Err(failure) = shown {
            // What came before is right.
            let _ = events.flush();
            let advice = damaged.filter(|_| failure.is_of_damage());
            return Err(match advice {
                Some(advice) => failure.with_context(&advice),
                None => failure,
            });
        }
    }
    events.flush()?;
    if events.count() == 0 && !part.json {
        note("there are no such events");
    }
    target.close().await
}
