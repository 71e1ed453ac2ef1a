//! Implementations of the ports that `actors/` needs, over real processes, files and sockets.

pub mod clock;
pub mod opencode;
pub mod process;
