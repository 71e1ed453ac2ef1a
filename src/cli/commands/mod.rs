//! One file per command.

pub mod chat;
pub mod completions;
pub mod config;
#[cfg(debug_assertions)]
pub mod debug;
pub mod deployment;
mod detach;
pub mod device;
pub mod doctor;
pub mod init;
pub mod logs;
pub mod machine;
mod machine_command;
pub mod man;
pub mod models;
pub mod owner;
pub mod pair;
pub mod permission;
pub mod ps;
pub mod reload;
pub mod restart;
pub mod run;
pub mod send;
pub mod service;
pub mod session;
pub mod status;
pub mod stop;
pub mod task;
pub mod version;
pub mod wait_for_task;
pub mod worker;
