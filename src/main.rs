//! The `orchestrator` binary. Its internal faces (warden, scripted model) are answered before anything else.

use std::process::ExitCode;

use orchestrator::adapters::process::{WARDEN_ARGUMENT, warden_main};
use orchestrator::model::{MODEL_ARGUMENT, model_main};

fn main() -> ExitCode {
    let face = std::env::args().nth(1);
    let code = match face.as_deref() {
        Some(WARDEN_ARGUMENT) => warden_main(),
        Some(MODEL_ARGUMENT) => model_main(),
        _ => 2,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
