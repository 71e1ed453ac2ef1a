//! The outbox's file and the records in it. Everything here blocks on the disk; `FileOutbox` keeps it off the
//! runtime's threads.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orchestrator_actors::domain::ids::TurnId;
use orchestrator_actors::ports::outbox::{FinishRecord, OutboxError};

use super::Damage;
use super::line::{self, Entry};

/// Dead bytes that are not worth a rewrite.
const SLACK: u64 = 64 * 1024;
/// Damaged lines are kept up to this size of their file.
const MAX_ASIDE: u64 = 8 * 1024 * 1024;

pub struct OutboxFile {
    path: PathBuf,
    file: File,
    /// Of the file, as far as it was written completely.
    length: u64,
    /// Oldest first, each with the length of its line.
    records: Vec<(Arc<FinishRecord>, u64)>,
    max_pending: u64,
    /// Tombstones that could not be written (a full disk); they go with the next line that can.
    owed: String,
    /// The file's name outlives a power loss, too. Done with the first record and not at the start: it may take long.
    folder_is_synced: bool,
}

impl OutboxFile {
    pub fn open(path: &Path, max_pending: u64) -> Result<(Self, Option<Damage>), OutboxError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed("read", path, &error)),
        };
        let read = parse(&bytes);
        let damage = read.damaged.first().map(|(first_line, _)| Damage {
            lines: read.damaged.len(),
            first_line: *first_line,
            kept_in: keep_aside(path, &read.damaged),
        });
        let mut outbox = Self {
            path: path.to_owned(),
            file: open_append(path)?,
            length: bytes.len() as u64,
            records: read.records,
            max_pending,
            owed: String::new(),
            folder_is_synced: false,
        };
        // A damaged line must not be found again, and nothing may be appended behind a torn one.
        if damage.is_some() || outbox.is_worth_a_rewrite() {
            outbox.rewrite()?;
        }
        Ok((outbox, damage))
    }

    pub fn put(&mut self, record: FinishRecord) -> Result<(), OutboxError> {
        if self.records.iter().any(|(one, _)| one.turn == record.turn) {
            return Ok(());
        }
        let entry = Entry::Put(record);
        let text = encode(&entry)?;
        let length = text.len() as u64;
        if self.live_bytes() + length > self.max_pending {
            return Err(OutboxError(format!(
                "outbox {} is full: {} finishes wait for their deployment",
                self.path.display(),
                self.records.len()
            )));
        }
        if !self.folder_is_synced {
            sync_folder(&self.path)?;
            self.folder_is_synced = true;
        }
        self.append(&text, true)?;
        if let Entry::Put(record) = entry {
            self.records.push((Arc::new(record), length));
        }
        Ok(())
    }

    /// Not synced: a tombstone that a power loss takes costs one more answer `already`. So does one that cannot be written:
    /// the record is done with either way.
    pub fn acknowledge(&mut self, turn: &TurnId) -> Result<(), OutboxError> {
        let Some(at) = self.records.iter().position(|(one, _)| one.turn == *turn) else {
            return Ok(());
        };
        self.records.remove(at);
        let tombstone = encode(&Entry::Done(turn.clone()))?;
        if let Err(error) = self.append(&tombstone, false) {
            self.owed.push_str(&tombstone);
            return Err(error);
        }
        if self.is_worth_a_rewrite() {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Oldest first.
    pub fn records(&self) -> Vec<Arc<FinishRecord>> {
        let records = self.records.iter();
        records.map(|(record, _)| Arc::clone(record)).collect()
    }

    fn live_bytes(&self) -> u64 {
        self.records.iter().map(|(_, length)| length).sum()
    }

    fn is_worth_a_rewrite(&self) -> bool {
        let live = self.live_bytes();
        self.length > 2 * live + SLACK
    }

    fn append(&mut self, line: &str, sync: bool) -> Result<(), OutboxError> {
        let text = format!("{}{line}", self.owed);
        let mut written = self.file.write_all(text.as_bytes());
        if written.is_ok() && sync {
            written = self.file.sync_data();
        }
        if let Err(error) = written {
            // Half a line (a full disk) would spoil the next one.
            let _ = self.file.set_len(self.length);
            return Err(failed("write", &self.path, &error));
        }
        self.length += text.len() as u64;
        self.owed.clear();
        Ok(())
    }

    /// Writes the living records to a new file and puts it in the old one's place.
    fn rewrite(&mut self) -> Result<(), OutboxError> {
        let temporary = self.path.with_extension("new");
        let mut text = String::new();
        for (record, length) in &mut self.records {
            let line = encode(&Entry::Put(FinishRecord::clone(record)))?;
            *length = line.len() as u64;
            text.push_str(&line);
        }
        let write = || -> std::io::Result<()> {
            let mut file = private()
                .create(true)
                .truncate(true)
                .write(true)
                .open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)
        };
        write().map_err(|error| failed("rewrite", &self.path, &error))?;
        sync_folder(&self.path)?;
        self.folder_is_synced = true;
        self.file = open_append(&self.path)?;
        self.length = text.len() as u64;
        // What is not in the new file needs no tombstone.
        self.owed.clear();
        Ok(())
    }
}

#[derive(Default)]
struct Parsed<'a> {
    records: Vec<(Arc<FinishRecord>, u64)>,
    /// With their line numbers, from 1.
    damaged: Vec<(usize, &'a [u8])>,
}

fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut parsed = Parsed::default();
    for (at, whole) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = whole.strip_suffix(b"\n");
        match line.and_then(line::decode) {
            Some(Entry::Put(record)) => {
                let known = parsed
                    .records
                    .iter()
                    .any(|(one, _)| one.turn == record.turn);
                if !known {
                    parsed.records.push((Arc::new(record), whole.len() as u64));
                }
            }
            Some(Entry::Done(turn)) => parsed.records.retain(|(one, _)| one.turn != turn),
            None => parsed.damaged.push((at + 1, whole)),
        }
    }
    parsed
}

/// Appends damaged lines to a file beside the outbox. Returns where, if that worked.
fn keep_aside(path: &Path, damaged: &[(usize, &[u8])]) -> Option<PathBuf> {
    let aside = path.with_extension("damaged");
    let mut file = private().create(true).append(true).open(&aside).ok()?;
    let mut length = file.metadata().ok()?.len();
    for (_, line) in damaged {
        length += line.len() as u64;
        if length > MAX_ASIDE {
            break;
        }
        file.write_all(line).ok()?;
        if !line.ends_with(b"\n") {
            file.write_all(b"\n").ok()?;
        }
    }
    file.sync_data().ok()?;
    Some(aside)
}

/// Options of a file that only its owner can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn open_append(path: &Path) -> Result<File, OutboxError> {
    let file = private().create(true).append(true).open(path);
    file.map_err(|error| failed("open", path, &error))
}

/// Makes a created or renamed file outlive a power loss.
fn sync_folder(path: &Path) -> Result<(), OutboxError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| failed("sync the folder of", path, &error))
}

fn encode(entry: &Entry) -> Result<String, OutboxError> {
    line::encode(entry).map_err(|error| OutboxError(format!("record cannot be written: {error}")))
}

fn failed(verb: &str, path: &Path, error: &std::io::Error) -> OutboxError {
    OutboxError(format!("cannot {verb} outbox {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use orchestrator_actors::domain::ids::WorkerId;
    use orchestrator_actors::domain::turn::Ending;

    use super::*;

    fn record(turn: &str) -> FinishRecord {
        FinishRecord {
            worker: WorkerId::new("a"),
            turn: TurnId::new(turn),
            ending: Ending::complete(None),
            items: Vec::new(),
        }
    }

    #[test]
    fn a_tombstone_that_a_full_disk_refused_goes_with_the_next_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox");
        let (mut outbox, _) = OutboxFile::open(&path, 1 << 20).unwrap();
        for turn in ["1", "2"] {
            outbox.put(record(turn)).unwrap();
        }
        let writable = std::mem::replace(&mut outbox.file, File::open(&path).unwrap());
        assert!(outbox.acknowledge(&TurnId::new("1")).is_err());
        assert_eq!(outbox.records().len(), 1, "it is acknowledged all the same");
        outbox.file = writable;
        outbox.acknowledge(&TurnId::new("2")).unwrap();
        drop(outbox);
        let (outbox, damage) = OutboxFile::open(&path, 1 << 20).unwrap();
        assert!(outbox.records().is_empty() && damage.is_none());
    }
}
