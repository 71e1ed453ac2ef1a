//! The OpenCode that tests run: found or installed by the product's own installer, once for all tests, below cargo's
//! target folder (`ORCHESTRATOR_TEST_AGENTS` names another one). `ORCHESTRATOR_OPENCODE_BIN` and a compatible OpenCode
//! on the PATH win, as they do in the product.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use orchestrator::adapters::opencode::install::{Search, find_or_install};

use crate::cache::target;

/// OpenCode's executable. `binary` is `env!("CARGO_BIN_EXE_orchestrator")` of the calling test: npm runs under its
/// warden. Blocks; panics with the installer's error, which says what to do.
pub fn agents(binary: &Path) -> PathBuf {
    static OPENCODE: OnceLock<PathBuf> = OnceLock::new();
    OPENCODE.get_or_init(|| find(binary)).clone()
}

fn find(binary: &Path) -> PathBuf {
    let data = std::env::var_os("ORCHESTRATOR_TEST_AGENTS").map_or_else(target, PathBuf::from);
    let mut search = Search::from_environment(data);
    binary.clone_into(&mut search.warden);
    // A thread of its own: the caller may be inside a runtime already.
    let found = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(find_or_install(&search, |_| {}))
    });
    let found = found.join().expect("the installer does not panic");
    found.unwrap_or_else(|error| panic!("{error}")).binary
}
