//! A client that follows a turn as the command line does: its own WebSocket, `chunks:page` in windows of 32.

use orchestrator::adapters::convex::OwnerClient;
use serde_json::{Value, json};

const WINDOW: u64 = 32;

/// Calls `each` with the content of every new item until the turn is closed and everything of it was seen.
pub async fn follow(owner: &OwnerClient, turn: &str, mut each: impl FnMut(&str)) {
    let mut next = 0;
    let mut window = owner.subscribe("chunks:page", json!({ "turnId": turn, "from": next }));
    loop {
        let page = window
            .recv()
            .await
            .expect("the deployment is there")
            .expect("a page");
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let from = next;
        for item in items.iter().filter(|item| index(item) >= from) {
            each(item["content"].as_str().unwrap_or_default());
            next = index(item) + 1;
        }
        if next > from && next % WINDOW == 0 {
            window = owner.subscribe("chunks:page", json!({ "turnId": turn, "from": next }));
        } else if !matches!(page["state"].as_str(), Some("queued" | "claimed")) {
            return;
        }
    }
}

fn index(item: &Value) -> u64 {
    item["index"].as_f64().unwrap_or_default() as u64
}
