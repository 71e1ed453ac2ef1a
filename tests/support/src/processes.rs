//! What runs, from `/proc`: descendants of a process and everything that carries a home in its environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Living (not zombie) processes whose environment mentions `needle`.
pub fn with_environment(needle: &str) -> Vec<(u32, String)> {
    let pids = pids();
    let mine = std::process::id();
    pids.into_iter()
        .filter(|pid| *pid != mine && is_alive(*pid))
        .filter(|pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ
                .windows(needle.len())
                .any(|window| window == needle.as_bytes())
        })
        .map(|pid| (pid, command_line(pid)))
        .collect()
}

/// Living descendants of a process, itself not among them.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in pids() {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut queue = vec![root];
    while let Some(next) = queue.pop() {
        for child in children.get(&next).into_iter().flatten() {
            queue.push(*child);
            if is_alive(*child) {
                found.push(*child);
            }
        }
    }
    found
}

/// What each open descriptor of a process is: `socket`, `pipe`, `anon_inode:[eventfd]`, or a path. Sorted.
pub fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"));
    let mut kinds: Vec<String> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|target| {
            let target = target.to_string_lossy().into_owned();
            match target.split_once(":[") {
                Some((kind @ ("socket" | "pipe"), _)) => kind.to_owned(),
                _ => target,
            }
        })
        .collect();
    kinds.sort();
    kinds
}

/// Resident memory in bytes; `None` when there is no such process any more.
pub fn resident(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024)
}

/// The first process's own children, living ones.
pub fn children(of: u32) -> Vec<u32> {
    pids()
        .into_iter()
        .filter(|pid| parent(*pid) == Some(of) && is_alive(*pid))
        .collect()
}

pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

pub fn command_line(pid: u32) -> String {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&raw)
        .replace('\0', " ")
        .trim()
        .to_owned()
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir(Path::new("/proc")).expect("/proc is there");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything.
    let rest = text.get(text.rfind(')')? + 2..)?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

fn state(pid: u32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}
