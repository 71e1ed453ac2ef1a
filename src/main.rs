//! The `orchestrator` binary. Its internal faces (warden, scripted model) are answered before anything else, because they
//! must not read flags, files or the environment of a supervisor.

use std::process::ExitCode;

use orchestrator::adapters::process::{WARDEN_ARGUMENT, give_large_blocks_back, warden_main};
use orchestrator::cli;
use orchestrator::model::{MODEL_ARGUMENT, model_main};

fn main() -> ExitCode {
    let face = std::env::args_os().nth(1);
    let code = match face.as_deref().and_then(std::ffi::OsStr::to_str) {
        Some(WARDEN_ARGUMENT) => warden_main(),
        Some(MODEL_ARGUMENT) => model_main(),
        _ => {
            give_large_blocks_back();
            return cli::main();
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
