//! What a start finds in the outbox's place: a file of ours, perhaps with a torn tail or foreign lines, or something that is
//! no such file at all. Whatever cannot be read is set aside, never deleted, and told once.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::Damage;
use super::file::{Kept, Place, private};
use super::line::{self, Entry};
use crate::adapters::aside::{free_name, set_aside};

/// Damaged lines are kept together up to this size of their file; what goes beyond it is kept as a whole file.
const MAX_ASIDE: u64 = 8 * 1024 * 1024;

#[derive(Default)]
pub(super) struct Loaded {
    pub records: Vec<Kept>,
    pub length: u64,
}

/// Reads at most `most` bytes: no outbox of ours is longer.
pub(super) fn load(path: &Path, most: u64) -> (Loaded, Option<Damage>) {
    let what = match fs::metadata(path) {
        Ok(what) => what,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // A link to nowhere is found by nobody but in the way of everybody.
            return match fs::symlink_metadata(path) {
                Ok(_) => unreadable(path, "a link to nowhere".to_owned()),
                Err(_) => (Loaded::default(), None),
            };
        }
        Err(error) => return unreadable(path, error.to_string()),
    };
    if !what.is_file() {
        return unreadable(path, "not a file".to_owned());
    }
    if what.len() > most {
        return unreadable(path, format!("{} bytes long", what.len()));
    }
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return unreadable(path, error.to_string()),
    };
    let parsed = parse(&bytes);
    let damage = parsed.damaged.first().map(|(first_line, _)| Damage {
        lines: parsed.damaged.len(),
        first_line: *first_line,
        kept_in: keep_lines(path, &parsed.damaged).or_else(|| keep_copy(path)),
        trouble: None,
    });
    let loaded = Loaded {
        records: parsed.records,
        length: bytes.len() as u64,
    };
    (loaded, damage)
}

fn unreadable(path: &Path, reason: String) -> (Loaded, Option<Damage>) {
    let kept_in = set_aside(path).ok();
    let damage = Damage {
        kept_in,
        trouble: Some(reason),
        ..Damage::default()
    };
    (Loaded::default(), Some(damage))
}

#[derive(Default)]
struct Parsed<'a> {
    records: Vec<Kept>,
    /// With their line numbers, from 1.
    damaged: Vec<(usize, &'a [u8])>,
}

fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut parsed = Parsed::default();
    let mut offset = 0;
    for (at, whole) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = whole.strip_suffix(b"\n");
        match line.and_then(line::decode) {
            Some(Entry::Put(record)) => {
                let kept = Kept {
                    worker: record.worker,
                    turn: record.turn,
                    length: whole.len() as u64,
                    place: Place::File(offset),
                };
                let mut records = parsed.records.iter_mut();
                match records.find(|known| known.turn == kept.turn) {
                    Some(known) => *known = kept,
                    None => parsed.records.push(kept),
                }
            }
            Some(Entry::Done(turn)) => parsed.records.retain(|kept| kept.turn != turn),
            None => parsed.damaged.push((at + 1, whole)),
        }
        offset += whole.len() as u64;
    }
    parsed
}

/// Appends damaged lines to a file beside the outbox. Returns where, if that has all of them now.
fn keep_lines(path: &Path, damaged: &[(usize, &[u8])]) -> Option<PathBuf> {
    let aside = path.with_extension("damaged");
    let mut file = private().create(true).append(true).open(&aside).ok()?;
    let more: u64 = damaged.iter().map(|(_, line)| line.len() as u64 + 1).sum();
    if file.metadata().ok()?.len() + more > MAX_ASIDE {
        return None;
    }
    for (_, line) in damaged {
        file.write_all(line).ok()?;
        if !line.ends_with(b"\n") {
            file.write_all(b"\n").ok()?;
        }
    }
    file.sync_data().ok()?;
    Some(aside)
}

/// A second name for the whole file takes no room on a full disk; the outbox itself is written anew under its own.
fn keep_copy(path: &Path) -> Option<PathBuf> {
    let aside = free_name(path);
    fs::hard_link(path, &aside).ok()?;
    Some(aside)
}
