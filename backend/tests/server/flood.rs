//! A hundred thousand mutations at once on one socket: held back by TCP, answered in order, run exactly once each; what
//! the others wait for meanwhile is printed. (The same with the disk, npm's client and a kill: `tests/durability`.)

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, DEADLINE, World, deployment};

const SENT: u32 = 100_000;

#[tokio::test]
async fn a_hundred_thousand_mutations_at_once_are_held_back_and_all_get_through() {
    let world = World::default();
    let deployment = deployment(&world, |_| {}).await;
    let client = Client::connect(&deployment.url()).await;
    let (mut sink, mut stream) = client.socket.split();
    let sending = tokio::spawn(async move {
        for request in 0..SENT {
            let message = json!({ "type": "Mutation", "requestId": request, "udfPath": "rows:add", "args": [{ "key": "flood" }] });
            sink.feed(Message::text(message.to_string())).await.unwrap();
        }
        sink.flush().await.unwrap();
    });
    let reading = tokio::spawn(async move {
        let mut next = 0;
        while next < SENT {
            let frame = tokio::time::timeout(DEADLINE, stream.next()).await;
            match frame.expect("an answer").expect("no end") {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] == "MutationResponse" {
                        assert_eq!(message["requestId"], next);
                        next += 1;
                        assert_eq!(message["result"], f64::from(next), "{message}");
                    }
                }
                Ok(Message::Close(frame)) => panic!("closed: {frame:?}"),
                Ok(_) => {}
                Err(error) => panic!("cut off: {error}"),
            }
        }
    });
    let mut other = Client::connect(&deployment.url()).await;
    let mut served = Vec::new();
    while !reading.is_finished() {
        let start = Instant::now();
        let request = u32::try_from(served.len()).unwrap();
        other
            .mutate(request, "rows:add", json!({ "key": "other" }))
            .await;
        other.response(request).await;
        other.transition().await;
        served.push(start.elapsed());
    }
    reading.await.unwrap();
    sending.await.unwrap();
    assert_eq!(world.executed(), SENT as usize + served.len());
    served.sort();
    let (median, longest) = (served[served.len() / 2], served[served.len() - 1]);
    println!(
        "while {SENT} mutations waited, {} of another client: p50 {median:?}, p99 {:?}, longest {longest:?}",
        served.len(),
        served[served.len() * 99 / 100],
    );
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    deployment.stop().await;
}
