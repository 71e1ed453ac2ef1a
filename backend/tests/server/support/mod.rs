//! What the tests share. Every wait has a deadline.

mod client;
mod owner;
mod real;
mod scripted;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use orchestrator_backend::server::{Deployment, ServerConfig};

pub use client::{Client, field_ts};
pub use owner::Owner;
pub use real::real;
pub use scripted::World;

pub const DEADLINE: Duration = Duration::from_secs(20);

pub fn any_port() -> ServerConfig {
    ServerConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// A deployment over a scripted world, with the given changes to its configuration.
pub async fn deployment(world: &World, change: impl FnOnce(&mut ServerConfig)) -> Deployment {
    let mut config = any_port();
    // many of these clients never read the close frame that a stop waits for
    config.tuning.goodbye = Duration::from_millis(100);
    change(&mut config);
    Deployment::start_with(config, world.factory())
        .await
        .unwrap()
}

/// Until the condition holds, or the test fails.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
