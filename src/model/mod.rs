//! The scripted model: an OpenAI-compatible server on loopback that needs no provider, no key and no network. `--demo` and
//! the tests put it under a real OpenCode. It is a process of its own (`orchestrator __model`) that ends when its
//! stdin closes, so that it never outlives who started it.
//!
//! A prompt that begins with `SCRIPT:` is played ([`script`]); a prompt that asks for a file gets one; any other is
//! answered in a few pieces ([`reply`]). `GET /stats` tells what was asked ([`stats`]), `POST /reset` forgets it.

mod play;
mod reply;
mod request;
mod script;
mod server;
mod stats;

pub use server::{Model, ModelOptions, listen};

use tokio::io::AsyncReadExt;

/// The argument that turns our binary into the model; an optional second one is the port.
pub const MODEL_ARGUMENT: &str = "__model";

/// The whole life of a model process: prints one JSON line with its address, serves until stdin ends.
pub fn model_main() -> i32 {
    let port = std::env::args()
        .nth(2)
        .and_then(|port| port.parse().ok())
        .unwrap_or(0);
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| {
            runtime.block_on(serve(ModelOptions {
                port,
                ..ModelOptions::default()
            }))
        });
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            let text = format!("the scripted model could not be started: {error}\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
            1
        }
    }
}

/// The model's base URL (`…/v1`) out of the line that its process prints.
pub fn url_in(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    line["url"].as_str().map(str::to_owned)
}

/// Serves until stdin ends.
pub async fn serve(options: ModelOptions) -> std::io::Result<()> {
    let model = listen(options).await?;
    let line = serde_json::json!({
        "schema": 1,
        "port": model.address().port(),
        "url": model.base_url(),
    });
    std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes())?;
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 64];
    loop {
        match stdin.read(&mut ignored).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
    }
}
