//! The signals of a supervisor: TERM and INT stop it (the second one at once; what comes within half a second of the first
//! is the same one, delivered twice: by a terminal to the group and by a service manager, for example), HUP reloads, USR1
//! is the dump's, XFSZ (a file has reached `ulimit -f`) does nothing. Registered before anything is started, so that none
//! is lost. Other commands that have something to clean up hear TERM and INT only.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// Nobody who insists is that quick.
const SAME: Duration = Duration::from_millis(500);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Stop,
    Reload,
}

pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// A reload was asked for while only a stop was waited for.
    reload: bool,
    /// Held from the start, when there is no tree yet to be dumped: unheard, it would end the process.
    dump: Option<Signal>,
    /// Held, so that the write fails as on a full disk instead of ending the process. Not ignored: that would be
    /// inherited by every tool that an assistant runs.
    _file_size: Signal,
}

impl Signals {
    pub fn register() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            reload: false,
            dump: Some(signal(SignalKind::user_defined1())?),
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// For whoever answers it. Once.
    pub fn take_dump(&mut self) -> Option<Signal> {
        self.dump.take()
    }

    pub async fn next(&mut self) -> Asked {
        if std::mem::take(&mut self.reload) {
            return Asked::Reload;
        }
        self.heard().await
    }

    async fn heard(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// Waits for a stop. A reload that comes meanwhile is the next thing that is asked for.
    pub async fn stop(&mut self) {
        while self.heard().await != Asked::Stop {
            self.reload = true;
        }
    }

    /// Waits for a stop that is another one than that of `first`.
    pub async fn another_stop(&mut self, first: Instant) {
        loop {
            self.stop().await;
            if first.elapsed() >= SAME {
                return;
            }
        }
    }
}

/// Each signal that asks for an end, in a command that has nothing to reload.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    pub fn register() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
