//! The client against a scripted deployment that drops, stalls and refuses at the worst moments.

mod connection;
mod embedded;
mod link;
mod outage;
mod owner;
mod server;
mod slow;
mod streams;
mod world;

use std::time::Duration;

use super::connection::Settings;

/// Long enough for a busy machine; no passing test ever waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

fn quick() -> Settings {
    Settings {
        append_spacing: Duration::ZERO,
        call_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        backoff_first: Duration::from_millis(1),
        backoff_cap: Duration::from_millis(10),
        slept_ms: || 0,
        max_calls: 1_000,
    }
}

/// Waits for a condition that nothing announces.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "never came: {what}");
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(DEADLINE, future).await;
    waited.unwrap_or_else(|_| panic!("never came: {what}"))
}
