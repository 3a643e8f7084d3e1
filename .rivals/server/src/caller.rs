//! One client of a server, by the server's own client library, with a connection of its own.

use eventfold_client::{Append, Client, EventStore, ProposedEvent, QueryItem, Read};
use futures_util::TryStreamExt;
use umadb_client::{AsyncUmaDbClient, UmaDbClient};
use umadb_dcb::{DcbAppendCondition, DcbEvent, DcbEventStoreAsync, DcbQuery, DcbQueryItem};
use uuid::Uuid;

use crate::server::{Kind, Running};

const EVENT_TYPE: &str = "Deposited";
static PAYLOAD: [u8; 256] = [7; 256];

pub(crate) struct Caller {
    connection: Connection,
    /// What all of its events are about, and nobody else's.
    account: String,
    /// The position of its last event.
    last: Option<u64>,
}

enum Connection {
    Eventfold(Client),
    Umadb(Box<AsyncUmaDbClient>),
}

impl Caller {
    /// Of a store that has nothing about this account yet.
    pub(crate) async fn connect(server: &Running, account: String) -> Self {
        let connection = match server.kind {
            Kind::Eventfold => Connection::Eventfold(
                Client::builder().endpoint(server.url()).connect().await.expect("the server listens"),
            ),
            Kind::Umadb => Connection::Umadb(Box::new(
                UmaDbClient::new(server.url()).connect_async().await.expect("the server listens"),
            )),
        };
        Self { connection, account, last: None }
    }

    /// Appends so many events about its account; under a condition, only if there are none that it does not know of.
    pub(crate) async fn append(&mut self, count: usize, is_conditional: bool) {
        let position = match &self.connection {
            Connection::Eventfold(client) => {
                let event = || ProposedEvent::new(EVENT_TYPE, PAYLOAD.as_slice()).with_tags([self.account.as_str()]);
                let mut append = Append::new().events(self.account.as_str(), (0..count).map(|_| event()).collect());
                if is_conditional {
                    append = append.no_match(QueryItem::new().tags([self.account.as_str()]), self.last);
                }
                let recorded = client.append_request(append).await.expect("nobody else writes about it");
                recorded.last().expect("what was appended").global_position
            }
            Connection::Umadb(client) => {
                // With ids, as ours have.
                let event = || {
                    let event = DcbEvent::new().event_type(EVENT_TYPE).data(PAYLOAD);
                    event.tags([self.account.as_str()]).uuid(Uuid::new_v4())
                };
                let condition = is_conditional.then(|| {
                    let query = DcbQuery::new().item(DcbQueryItem::new().tags([self.account.as_str()]));
                    DcbAppendCondition::new(query).after(self.last)
                });
                let events = (0..count).map(|_| event()).collect();
                client.append(events, condition, None).await.expect("nobody else writes about it")
            }
        };
        self.last = Some(position);
    }

    /// Reads the whole log, and tells how many events it has.
    pub(crate) async fn read_all(&self) -> usize {
        let mut bytes = 0;
        match &self.connection {
            Connection::Eventfold(client) => {
                let mut events = client.read(Read::all());
                while let Some(event) = events.try_next().await.expect("it reads on") {
                    bytes += event.payload.len();
                }
            }
            Connection::Umadb(client) => {
                let mut events = client.read(None, None, false, None).await.expect("it reads");
                while let Some(event) = events.try_next().await.expect("it reads on") {
                    bytes += event.event.data.len();
                }
            }
        }
        bytes / PAYLOAD.len()
    }
}
