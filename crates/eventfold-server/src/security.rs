//! What a server's security is made of, and keeping up with the files that it stands in.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::auth::Auth;
use crate::clock;
use crate::files::FileError;
use crate::options::ServerOptions;
use crate::tls::Tls;

/// How connections are encrypted, and who is let in.
#[derive(Debug)]
pub(crate) struct Security {
    pub(crate) tls: Option<Tls>,
    pub(crate) auth: Arc<Auth>,
}

impl Security {
    pub(crate) fn load(options: &ServerOptions) -> Result<Self, FileError> {
        let tls = options.tls.as_ref().map(Tls::load).transpose()?;
        Ok(Self { tls, auth: Arc::new(Auth::load(&options.auth)?) })
    }

    fn reload(&self) {
        if let Some(tls) = &self.tls {
            tls.reload();
        }
        self.auth.reload();
    }

    /// Looks at the files every few seconds, for ever.
    pub(crate) async fn keep_up(self: Arc<Self>) {
        loop {
            clock::sleep(LOOK_EVERY).await;
            let security = self.clone();
            // A disk that hangs holds up a thread for such things, and no call.
            let mut looking = JoinSet::new();
            looking.spawn_blocking(move || security.reload());
            looking.join_next().await;
        }
    }
}

/// How often the files are looked at. They are small, and read whole: times of changes are told too coarsely, and not by every
/// file system.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Has a [`Server`](crate::Server) look at its files now: certificates, keys, tokens. It does so by itself every two seconds.
#[derive(Clone, Debug)]
pub struct Reload(pub(crate) Arc<Security>);

impl Reload {
    /// Reads the files, and puts in force what is right of them. What is wrong is told in the log.
    pub fn now(&self) {
        self.0.reload();
    }
}
