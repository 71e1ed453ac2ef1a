//! `orchestrator run --detach`: the same command again, in the background. Returns when the control socket answers, or
//! shows the end of the log when it does not come up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::adapters::process::companion::spawn_detached;
use crate::adapters::process::own_binary;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::supervisor::Supervisor;
use crate::config::paths::private_dir;
use crate::control::Verb;
use crate::daemon::{RunError, holder};

/// An installation of OpenCode may be part of the start.
const LIMIT: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(100);
/// Lines of the log to show when the start fails.
const TAIL: usize = 15;

/// The command line that does in the foreground what this one does in the background.
fn in_the_foreground(args: impl Iterator<Item = String>) -> Vec<String> {
    const ALIAS: [&str; 3] = ["machine", "daemon", "start"];
    let mut args: Vec<String> = args.filter(|arg| arg != "--detach").collect();
    if let Some(at) = args.windows(3).position(|words| words == ALIAS) {
        args.splice(at..at + 3, ["run".to_owned()]);
    }
    args
}

pub(super) async fn detach(app: &App) -> Result<Exit, Failure> {
    if let Some(holder) = holder(&app.paths.lock_file()) {
        return Err(RunError::AlreadyRunning(Some(holder)).into());
    }
    let logs = app.paths.logs();
    private_dir(&logs)?;
    let log = logs.join("detached.log");
    // The file is the start's own: an older start's errors would be misleading.
    let _ = std::fs::remove_file(&log);
    let args = in_the_foreground(std::env::args().skip(1));
    let pid = spawn_detached(&own_binary(), &args, &BTreeMap::new(), &log)
        .map_err(|error| Failure::failed(format!("cannot start in the background: {error}")))?;
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Ok(supervisor) = Supervisor::find(app)
            && supervisor.holder.pid == pid
            && supervisor
                .ask(Verb::Ps, Duration::from_secs(2))
                .await
                .is_ok()
        {
            app.ui.say(format!(
                "running in the background (pid {pid}); stop it: orchestrator stop"
            ));
            return Ok(Exit::Ok);
        }
        let ended = exit_code(pid);
        if ended.is_some() || Instant::now() > deadline {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let tail = lines[lines.len().saturating_sub(TAIL)..].to_vec();
            let exit = ended.and_then(Exit::from_code).unwrap_or(Exit::Failed);
            return Err(Failure::new(exit, "it did not come up in the background")
                .lines(tail)
                .hint(format!("its output is in {}", log.display())));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What it ended with; `None` while it lives. It is our child: once it has ended it is a zombie until we end, too.
fn exit_code(pid: u32) -> Option<i32> {
    let gone = Some(i32::from(Exit::Failed.code()));
    let Some(pid) = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    else {
        return gone;
    };
    match rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG) {
        Ok(None) => None,
        Ok(Some((_, status))) => status.exit_status().or(gone),
        Err(_) => gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_become_a_run_in_the_foreground() {
        let run = |line: &str| in_the_foreground(line.split(' ').map(str::to_owned)).join(" ");
        assert_eq!(run("-q run --detach --local"), "-q run --local");
        assert_eq!(
            run("--config x machine daemon start --local"),
            "--config x run --local"
        );
    }
}
