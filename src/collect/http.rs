//! The status endpoint: `/metrics`, `/stats` and `/healthz`.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use forebay_collector::{Control, Status};
use tokio::runtime;

use super::{metrics, stats};

/// Serves from now on, on a thread of its own, until the process ends.
pub(super) fn serve(
    listener: TcpListener,
    watch: impl Fn() -> Status + Send + Sync + Clone + 'static,
    control: &Arc<Control>,
) -> Result<()> {
    let routes = routes(watch, Arc::clone(control));
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

fn routes(
    watch: impl Fn() -> Status + Send + Sync + Clone + 'static,
    control: Arc<Control>,
) -> Router {
    let watch_metrics = watch.clone();
    let metrics = move || async move {
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        ([(CONTENT_TYPE, kind)], metrics::text(&watch_metrics()))
    };
    let stats =
        move || async move { ([(CONTENT_TYPE, "application/json")], stats::json(&watch())) };
    let health = move || async move {
        if control.stopping() {
            (StatusCode::SERVICE_UNAVAILABLE, "ending\n")
        } else {
            (StatusCode::OK, "ok\n")
        }
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/stats", get(stats))
        .route("/healthz", get(health))
}
