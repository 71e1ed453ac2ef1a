//! The life of one socket: connect, say who we are, send what waits, read until it breaks.
//!
//! Reader, writer and two watchdogs are futures of one task. They end together with the socket, so a new
//! socket never sees a message of an old one.

use std::time::Duration;

use convex_sync_types::{ClientMessage, ServerMessage};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use orchestrator_actors::domain::token::without_secrets;
use rustls::crypto::{CryptoProvider, ring};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use url::Url;

use super::connection::{Connection, SLEPT_MS};
use crate::adapters::clock::wall_ms;

/// The version whose protocol we speak; deployments may look at it.
const CLIENT: &str = "rust-0.10.4";
/// Our functions' results stay below 1 MiB; this is the belt.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

const LOOK_FOR_SLEEP: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How a socket ended.
#[derive(Debug)]
pub struct Closed {
    pub fault: Fault,
    pub reason: String,
    /// It had got as far as a first transition.
    pub was_synced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It broke, or was closed: try again.
    Broken,
    /// Nothing listens there, or the name is unknown.
    NobodyThere,
    /// The identity was refused.
    Unauthorized,
    /// The server says that we broke the protocol, or we do not understand it.
    Protocol,
}

type Broken = (Fault, String);

pub async fn run(connection: &Connection, endpoint: &Url) -> Closed {
    let mut was_synced = false;
    let (fault, reason) = match open(connection, endpoint).await {
        Err(broken) => broken,
        Ok((socket, connect)) => {
            let (sink, stream) = socket.split();
            tokio::select! {
                broken = write(connection, sink, connect) => broken,
                broken = read(connection, stream, &mut was_synced) => broken,
                broken = watch_calls(connection) => broken,
                broken = watch_sleep(connection) => broken,
            }
        }
    };
    Closed {
        fault,
        reason,
        was_synced,
    }
}

async fn open(connection: &Connection, endpoint: &Url) -> Result<(Socket, ClientMessage), Broken> {
    // Without a provider the first wss connection panics. An earlier installation is as good.
    if CryptoProvider::get_default().is_none() {
        let _ = ring::default_provider().install_default();
    }
    let mut request = endpoint
        .as_str()
        .into_client_request()
        .map_err(|error| (Fault::Protocol, error.to_string()))?;
    let headers = request.headers_mut();
    headers.insert("Convex-Client", HeaderValue::from_static(CLIENT));
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let within = connection.settings.connect_timeout;
    // `true` is TCP_NODELAY: without it every mutation waits 40 ms for a delayed acknowledgement.
    let attempt = connect_async_with_config(request, Some(config), true);
    let socket = match timeout(within, attempt).await {
        Err(_) => return Err((Fault::Broken, format!("no connection within {within:?}"))),
        Ok(Err(error)) => return Err(refused(&error)),
        Ok(Ok((socket, _))) => socket,
    };
    let connect = connection
        .begin_socket(wall_ms())
        .map_err(|reason| (Fault::Unauthorized, reason))?;
    Ok((socket, connect))
}

fn refused(error: &tungstenite::Error) -> Broken {
    match error {
        tungstenite::Error::Io(io) => {
            let nobody = matches!(
                io.kind(),
                std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound
            );
            // A failed name lookup has no kind of its own.
            let unknown = io.to_string().contains("lookup");
            let fault = if nobody || unknown {
                Fault::NobodyThere
            } else {
                Fault::Broken
            };
            (fault, io.to_string())
        }
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
            let status = response.status();
            (
                Fault::Broken,
                format!("answered {status} {text}").trim_end().to_owned(),
            )
        }
        other => (Fault::Broken, other.to_string()),
    }
}

async fn write(
    connection: &Connection,
    mut sink: SplitSink<Socket, Message>,
    connect: ClientMessage,
) -> Broken {
    let mut next = Some(connect);
    loop {
        while let Some(message) = next.take().or_else(|| connection.next_outgoing()) {
            let json = match serde_json::Value::try_from(message) {
                Ok(json) => json.to_string(),
                Err(error) => return (Fault::Protocol, error.to_string()),
            };
            if let Err(error) = sink.feed(Message::text(json)).await {
                return (Fault::Broken, error.to_string());
            }
        }
        if let Err(error) = sink.flush().await {
            return (Fault::Broken, error.to_string());
        }
        connection.outgoing.notified().await;
    }
}

async fn read(
    connection: &Connection,
    mut stream: SplitStream<Socket>,
    was_synced: &mut bool,
) -> Broken {
    let silence = connection.settings.read_timeout;
    loop {
        let Ok(message) = timeout(silence, stream.next()).await else {
            return (Fault::Broken, format!("no message for {silence:?}"));
        };
        let text = match message {
            None => return (Fault::Broken, "the connection ended".to_owned()),
            Some(Err(error)) => return (Fault::Broken, error.to_string()),
            Some(Ok(Message::Close(frame))) => {
                let reason = frame.map(|frame| frame.reason.to_string());
                let reason = reason.filter(|reason| !reason.is_empty());
                let reason = reason.unwrap_or_else(|| "the deployment closed".to_owned());
                return (Fault::Broken, reason);
            }
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(_)) => continue,
        };
        match take(connection, &text) {
            Ok(is_transition) => *was_synced |= is_transition,
            Err(broken) => return broken,
        }
    }
}

fn take(connection: &Connection, text: &str) -> Result<bool, Broken> {
    let protocol = |error: String| (Fault::Protocol, error);
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|error| protocol(error.to_string()))?;
    let message = ServerMessage::<convex::Value>::try_from(json)
        .map_err(|error| protocol(error.to_string()))?;
    match message {
        ServerMessage::AuthError { error_message, .. } => Err((Fault::Unauthorized, error_message)),
        // It may quote what we sent.
        ServerMessage::FatalError { error_message } => {
            Err((Fault::Protocol, without_secrets(&error_message)))
        }
        message => connection.receive(message).map_err(protocol),
    }
}

/// Drops the socket when a call gets no answer: on the next one it is sent again under its request id.
async fn watch_calls(connection: &Connection) -> Broken {
    let most = connection.settings.call_timeout;
    let pace = (most / 8).clamp(Duration::from_millis(10), Duration::from_secs(5));
    loop {
        tokio::time::sleep(pace).await;
        let stalled = connection.stalled_since().map(|since| since.elapsed());
        if stalled.is_some_and(|stalled| stalled >= most) {
            return (Fault::Broken, format!("no answer to a call for {most:?}"));
        }
    }
}

/// A machine that wakes up after a sleep has lost its peers; waiting for their silence to be noticed takes half a minute.
async fn watch_sleep(connection: &Connection) -> Broken {
    let slept = connection.settings.slept_ms;
    let before = slept();
    loop {
        tokio::time::sleep(LOOK_FOR_SLEEP).await;
        let asleep = slept().saturating_sub(before);
        if asleep >= SLEPT_MS {
            let reason = format!("the machine slept for {} s", asleep / 1_000);
            return (Fault::Broken, reason);
        }
    }
}
