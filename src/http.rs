//! The status endpoint: `/metrics`, `/stats` and `/healthz`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::runtime;

/// What is told: text for each path.
pub(crate) struct Pages<M, S, P> {
    /// Prometheus's text format.
    pub(crate) metrics: M,
    /// JSON.
    pub(crate) stats: S,
    /// Why nobody should send to the program now, if so.
    pub(crate) problem: P,
}

/// Binds the address to serve on, before anything else is opened.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).with_context(|| {
        format!("cannot serve HTTP on {address}: choose another address with --http")
    })
}

/// Serves from now on, on a thread of its own, until the process ends.
pub(crate) fn serve<M, S, P>(listener: TcpListener, pages: Pages<M, S, P>) -> Result<()>
where
    M: Fn() -> String + Send + Sync + 'static,
    S: Fn() -> String + Send + Sync + 'static,
    P: Fn() -> Option<&'static str> + Send + Sync + 'static,
{
    let routes = routes(Arc::new(pages));
    let runtime = runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.context("cannot start the status endpoint")?;
    listener
        .set_nonblocking(true)
        .context("cannot start the status endpoint")?;
    let address = listener
        .local_addr()
        .context("cannot start the status endpoint")?;
    tracing::info!("status on http://{address}");
    let run = move || {
        let served = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, routes).await
        });
        if let Err(error) = served {
            tracing::error!("the status endpoint ended: {error}");
        }
    };
    let spawned = thread::Builder::new().name("http".to_owned()).spawn(run);
    spawned.context("cannot start a thread")?;
    Ok(())
}

fn routes<M, S, P>(pages: Arc<Pages<M, S, P>>) -> Router
where
    M: Fn() -> String + Send + Sync + 'static,
    S: Fn() -> String + Send + Sync + 'static,
    P: Fn() -> Option<&'static str> + Send + Sync + 'static,
{
    let (for_metrics, for_stats) = (Arc::clone(&pages), Arc::clone(&pages));
    let metrics = move || async move {
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        ([(CONTENT_TYPE, kind)], (for_metrics.metrics)())
    };
    let stats = move || async move { ([(CONTENT_TYPE, "application/json")], (for_stats.stats)()) };
    let health = move || async move {
        match (pages.problem)() {
            Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")),
            None => (StatusCode::OK, "ok\n".to_owned()),
        }
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/stats", get(stats))
        .route("/healthz", get(health))
}
