//! The supervisor under a service manager: the unit's own command is started as systemd would, with a socket in the place of
//! systemd's, and what it says there is listened to.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use orchestrator_test_support::{Home, Supervisor, eventually};
use rustix::process::Signal;

use crate::ORCHESTRATOR;

/// Longer than any step takes on a loaded machine.
const LIMIT: Duration = Duration::from_mins(1);

struct Manager {
    socket: UnixDatagram,
    address: std::path::PathBuf,
}

impl Manager {
    fn listen(home: &Home) -> Self {
        let address = home.path().join("notify");
        let socket = UnixDatagram::bind(&address).unwrap();
        Self { socket, address }
    }

    /// The next message within the time.
    fn hear(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).ok()?;
        Some(String::from_utf8(message[..length].to_vec()).unwrap())
    }

    /// The next message with this word, and the names of those before it.
    fn wait_for(&self, word: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            if let Some(message) = self.hear(LIMIT)
                && message.lines().any(|line| line.starts_with(word))
            {
                return message;
            }
        }
        panic!("never: {word}");
    }
}

/// The words of a command line in a unit of ours.
fn words(unit: &str, name: &str) -> Vec<String> {
    let line = unit.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap().strip_prefix('"').unwrap();
    let words = line.strip_suffix('"').unwrap().split("\" \"");
    words
        .map(|word| {
            assert!(!word.contains(['\\', '%', '$', '"']), "{word}");
            word.to_owned()
        })
        .collect()
}

/// What the unit starts, watched every other second.
fn start<'h>(home: &'h Home, manager: &Manager, unit: &str) -> Supervisor<'h> {
    // `WATCHDOG_PID` has to be the pid of what the shell becomes.
    let mut shell = home.foreign("sh");
    shell
        .args(["-c", "WATCHDOG_PID=$$ exec \"$@\"", "sh"])
        .args(words(unit, "ExecStart="))
        .env("NOTIFY_SOCKET", &manager.address)
        .env("WATCHDOG_USEC", "2000000");
    let path = unit.lines().find_map(|line| {
        line.strip_prefix("Environment=\"PATH=")
            .and_then(|line| line.strip_suffix('"'))
    });
    shell.env("PATH", path.unwrap());
    home.supervisor_by(shell)
}

#[test]
fn the_units_command_says_ready_reloading_watchdog_and_stopping() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let home = Home::new(ORCHESTRATOR);
    home.enrol(&deployment.api(), deployment.url(), "shop");
    let unit = home
        .run(["service", "print", "--format", "systemd"])
        .exits(0)
        .stdout;
    let manager = Manager::listen(&home);
    let supervisor = start(&home, &manager, &unit);

    let ready = manager.wait_for("READY=1");
    assert!(
        ready.contains("STATUS=serving: 1 worker, 1 ready; 0 sessions"),
        "{ready}"
    );
    manager.wait_for("WATCHDOG=1");

    supervisor.signal(Signal::HUP);
    let reloading = manager.wait_for("RELOADING=1");
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    manager.wait_for("READY=1");

    // A configuration that is refused is no reload without an end.
    std::fs::write(home.config_file(), "{").unwrap();
    let reload = words(&unit, "ExecReload=");
    let mut command = home.foreign(&reload[0]);
    command.args(&reload[1..]);
    home.finish(command, "").exits(3);
    manager.wait_for("RELOADING=1");
    manager.wait_for("READY=1");

    assert!(supervisor.terminate().success());
    let stopping = manager.wait_for("STOPPING=1");
    assert!(stopping.contains("STATUS=stopping"), "{stopping}");
}

#[test]
fn a_root_that_is_stuck_does_not_feed_the_watchdog() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let home = Home::new(ORCHESTRATOR);
    home.enrol(&deployment.api(), deployment.url(), "shop");
    let unit = home
        .run(["service", "print", "--format", "systemd"])
        .exits(0)
        .stdout;
    let manager = Manager::listen(&home);
    let supervisor = start(&home, &manager, &unit);
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");
    home.run(["debug", "block", "machine", "15000"]).exits(0);
    eventually("the root is stuck", || {
        !supervisor.ps()["machine"]["health"]["stuck"].is_null()
    });
    while manager.hear(Duration::from_millis(1)).is_some() {}
    // Longer than it has to feed: the time after which a manager would have ended it.
    let heard = manager.hear(Duration::from_secs(3));
    assert!(
        heard
            .as_deref()
            .is_none_or(|word| !word.contains("WATCHDOG")),
        "{heard:?}"
    );
    // It is back, and alive again.
    manager.wait_for("WATCHDOG=1");
    assert!(supervisor.terminate().success());
}
