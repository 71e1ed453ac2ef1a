//! Names of this installation and of the machine's present boot.
//!
//! The install id is bound to the machine and to the state folder's real path, so that a copied HOME is another
//! install and cannot pass for the first one at the deployment. Nothing is stored: it is computed.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use uuid::Uuid;

/// Where Linux keeps the identity of the system, which a copied home folder does not carry along.
const HOST_ID_FILES: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// `state_dir_realpath` is canonical: made so by the caller, which knows that the folder exists.
pub fn install_id(machine: &Uuid, state_dir_realpath: &Path) -> String {
    let ids = HOST_ID_FILES
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    let host = ids
        .map(|id| id.trim().to_owned())
        .find(|id| !id.is_empty())
        // A container has none, and two of one image have the same paths; their names differ.
        .unwrap_or_else(|| {
            rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned()
        });
    install_id_on(machine, &host, state_dir_realpath)
}

fn install_id_on(machine: &Uuid, host: &str, state_dir_realpath: &Path) -> String {
    // A path has no NUL in it, so no two pairs share a text.
    let mut name = host.as_bytes().to_vec();
    name.push(0);
    name.extend_from_slice(state_dir_realpath.as_os_str().as_bytes());
    Uuid::new_v5(machine, &name).to_string()
}

/// Another one after each boot, the same one until then.
pub fn boot_id() -> String {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => boot_id_by_clock(),
    }
}

/// Without a kernel that tells: the time of the boot, in steps that a clock's small corrections rarely cross.
/// A false change is on the safe side: a claimed turn is then reported as interrupted, not run again.
fn boot_id_by_clock() -> String {
    use rustix::time::{ClockId, clock_gettime};
    let up = clock_gettime(ClockId::Monotonic).tv_sec;
    let now = clock_gettime(ClockId::Realtime).tv_sec;
    format!("boot-{}", (now - up) / 600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_install_is_the_machine_and_the_folder() {
        let machine = Uuid::from_u128(7);
        let id = install_id_on(&machine, "host", Path::new("/a/state"));
        assert_eq!(id, install_id_on(&machine, "host", Path::new("/a/state")));
        for other in [
            install_id_on(&machine, "host", Path::new("/b/state")),
            install_id_on(&machine, "copy", Path::new("/a/state")),
            install_id_on(&Uuid::from_u128(8), "host", Path::new("/a/state")),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn a_boot_has_one_name() {
        assert_eq!(boot_id(), boot_id());
        assert!(!boot_id().is_empty());
        assert!(boot_id_by_clock().starts_with("boot-"));
    }
}
