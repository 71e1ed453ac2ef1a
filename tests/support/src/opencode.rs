//! An OpenCode as its user has configured it, in place of what `--demo` gives it.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::home::Home;

/// A user's own OpenCode configuration that answers from the scripted model and asks about what `permission` says.
pub fn users_opencode(home: &mut Home, permission: &Value) {
    for name in [
        "OPENCODE_DISABLE_MODELS_FETCH",
        "OPENCODE_DISABLE_LSP_DOWNLOAD",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS",
        "OPENCODE_PURE",
    ] {
        home.set(name, "1");
    }
    // None of these tests is about a slow start, and a machine that runs many of them is slow.
    home.set("ORCHESTRATOR_BOOT_TIMEOUT", "80s");
    let model = home.get("ORCHESTRATOR_DEMO_MODEL").to_owned();
    let config = json!({
        "share": "disabled", "autoupdate": false, "snapshot": false, "lsp": false, "formatter": false,
        "plugin": [], "mcp": {}, "model": "fake/scripted", "small_model": "fake/scripted",
        "enabled_providers": ["fake"], "permission": permission,
        "provider": { "fake": {
            "npm": "@ai-sdk/openai-compatible", "name": "Scripted",
            "options": { "baseURL": format!("{model}/v1"), "apiKey": "sk-scripted" },
            "models": { "scripted": { "name": "S", "tool_call": true, "attachment": true, "modalities": { "input": ["text", "image", "pdf"], "output": ["text"] }, "limit": { "context": 200_000, "output": 32_000 } } },
        } },
    });
    let users = PathBuf::from(home.get("XDG_CONFIG_HOME")).join("opencode");
    fs::create_dir_all(users.join("node_modules")).expect("a file");
    let lock =
        json!({ "packages": { "": { "dependencies": { "@opencode-ai/plugin": "1.18.33" } } } });
    fs::write(users.join("package-lock.json"), lock.to_string()).expect("a file");
    fs::write(users.join("opencode.json"), config.to_string()).expect("a file");
}
