//! Telling others the metrics of the application while its main function runs.

use std::net::SocketAddr;

use sunstar_executor::{JoinHandle, Sharded, TaskBuilder, invoke_on_all};
use sunstar_http::{Exchange, Request, Router, Server, Status, serve_metrics};
use sunstar_metrics::collectd::{self, SenderError};
use sunstar_net::{ListenerOptions, Spread};

use crate::error::Error;
use crate::observed;

/// To whom metrics are told.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    /// Where Prometheus gets them.
    pub(crate) prometheus: Option<SocketAddr>,
    /// Where they are sent to.
    pub(crate) collectd: Option<collectd::Options>,
}

impl Telling {
    /// Runs `main` between the begin and the end of telling. If this is dropped, what was begun goes with the shards.
    pub(crate) async fn around(self, main: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        invoke_on_all(|| async { observed::register() }).await?;
        let collectd = self.collectd.map(send).transpose()?;
        let prometheus = match self.prometheus {
            Some(address) => Some(serve(address).await?),
            None => None,
        };
        let outcome = main.await;
        if let Some(sending) = collectd {
            sending.abort();
        }
        if let Some(server) = prometheus {
            server.await;
        }
        outcome
    }
}

/// Sends the metrics to collectd until it is aborted.
fn send(options: collectd::Options) -> Result<JoinHandle<std::convert::Infallible>, Error> {
    let address = options.address;
    let sender = collectd::Sender::new(options);
    let sender = sender.map_err(|error| match error {
        SenderError::Net(error) => Error::about_address(format_args!("send to --collectd {address}"), error),
        error => error.into(),
    })?;
    Ok(TaskBuilder::new().name("collectd").spawn(sender.run()))
}

/// Starts the server that Prometheus asks; the answer stops it in order.
async fn serve(address: SocketAddr) -> Result<impl Future<Output = ()>, Error> {
    let server = Sharded::start_single(|| async { Server::new(routes()) }).await;
    server.local().publish("prometheus")?;
    let options = ListenerOptions { spread: Spread::Off, ..ListenerOptions::default() };
    let listening = server.local().listen(address, options).await;
    let name = format!("{address} for --prometheus-address and --prometheus-port");
    let address = listening.map_err(|error| Error::listening(name, error))?;
    log::info!("metrics at http://{address}/metrics");
    Ok(async move {
        if let Err(error) = server.stop().await {
            log::error!("stopping the server of metrics: {error}");
        }
    })
}

/// `HEAD` and `OPTIONS` come with it.
fn routes() -> Router {
    let mut router = Router::new();
    router.get("/metrics", serve_metrics).expect("the pattern is well-formed");
    router.default_handler(async |_: Request, exchange: &mut Exchange<'_>| -> Result<(), sunstar_http::Error> {
        exchange.respond(Status::NOT_FOUND)?.send("metrics are at /metrics\n");
        Ok(())
    });
    router
}
