//! Owning processes. **The only place in the product that starts processes or sends signals** (a clippy ban
//! says so), because a process that is started elsewhere would escape its warden.
//!
//! Theory of operation: every child runs under a *warden*, our own binary re-executed as `__warden`. The warden
//! holds one end of a socket to the supervisor (the *lifeline*), the *lease* (file locks) and, as a subreaper,
//! every process that descends from the child. Whatever ends first (child, warden or supervisor), no
//! descendant is left: the warden sees the lifeline close and kills; the kernel kills the child of a dead
//! warden; and who takes a session's lock next first sweeps all that carries the session's *marker* in its environment.
//!
//! Subreaper, parent-death signal, marker scan and child journal are Linux's. Elsewhere only the child's process
//! group is ended; a tool that made a session of its own can survive a `kill -9` of the supervisor there.
#![allow(clippy::disallowed_methods)]

pub mod again;
pub mod background;
pub mod command;
pub mod companion;
pub mod directories;
pub mod environment;
pub mod foreground;
pub mod journal;
mod keeper;
pub mod lease;
pub mod leftovers;
mod lines;
pub mod marker;
mod memory;
mod private;
mod protocol;
mod sys;
mod temporary;
mod ward;
mod warden;

pub use memory::give_large_blocks_back;
pub use private::private_folder;
pub use protocol::{is_shortage, speaks_of_shortage};
pub use sys::{boot_id, memory_bytes, rss_bytes};
pub use ward::{ExitRecord, Line, Source, SpawnError, Ward, WardSpec};
pub use warden::warden_main;

use std::path::PathBuf;

/// The argument that turns our binary into a warden.
pub const WARDEN_ARGUMENT: &str = "__warden";

/// The running binary. On Linux by its link in `/proc`, which stays right while the file is replaced by an upgrade.
pub fn own_binary() -> PathBuf {
    if cfg!(target_os = "linux") {
        PathBuf::from("/proc/self/exe")
    } else {
        std::env::current_exe().unwrap_or_else(|_| PathBuf::from("orchestrator"))
    }
}
