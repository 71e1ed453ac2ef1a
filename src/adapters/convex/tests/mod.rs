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

/// Under paused time the clock jumps to the next timer as soon as no task is ready, even while bytes are still on their way
/// through the kernel: on a busy machine an answer then seems to take as long as the next timeout. While this lives, the clock
/// moves by one step at most for each millisecond of the wall.
fn bytes_take_time(step: Duration) -> tokio_util::task::AbortOnDropHandle<()> {
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            // The paused clock stands still as long as a blocking task runs.
            let wall = tokio::task::spawn_blocking(a_millisecond_of_the_wall);
            if wall.await.is_err() {
                return;
            }
            tokio::time::sleep(step).await;
        }
    }))
}

#[allow(clippy::disallowed_methods)]
fn a_millisecond_of_the_wall() {
    std::thread::sleep(Duration::from_millis(1));
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
