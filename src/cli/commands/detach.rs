//! `orchestrator run --detach`: the same command again, in the background. Everything that it says until it serves is said here,
//! word for word; a start that fails ends with its exit code.

use std::ffi::OsString;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::mpsc;

use crate::adapters::process::background::{MARK, start};
use crate::adapters::process::own_binary;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::config::env;
use crate::config::paths::private_dir;

/// After its end, for what it said last; something that it started may hold the pipes open.
const LAST_WORDS: Duration = Duration::from_secs(1);

enum Said {
    Out(String),
    Err(String),
    /// After all the rest.
    Up,
}

pub(super) async fn detach(app: &App) -> Result<Exit, Failure> {
    let logs = app.paths.logs();
    private_dir(&logs)?;
    let log = logs.join("detached.log");
    // Word for word: whose turn it is to go into the background is said beside them.
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let failed =
        |error: std::io::Error| Failure::failed(format!("cannot start in the background: {error}"));
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
        .map_err(failed)?;
    let (mut background, stdout, stderr) =
        start(&own_binary(), &args, (env::IN_BACKGROUND, &log)).map_err(failed)?;
    let pid = background.pid();
    let (tell, mut said) = mpsc::channel(64);
    tokio::spawn(hear(stdout, stderr, tell));
    loop {
        tokio::select! {
            // What it said comes before what became of it.
            biased;
            Some(word) = said.recv() => if show(app, word) {
                app.ui.say(format!("running in the background (pid {pid}); its later words: {}", app.paths.shown(&log)));
                return Ok(Exit::Ok);
            },
            _ = interrupt.recv() => background.terminate(),
            code = background.wait() => {
                while let Ok(Some(word)) = tokio::time::timeout(LAST_WORDS, said.recv()).await {
                    show(app, word);
                }
                // One that was stopped in order before it was up has done what was asked, but not of us.
                return Ok(code.and_then(Exit::from_code).map_or(Exit::Failed, |exit| match exit {
                    Exit::Ok => Exit::Interrupted,
                    other => other,
                }));
            }
        }
    }
}

/// True when it is up.
fn show(app: &App, said: Said) -> bool {
    match said {
        Said::Out(line) => app.ui.line(line),
        Said::Err(line) => app.ui.error(&line),
        Said::Up => return true,
    }
    false
}

/// Both pipes to their marks or their ends.
async fn hear(
    stdout: impl AsyncRead + Unpin,
    stderr: impl AsyncRead + Unpin,
    tell: mpsc::Sender<Said>,
) {
    let out = lines(stdout, |line| tell.send(Said::Out(line)));
    let err = lines(stderr, |line| tell.send(Said::Err(line)));
    let (is_up, _) = tokio::join!(out, err);
    if is_up {
        let _ = tell.send(Said::Up).await;
    }
}

/// True when the pipe ended with the mark.
async fn lines<F: Future>(pipe: impl AsyncRead + Unpin, each: impl Fn(String) -> F) -> bool {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|read| read > 0)
    {
        if line.contains(&MARK) {
            return true;
        }
        let text = String::from_utf8_lossy(&line);
        each(text.trim_end_matches('\n').to_owned()).await;
        line.clear();
    }
    false
}
