//! The warden: what our binary is when it is started as `__warden`. One child, one lifeline, one lease.
//!
//! It takes the lease, sweeps the session's marker, starts the child in a session of its own and then waits for
//! the first of: a planned stop, the end of the lifeline, a signal, the child's own end. Each of them ends in the same
//! place: no process is left below it. Only then does it give the lease back and report.
//! It never touches the network and keeps no state.
#![allow(unsafe_code)] // for `pre_exec`, see `start`

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use super::journal::Journal;
use super::lease::{Lease, LeaseError};
use super::marker::{self, Marker};
use super::protocol::{Control, Left, Report, Spec, is_shortage, listed};
use super::sys::{self, Delivery};
use super::temporary::Temporary;

/// How often a stopping warden looks whether its descendants are gone.
const LOOK: Duration = Duration::from_millis(10);

/// What an earlier owner left gets this long to die before the start fails.
const SWEEP: Duration = Duration::from_secs(10);

/// What outlives its SIGKILL for so long is said, and said again at this distance.
const STUCK_AFTER: Duration = Duration::from_secs(2);
const STUCK_AGAIN: Duration = Duration::from_mins(1);

/// When nothing but processes of another user is left, they are given up after this time.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// Between TERM and KILL when somebody signals the warden itself.
const SIGNALLED_TERM_MS: u64 = 2000;

/// The whole life of a warden. To be called before anything else in `main`; the answer is the exit code.
pub fn warden_main() -> i32 {
    // A session of its own: the terminal's Ctrl+C and hang-up are the supervisor's to answer.
    let _ = rustix::process::setsid();
    sys::close_inherited();
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(run()));
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            let _ = io::Write::write_all(
                &mut io::stderr(),
                format!("warden: {error} (it is started by the supervisor only)\n").as_bytes(),
            );
            1
        }
    }
}

/// Why the child has to end.
enum Why {
    Asked { term_ms: u64 },
    Lost,
    ChildEnded,
}

async fn run() -> io::Result<()> {
    let lifeline = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    lifeline.set_nonblocking(true)?;
    let (read, mut reports) = UnixStream::from_std(lifeline)?.into_split();
    let mut controls = BufReader::new(read).lines();
    let Some(line) = controls.next_line().await? else {
        return Ok(());
    };
    let spec: Spec = serde_json::from_str(&line).map_err(io::Error::other)?;

    // A file that has reached `ulimit -f` is an error of its write and no end of ours. The child's exec takes this back.
    let _file_size = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
    let lease = match Lease::try_take(&spec.lease) {
        Ok(lease) => lease,
        Err(LeaseError::Busy(held)) => {
            report(&mut reports, &Report::Busy(held)).await;
            return Ok(());
        }
        Err(LeaseError::Io { path, source }) => {
            let message = format!("could not lock {}: {source}", path.display());
            return fail(&mut reports, message, is_shortage(&source)).await;
        }
    };
    lease.say(&format!("warden {}", std::process::id()));
    let swept = match &spec.lease.session {
        Some(_) => marker::sweep(&Marker::from_text(spec.marker.clone()), SWEEP),
        None => marker::Swept::default(),
    };
    if let Some(pid) = swept.left.first() {
        // The file stays: somebody is left of that session.
        let message = format!(
            "process {pid} ({}), which an earlier assistant of this session left, cannot be ended",
            sys::name(*pid)
        );
        return fail(&mut reports, message, false).await;
    }
    // Listened to before the child exists: its end must not be missed.
    let mut signals = Signals::listen()?;
    let temporary = match Temporary::make(spec.temporary.as_deref()) {
        Ok(temporary) => temporary,
        Err(error) => {
            let message = format!("could not make its temporary folder: {error}");
            lease.give_back();
            return fail(&mut reports, message, is_shortage(&error)).await;
        }
    };
    // A supervisor that has died while this came into being may have a successor, which found the lock free and has gone on.
    if is_hung_up(controls.get_ref().get_ref()) {
        lease.give_back();
        return Ok(());
    }
    let mut brood = match start(&spec, temporary.folder()) {
        Ok(child) => Brood::of(child),
        Err(error) => {
            let message = format!("could not start {}: {error}", spec.program.display());
            lease.give_back();
            return fail(&mut reports, message, is_shortage(&error)).await;
        }
    };
    let child = brood.child.as_raw_nonzero().get();
    let (pid, start_time) = (
        child.cast_unsigned(),
        sys::stat(child).map_or(0, |stat| stat.start_time),
    );
    let started = Report::Started {
        pid,
        start_time,
        swept: swept.hit,
    };
    report(&mut reports, &started).await;

    let why = wait(&mut controls, &mut signals, &mut brood).await;
    match why {
        Why::Asked { term_ms } => brood.terminate(term_ms, &mut controls, &spec).await,
        Why::Lost => brood.terminate_unheard(spec.lost_term_ms).await,
        Why::ChildEnded => {}
    }
    let none_is_left = brood.kill_until_none_is_left(&lease, &mut reports).await;
    drop(temporary);
    if let Some(folder) = spec.journal {
        // The supervisor does the same; one that was killed or told to stop at once does not.
        Journal::in_folder(folder).forget_child(pid, start_time);
    }
    if none_is_left {
        lease.give_back();
    } else {
        // Its file names what was given up.
        drop(lease);
    }
    let (code, signal) = brood.ending();
    report(&mut reports, &Report::Exited { code, signal }).await;
    Ok(())
}

/// Whether the other end is closed and nothing more will come from there.
fn is_hung_up(lifeline: &OwnedReadHalf) -> bool {
    use rustix::net::{RecvFlags, recv};
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let mut next = [0_u8; 1];
    matches!(recv(lifeline.as_ref(), &mut next, flags), Ok((0, _)))
}

async fn wait(
    controls: &mut Lines<BufReader<OwnedReadHalf>>,
    signals: &mut Signals,
    brood: &mut Brood,
) -> Why {
    loop {
        brood.reap();
        if brood.status.is_some() {
            return Why::ChildEnded;
        }
        tokio::select! {
            line = controls.next_line() => return match line {
                Ok(Some(line)) => match serde_json::from_str(&line) {
                    Ok(Control::Stop { term_ms }) => Why::Asked { term_ms },
                    Err(_) => continue,
                },
                Ok(None) | Err(_) => Why::Lost,
            },
            () = signals.any() => if signals.asked_to_end {
                return Why::Asked { term_ms: SIGNALLED_TERM_MS };
            },
        }
    }
}

/// The supervisor may be dead: then there is nobody to tell.
async fn report(to: &mut OwnedWriteHalf, report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        let _ = to.write_all(&line).await;
    }
}

async fn fail(to: &mut OwnedWriteHalf, message: String, shortage: bool) -> io::Result<()> {
    report(to, &Report::Failed { message, shortage }).await;
    Ok(())
}

/// Starts the child with the warden's stdout and stderr (pipes to the supervisor), which the warden itself
/// then gives up, so that they end with the last descendant.
fn start(spec: &Spec, temporary: Option<&Path>) -> io::Result<Pid> {
    let own = rustix::process::getpid();
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(own))?;

    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(&spec.env)
        .current_dir(&spec.cwd)
        .stdin(stdin_of(spec.stdin.as_deref(), temporary)?);
    command.env(marker::MARKER_VARIABLE, &spec.marker);
    if let Some(folder) = temporary {
        for name in ["TMPDIR", "TMP", "TEMP"] {
            command.env(name, folder);
        }
    }
    // SAFETY: between fork and exec only async-signal-safe system calls run (setsid, prctl, getppid); nothing
    // allocates or takes a lock. The error values are plain codes.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            #[cfg(target_os = "linux")]
            {
                // Safe here, and only here: the warden has one thread and it lives as long as the process.
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                if rustix::process::getppid() != Some(own) {
                    return Err(io::Error::from_raw_os_error(
                        rustix::io::Errno::SRCH.raw_os_error(),
                    ));
                }
            }
            Ok(())
        });
    }
    // The handle is given up: the warden reaps everything itself, adopted processes too.
    let child = command.spawn()?;
    let null = fs::File::options().write(true).open("/dev/null")?;
    let _ = rustix::stdio::dup2_stdout(&null);
    let _ = rustix::stdio::dup2_stderr(&null);
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("the system gave no process id"))
}

/// A file that nobody else can open: whatever its length, the child reads it at its own pace, and it ends with the child.
fn stdin_of(text: Option<&str>, temporary: Option<&Path>) -> io::Result<Stdio> {
    let Some(text) = text else {
        return Ok(Stdio::null());
    };
    let folder = temporary.map_or_else(std::env::temp_dir, Path::to_owned);
    let path = folder.join(format!("stdin-{}", std::process::id()));
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    fs::remove_file(&path)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    io::Seek::rewind(&mut file)?;
    Ok(Stdio::from(file))
}

struct Signals {
    child: SignalStream,
    terminate: SignalStream,
    interrupt: SignalStream,
    hangup: SignalStream,
    asked_to_end: bool,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            asked_to_end: false,
        })
    }

    /// Waits for a child's change or for somebody who wants the warden to end.
    async fn any(&mut self) {
        self.asked_to_end = tokio::select! {
            _ = self.child.recv() => false,
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
            _ = self.hangup.recv() => true,
        };
    }
}

/// The child and all that descends from it.
struct Brood {
    child: Pid,
    status: Option<WaitStatus>,
    /// No child is left at all, adopted ones included: then there is no descendant either.
    empty: bool,
}

impl Brood {
    fn of(child: Pid) -> Self {
        Self {
            child,
            status: None,
            empty: false,
        }
    }

    fn reap(&mut self) {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.child => self.status = Some(status),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return,
                Err(_) => {
                    self.empty = true;
                    return;
                }
            }
        }
    }

    /// Gives those that are left, as far as one look shows them.
    fn signal_all(&self, signal: Signal) -> Vec<Left> {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let mut left = Vec::new();
        for listed in sys::descendants(own) {
            // Its own parent may have reaped it since, and the pid may be somebody else's by now.
            let delivery = sys::signal_if(listed.pid, signal, || {
                sys::stat(listed.pid).is_some_and(|now| now.start_time == listed.start_time)
            });
            if delivery != Delivery::NotMeant {
                left.push(Left {
                    pid: listed.pid,
                    name: sys::name(listed.pid),
                    denied: delivery == Delivery::Denied,
                });
            }
        }
        if !cfg!(target_os = "linux") && self.status.is_none() {
            // Signalled before it is reaped: a reaped leader frees its group's id for others.
            let _ = rustix::process::kill_process_group(self.child, signal);
        }
        left
    }

    /// TERM to all, then until all are gone, the grace is over, or the supervisor dies as well.
    async fn terminate(
        &mut self,
        term_ms: u64,
        controls: &mut Lines<BufReader<OwnedReadHalf>>,
        spec: &Spec,
    ) {
        self.signal_all(Signal::TERM);
        let mut until = Instant::now() + Duration::from_millis(term_ms);
        let mut heard = true;
        while !self.gone() && Instant::now() < until {
            tokio::select! {
                line = controls.next_line(), if heard => {
                    if !matches!(line, Ok(Some(_))) {
                        heard = false;
                        until = until.min(Instant::now() + Duration::from_millis(spec.lost_term_ms));
                    }
                }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn terminate_unheard(&mut self, term_ms: u64) {
        self.signal_all(Signal::TERM);
        let until = Instant::now() + Duration::from_millis(term_ms);
        while !self.gone() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn gone(&mut self) -> bool {
        self.reap();
        self.empty
    }

    /// Has no time limit on purpose: while something of ours is left, the session is not free for anybody else. It is
    /// said what that is. Only what the system does not let us signal is given up: waiting would end nothing.
    /// Returns whether it came to that.
    async fn kill_until_none_is_left(
        &mut self,
        lease: &Lease,
        reports: &mut OwnedWriteHalf,
    ) -> bool {
        let begun = Instant::now();
        let mut next_word = begun + STUCK_AFTER;
        let mut pause = Duration::from_millis(1);
        while !self.gone() {
            let left = self.signal_all(Signal::KILL);
            let now = Instant::now();
            if now >= next_word && !left.is_empty() {
                next_word = now + STUCK_AGAIN;
                let own = std::process::id();
                lease.say(&format!("warden {own}, which cannot end {}", listed(&left)));
                let left = left.clone();
                report(reports, &Report::Stuck { left }).await;
            }
            let all_denied = !left.is_empty() && left.iter().all(|left| left.denied);
            if all_denied && now >= begun + GIVE_UP_AFTER {
                report(reports, &Report::GivenUp { left }).await;
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        true
    }

    fn ending(&self) -> (Option<i32>, Option<i32>) {
        self.status.map_or((None, None), |status| {
            (status.exit_status(), status.terminating_signal())
        })
    }
}
