//! A socket as a stranger opens it: any headers, any identity, and one subscription.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const PATIENCE: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Debug)]
pub enum Seen {
    /// The upgrade was refused with this status.
    NoUpgrade(u16),
    /// The first answer of this kind; `AuthError`, or the `Transition` with the subscription's result.
    Said(Value),
}

/// Opens the deployment's socket, shows `token` if there is one, and subscribes to `function`.
pub fn subscribe(
    url: &str,
    headers: &[(&str, &str)],
    token: Option<&str>,
    function: &str,
    args: &Value,
) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let seen = async {
        let mut socket = match open(url, headers).await {
            Ok(socket) => socket,
            Err(Error::Http(response)) => return Seen::NoUpgrade(response.status().as_u16()),
            Err(error) => panic!("{url}: {error}"),
        };
        let mut messages = vec![json!({
            "type": "Connect", "sessionId": "8b0e5b4e-31a5-4e1d-9a0c-6f3b8a0d5e11", "connectionCount": 0,
            "lastCloseReason": null, "clientTs": 0,
        })];
        if let Some(token) = token {
            messages.push(json!({ "type": "Authenticate", "baseVersion": 0, "tokenType": "User", "value": token }));
        }
        let add = json!({ "type": "Add", "queryId": 0, "udfPath": function, "args": [args] });
        messages.push(
            json!({ "type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [add] }),
        );
        for message in messages {
            // A deployment that has hung up already has said why.
            let _ = socket.send(Message::text(message.to_string())).await;
        }
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    let empty = message["modifications"]
                        .as_array()
                        .is_some_and(Vec::is_empty);
                    if message["type"] != "Ping" && !empty {
                        return Seen::Said(message);
                    }
                }
                Some(Ok(_)) => {}
                end => panic!("the socket ended without an answer: {end:?}"),
            }
        }
    };
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, seen).await })
        .expect("an answer in time")
}

async fn open(
    url: &str,
    headers: &[(&str, &str)],
) -> Result<WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>, Error> {
    let mut request =
        format!("{}/api/sync", url.replacen("http", "ws", 1)).into_client_request()?;
    for (name, value) in headers {
        let name: HeaderName = name.parse().expect("a name");
        let value: HeaderValue = value.parse().expect("a value");
        request.headers_mut().insert(name, value);
    }
    Ok(tokio_tungstenite::connect_async(request).await?.0)
}
