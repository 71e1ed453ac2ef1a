//! The one list of environment variables that the program reads. Everything else in the environment is none of its
//! business; what of it an assistant gets is decided in the process adapter.

/// `workers.json` to use instead of the one in the configuration folder.
pub const CONFIG: &str = "ORCHESTRATOR_CONFIG";
/// State folder: lock, outbox, logs.
pub const STATE_DIR: &str = "ORCHESTRATOR_STATE_DIR";
/// Folder of this machine's identity, and of `workers.json` when nothing else is said.
pub const CONFIG_DIR: &str = "ORCHESTRATOR_CONFIG_DIR";
/// Data folder: the embedded deployment, installed assistants, their stores, work trees.
pub const DATA_DIR: &str = "ORCHESTRATOR_DATA_DIR";
/// Log level or filter, as `--log-level` takes it.
pub const LOG: &str = "ORCHESTRATOR_LOG";
/// `auto`, `always` or `never`.
pub const COLOR: &str = "ORCHESTRATOR_COLOR";
/// Any value but `0` and `false`: never ask anything.
pub const NO_INPUT: &str = "ORCHESTRATOR_NO_INPUT";
/// The deployment that commands talk to.
pub const URL: &str = "ORCHESTRATOR_URL";
/// The same, under the name that Convex's own tools use.
pub const CONVEX_URL: &str = "CONVEX_URL";
/// An owner's JWT, in the place of one made from the owner's key.
pub const OWNER_TOKEN: &str = "ORCHESTRATOR_OWNER_TOKEN";
/// The owner's key to prove ownership with.
pub const OWNER_KEY: &str = "ORCHESTRATOR_OWNER_KEY";
/// The OpenCode binary to use.
pub const OPENCODE_BIN: &str = "ORCHESTRATOR_OPENCODE_BIN";
/// The Goose binary to use for tasks.
pub const GOOSE_BIN: &str = "ORCHESTRATOR_GOOSE_BIN";
/// The provider of Goose, over the one in `workers.json`.
pub const GOOSE_PROVIDER: &str = "GOOSE_PROVIDER";
/// The model of Goose, over the one in `workers.json`.
pub const GOOSE_MODEL: &str = "GOOSE_MODEL";
/// How long an assistant may take from its start until it listens.
pub const BOOT_TIMEOUT: &str = "ORCHESTRATOR_BOOT_TIMEOUT";
/// How many assistants may be alive at once on this machine.
pub const MAX_ASSISTANTS: &str = "ORCHESTRATOR_MAX_ASSISTANTS";
/// How many may be starting at once.
pub const MAX_STARTING: &str = "ORCHESTRATOR_MAX_STARTING";
/// The memory of one assistant, in MB, above which it is replaced as soon as no turn needs it.
pub const MAX_MEMORY_MB: &str = "ORCHESTRATOR_MAX_MEMORY_MB";
/// A scripted model that runs already, for `--demo` to use instead of one of its own.
pub const DEMO_MODEL: &str = "ORCHESTRATOR_DEMO_MODEL";
/// How long the embedded deployment lets a message wait for a supervisor.
pub const QUEUED_LIMIT: &str = "ORCHESTRATOR_QUEUED_LIMIT";
/// How long the embedded deployment lets a claimed turn wait for a supervisor that is gone.
pub const ABANDONED_LIMIT: &str = "ORCHESTRATOR_ABANDONED_LIMIT";
/// A folder with a built page that the embedded deployment serves in the place of the one in the binary.
pub const PAGE: &str = "ORCHESTRATOR_PAGE";
/// The least time between two appends of streamed text to a deployment.
pub const APPEND_SPACING: &str = "ORCHESTRATOR_APPEND_SPACING";
/// Where a push service can complain about what we send, `mailto:` or `https:`.
pub const PUSH_CONTACT: &str = "ORCHESTRATOR_PUSH_CONTACT";
/// How long a graceful shutdown may take.
pub const SHUTDOWN_TIMEOUT: &str = "ORCHESTRATOR_SHUTDOWN_TIMEOUT";
/// With `--local`: what is decided of that which an assistant asks for: `ask`, `allow` or `deny`.
pub const PERMISSIONS: &str = "ORCHESTRATOR_PERMISSIONS";
/// With `--local`: how long an assistant's request may wait for its answer.
pub const ANSWER_TIMEOUT: &str = "ORCHESTRATOR_ANSWER_TIMEOUT";
/// Idle time in milliseconds, or with a unit, after which a session's child is stopped.
pub const IDLE_TIMEOUT: &str = "IDLE_TIMEOUT";

/// Set by `run --detach` for the process that it starts: what to write into once it is up. Not for people.
pub const IN_BACKGROUND: &str = "ORCHESTRATOR_IN_BACKGROUND";

/// In a debug build only: a folder of functions that the embedded deployment runs in the place of the product's.
#[cfg(debug_assertions)]
pub const TEST_FUNCTIONS: &str = "ORCHESTRATOR_TEST_FUNCTIONS";

/// In a debug build only: an address that push messages go to in the place of their push services.
#[cfg(debug_assertions)]
pub const TEST_PUSH: &str = "ORCHESTRATOR_TEST_PUSH";

/// The value of a variable that is set and not empty.
pub fn get(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
