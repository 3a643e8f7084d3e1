//! `eventfold tail`.

use std::sync::Arc;

use eventfold_client::{EventStore, EventStoreExt, Subscribe, SubscriptionEvent};
use futures_util::StreamExt;

use crate::args::Tail;
use crate::command::events::Events;
use crate::exit::{Failure, code};
use crate::output::abandoned;
use crate::signals::Signals;
use crate::target::{Place, connect};
use crate::telemetry;

pub(crate) async fn run(args: Tail) -> Result<(), Failure> {
    telemetry::tell_of_client();
    let mut signals = Signals::listen()?;
    tokio::select! {
        done = follow(args) => done,
        _ = signals.come() => Ok(()),
        () = abandoned() => Ok(()),
    }
}

async fn follow(args: Tail) -> Result<(), Failure> {
    if args.stream.is_some() && !args.criteria.is_empty() {
        let message = "tail follows a stream or a query; in a query, the stream is --stream NAME";
        return Err(Failure::new(code::USAGE, message));
    }
    let Place::Server(client) = args.at.place()? else {
        return Err(Failure::new(
            code::USAGE,
            "tail follows a server: --server http://127.0.0.1:2113. A directory is open in one program at a time, so while \
             this one had it nobody could append; `eventfold read` shows what is there",
        ));
    };
    let store: Arc<dyn EventStore> = Arc::new(connect(*client).await?);
    let from = match (args.from, args.from_end, &args.stream) {
        (Some(from), ..) => from,
        (None, false, _) => 0,
        (None, true, None) => store.global_position().await?,
        (None, true, Some(stream)) => store.stream_version(stream.as_str()).await?.map_or(0, |version| version + 1),
    };
    let subscribe = match args.stream {
        Some(stream) => Subscribe::stream(stream),
        None if args.criteria.is_empty() => Subscribe::all(),
        None => Subscribe::query(args.criteria.into_query()),
    };
    let mut events = Events::new(store.clone(), args.json);
    if args.count == Some(0) {
        return Ok(());
    }
    let mut coming = store.subscribe(subscribe.from(from));
    let mut is_caught_up = false;
    while let Some(next) = coming.next().await {
        let shown = match next {
            Ok(SubscriptionEvent::Event(event)) => events.show(&event).await,
            Ok(SubscriptionEvent::CaughtUp { .. }) => {
                is_caught_up = true;
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if shown.is_err() {
            // What came before is right.
            let _ = events.flush();
            return shown;
        }
        let is_last = args.count == Some(events.count());
        if is_caught_up || is_last {
            events.flush()?;
        }
        if is_last {
            break;
        }
    }
    Ok(())
}
