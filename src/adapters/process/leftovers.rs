//! What a supervisor finds at its start of one that is dead: wardens, children, tools, temporary folders, lock files. All of
//! it is ended or removed, and nothing that is not provably ours: processes by marker, start time and boot, files under
//! their session's lock. To be called while holding the lock of the state folder, so the former owner is dead for sure.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;
use tracing::{info, warn};

use super::journal::{Journal, sweep_at_start, sweep_unowned};
use super::lease;
use super::marker::MarkerPrefix;
use super::sys::{self, Stat};
use super::temporary;

/// A lock file that nobody has used for a day is removed; the session's next child makes it again.
const OLD_LOCK: Duration = Duration::from_hours(24);

/// How often that is looked at while a supervisor runs.
const TIDY: Duration = Duration::from_hours(6);

/// A warden whose supervisor is dead ends its child within 300 ms and itself with it; this much is for a busy machine.
const WARDEN_GRACE: Duration = Duration::from_secs(5);

const LOOK: Duration = Duration::from_millis(50);

/// Where a supervisor's children leave their traces.
#[derive(Clone, Debug)]
pub struct Places {
    pub journal: Journal,
    pub prefix: MarkerPrefix,
    pub locks: PathBuf,
    /// All sessions' temporary folders.
    pub temporary: PathBuf,
}

/// Wardens that were alive at the start. One that somebody stopped never saw its supervisor die, and would hold its
/// session's lock for ever.
#[derive(Debug)]
pub struct Wardens(Vec<Stat>);

/// How many processes with one of our markers live, wardens included. Blocks shortly; touches nothing.
pub fn living(places: &Places) -> usize {
    let own = i32::try_from(std::process::id()).ok();
    sys::all_pids()
        .into_iter()
        .filter(|pid| Some(*pid) != own)
        .filter(|pid| places.prefix.is_warden(*pid) || places.prefix.is_in_environment_of(*pid))
        .filter(|pid| sys::stat(*pid).is_some_and(|stat| !stat.zombie))
        .count()
}

/// Ends and removes what can be at once. Blocks shortly. Returns how many processes were hit, and the wardens that still
/// have to end; give these to [`see_off`].
pub fn end(places: &Places) -> (usize, Wardens) {
    let wardens: Vec<Stat> = sys::all_pids()
        .into_iter()
        .filter(|pid| places.prefix.is_warden(*pid))
        .filter_map(sys::stat)
        .collect();
    for warden in &wardens {
        signal(places, warden, Signal::CONT);
    }
    let hit = sweep_at_start(&places.journal, &places.prefix)
        + sweep_unowned(&places.prefix, &places.locks);
    let folders = temporary::sweep(&places.temporary, &places.locks);
    let locks = lease::prune(&places.locks, OLD_LOCK);
    if folders + locks > 0 {
        info!(folders, locks, "removed what dead children had left");
    }
    (hit, Wardens(wardens))
}

/// Waits until the wardens have ended, ends those that do not, and what only they had kept from being swept.
pub async fn see_off(places: Places, Wardens(wardens): Wardens) {
    if wardens.is_empty() {
        return;
    }
    let until = Instant::now() + WARDEN_GRACE;
    let is_there = |warden: &&Stat| {
        sys::stat(warden.pid).is_some_and(|now| now.start_time == warden.start_time && !now.zombie)
    };
    while wardens.iter().any(|warden| is_there(&warden)) && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    for warden in wardens.iter().filter(is_there) {
        warn!(
            pid = warden.pid,
            "a warden of a dead supervisor does not end and is killed"
        );
        signal(&places, warden, Signal::KILL);
    }
    // The kernel frees a lock when its holder is gone, which is not at once.
    while wardens.iter().any(|warden| is_there(&warden)) && Instant::now() < until + WARDEN_GRACE {
        tokio::time::sleep(LOOK).await;
    }
    let swept = tokio::task::spawn_blocking(move || {
        let hit = sweep_unowned(&places.prefix, &places.locks);
        temporary::sweep(&places.temporary, &places.locks);
        hit
    })
    .await;
    if let Ok(hit @ 1..) = swept {
        warn!(hit, "ended what their wardens had left");
    }
}

/// Keeps the folder of lock files from growing, for as long as it is polled.
pub async fn tidy(locks: PathBuf) {
    let mut interval = tokio::time::interval(TIDY);
    interval.tick().await;
    loop {
        interval.tick().await;
        let locks = locks.clone();
        let _ = tokio::task::spawn_blocking(move || lease::prune(&locks, OLD_LOCK)).await;
    }
}

fn signal(places: &Places, warden: &Stat, signal: Signal) {
    sys::signal_if(warden.pid, signal, || {
        sys::stat(warden.pid).is_some_and(|now| now.start_time == warden.start_time)
            && places.prefix.is_warden(warden.pid)
    });
}
