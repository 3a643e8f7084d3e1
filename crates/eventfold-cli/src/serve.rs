//! `eventfold serve`.

use std::net::SocketAddr;

use eventfold_db::EventfoldDb;
use eventfold_server::{Server, ServerOptions};
use tokio::task::JoinSet;

use crate::args::Serve;
use crate::config::{Config, Layers, annotated};
use crate::exit::{Failure, code};
use crate::output::write_all;
use crate::signals::{Asked, Signals};
use crate::target::{Access, of_directory};
use crate::telemetry::Telemetry;

pub(crate) fn run(args: &Serve) -> Result<(), Failure> {
    let config = configure(args)?;
    if args.print_config {
        return write_all(annotated(&config).as_bytes());
    }
    check(&config)?;
    if args.check_config {
        return write_all(b"the settings are right\n");
    }
    crate::block_on(serve(&config))
}

fn configure(args: &Serve) -> Result<Config, Failure> {
    let mut layers = Layers::new();
    if let Some(file) = &args.config {
        layers.file(file)?;
    }
    layers.environment(std::env::vars_os())?;
    for setting in &args.set {
        layers.set(setting)?;
    }
    if let Some(data) = &args.data {
        let data = data.to_str();
        let data = data.ok_or_else(|| Failure::new(code::USAGE, "--data: the path has to be UTF-8"))?;
        layers.text("data", data, "--data")?;
    }
    if let Some(listen) = args.listen {
        layers.text("listen", &listen.to_string(), "--listen")?;
    }
    if args.allow_plaintext {
        layers.text("allow_plaintext", "true", "--allow-plaintext")?;
    }
    Ok(layers.config())
}

/// Whatever starting would refuse, but for what is in the directory, and the address.
fn check(config: &Config) -> Result<(), Failure> {
    config.check().map_err(|what| Failure::new(code::USAGE, what))?;
    Telemetry::check(config)?;
    config.store_options().check().map_err(|error| Failure::from(error).with_context(&"store"))?;
    config.server_options().check().map_err(|error| Failure::new(code::USAGE, error.to_string()))
}

/// Tells what is allowed and is seldom meant, where others reach the server.
fn warn_of(listen: SocketAddr, options: &ServerOptions) {
    if listen.ip().is_loopback() {
        return;
    }
    let auth = &options.auth;
    let asks_for_certificates = options.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if auth.tokens.is_none() && auth.jwt.is_none() {
        if !asks_for_certificates {
            tracing::warn!("nobody is asked who they are: whoever reaches {listen} may do everything");
        }
    } else if options.tls.is_none() && !auth.allow_plaintext_tokens {
        tracing::warn!("tokens from other machines will be refused, since there is no TLS");
    }
}

async fn serve(config: &Config) -> Result<(), Failure> {
    let _telemetry = Telemetry::begin(config)?;
    warn_of(config.listen, &config.server_options());
    // Listened to from the start: a signal that comes while the store is opened ends the server as soon as it is.
    let mut signals = Signals::listen()?;
    let db = EventfoldDb::builder().store(config.store_options()).writer(config.writer_options());
    let db = tokio::task::block_in_place(|| db.open(&config.data));
    let db = db.map_err(|error| of_directory(&config.data, Access::Copy, error))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        directory = %config.data.display(),
        events = db.reads().global_position(),
        "{}",
        db.recovery_report()
    );
    let server = match Server::bind(&config.server_options(), &db).await {
        Ok(server) => server,
        Err(error) => {
            // Nothing was done with it: it is left as it was found, or as a new one is.
            db.close().await?;
            return Err(Failure::new(code::FAILED, error.to_string()));
        }
    };
    let address = server.local_addr();
    tracing::info!(%address, "serving; stop with Ctrl-C or SIGTERM");
    let reload = server.reload();
    let stop = async {
        // Files can hang with their disk, and the server is to end all the same.
        let mut reloading = JoinSet::new();
        while signals.come().await == Asked::ToLookAgain {
            let reload = reload.clone();
            reloading.spawn_blocking(move || reload.now());
            while reloading.try_join_next().is_some() {}
        }
        tracing::info!("stopping: what was asked for is answered first");
    };
    server.serve(stop).await;
    let events = db.reads().global_position();
    db.close().await?;
    tracing::info!(events, "the store is closed");
    Ok(())
}
