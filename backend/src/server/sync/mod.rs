//! Convex's sync protocol, the server's side, over one WebSocket per client.
//!
//! `connection` is the loop of one socket, `inbound` its handling of what the client sends, `work` of what
//! the engine does; they decide nothing that the pure parts can: `query_set` (versions and
//! queries), `mutation_queue` (order), `transition` (what goes over the wire), `messages` (the border). `outbound` is the
//! way out. A connection belongs to one generation of the engine and ends with it.

mod connection;
mod deep;
pub(super) mod fit;
#[cfg(test)]
mod fuzz;
mod inbound;
pub(super) mod messages;
mod mutation_queue;
mod outbound;
mod query_set;
#[cfg(test)]
mod races;
mod transition;
mod work;

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use tracing::Instrument;

use super::app::App;
use super::http::Refusal;

/// The hard limit is above the polite one, so that a message which is only somewhat too large gets a readable close
/// reason instead of a reset.
const MESSAGE_SLACK: usize = 12 << 20;

/// `GET /api/sync` and `GET /api/{version}/sync`.
pub(super) async fn upgrade(
    State(app): State<Arc<App>>,
    socket: WebSocketUpgrade,
) -> Result<Response, Refusal> {
    let generation = app
        .engine
        .generation()
        .map_err(|down| Refusal::unavailable(&down.to_string()))?;
    if app.stop.is_cancelled() {
        return Err(Refusal::unavailable("the deployment is stopping"));
    }
    let limit = app.tuning.message_bytes.saturating_add(MESSAGE_SLACK);
    let span = tracing::debug_span!("socket", id = tracing::field::Empty);
    Ok(socket
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| {
            let tracker = app.sockets.clone();
            tracker.track_future(connection::serve(socket, app, generation).instrument(span))
        }))
}
