//! The outbox's file. Everything here blocks on the disk; `FileOutbox` keeps it off the runtime's threads.
//!
//! In memory is only where each record lies, so records that wait for days cost no memory. When the disk refuses (full,
//! read-only, gone), a record is kept in memory instead and the file is written anew as soon as that works: nothing is
//! ever appended to a file that does not say what memory says. What is found in the file at the start is read by `load`.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use orchestrator_actors::domain::ids::{TurnId, WorkerId};
use orchestrator_actors::ports::outbox::{FinishRecord, OutboxError};

use super::line::{self, Entry};
use super::{Damage, load};
use crate::adapters::aside::set_aside;

/// Dead bytes that are not worth a rewrite.
const SLACK: u64 = 64 * 1024;

pub struct OutboxFile {
    path: PathBuf,
    /// `None` while it cannot be opened.
    file: Option<File>,
    /// Of the file, as far as it was written completely.
    length: u64,
    /// Oldest first.
    records: Vec<Kept>,
    max_pending: u64,
    /// Whose records somebody can deliver; `None` until that is known.
    served: Option<BTreeSet<WorkerId>>,
    /// The file's name outlives a power loss, too. Done with the first record and not at the start: it may take long.
    folder_is_synced: bool,
    /// The file does not say what memory says: it is written anew before anything else is.
    stale: bool,
}

/// Where a record's line is.
pub(super) struct Kept {
    pub worker: WorkerId,
    pub turn: TurnId,
    pub length: u64,
    pub place: Place,
}

pub(super) enum Place {
    /// From this offset.
    File(u64),
    /// The disk did not take it.
    Memory(String),
}

impl OutboxFile {
    /// Fails only when there is no folder for it. Any other trouble is told as damage, and the outbox works in memory.
    pub fn open(path: &Path, max_pending: u64) -> Result<(Self, Option<Damage>), OutboxError> {
        if !path.parent().is_some_and(Path::is_dir) {
            let error = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(failed("open", path, &error));
        }
        let (loaded, mut damage) = load::load(path, 2 * max_pending + 2 * SLACK);
        let mut outbox = Self {
            path: path.to_owned(),
            file: None,
            length: loaded.length,
            records: loaded.records,
            max_pending,
            served: None,
            folder_is_synced: false,
            stale: false,
        };
        match open_append(path) {
            Ok(file) => outbox.file = Some(file),
            Err(error) => {
                damage.get_or_insert_default().trouble = Some(error.to_string());
                outbox.stale = true;
            }
        }
        // A damaged line must not be found again, and nothing may be appended behind a torn one.
        outbox.stale |= damage.is_some();
        if outbox.stale || outbox.is_worth_a_rewrite() {
            let rewritten = outbox.rewrite();
            if let (Err(error), Some(damage)) = (rewritten, &mut damage) {
                damage.trouble.get_or_insert(error.to_string());
            }
        }
        Ok((outbox, damage))
    }

    /// `Err` says that the record is not on disk; except when the outbox is full it is kept in memory then.
    pub fn put(&mut self, record: &FinishRecord) -> Result<(), OutboxError> {
        let text = line::encode_put(record)
            .map_err(|error| OutboxError(format!("record cannot be written: {error}")))?;
        let mut records = self.records.iter();
        let known = records.position(|kept| kept.turn == record.turn);
        if known.is_some_and(|at| self.is_on_disk(&self.records[at], &text)) {
            return Ok(());
        }
        let length = text.len() as u64;
        self.make_room(length);
        let mut records = self.records.iter();
        let known = records.position(|kept| kept.turn == record.turn);
        if self.live_bytes() + length > self.max_pending {
            return Err(OutboxError(format!(
                "outbox {} is full: {} finishes wait for their deployment",
                self.path.display(),
                self.records.len()
            )));
        }
        let written = self.renew().and_then(|()| self.append(&text, true));
        let (place, result) = match written {
            Ok(offset) => (Place::File(offset), Ok(())),
            Err(error) => {
                self.stale = true;
                (Place::Memory(text), Err(error))
            }
        };
        let kept = Kept {
            worker: record.worker.clone(),
            turn: record.turn.clone(),
            length,
            place,
        };
        // A later end of the same turn takes the place of the one before: its items are the ones that fit what is there now.
        match known {
            Some(at) => self.records[at] = kept,
            None => self.records.push(kept),
        }
        result
    }

    fn is_on_disk(&self, kept: &Kept, text: &str) -> bool {
        matches!(kept.place, Place::File(_))
            && self.line_of(kept).is_ok_and(|line| line == text.as_bytes())
    }

    /// Not synced: a tombstone that a power loss takes costs one more answer `already`. So does one that cannot be written:
    /// the record is done with either way.
    pub fn acknowledge(&mut self, turn: &TurnId) -> Result<(), OutboxError> {
        let Some(at) = self.records.iter().position(|kept| kept.turn == *turn) else {
            return Ok(());
        };
        self.records.remove(at);
        if self.stale {
            // The file that is written anew has neither the record nor a tombstone.
            return self.renew();
        }
        let text = line::encode(&Entry::Done(turn.clone()))
            .map_err(|error| OutboxError(format!("record cannot be written: {error}")))?;
        let written = self.append(&text, false).map(drop);
        self.stale |= written.is_err();
        if written.is_ok() && self.is_worth_a_rewrite() {
            return self.rewrite();
        }
        written
    }

    /// The records of one worker, oldest first, as they can be read now.
    pub fn records(&self, worker: &WorkerId) -> Vec<FinishRecord> {
        let records = self.records.iter().filter(|kept| kept.worker == *worker);
        let read = records.filter_map(|kept| {
            let record = self.line_of(kept).ok().and_then(|line| {
                let line = line.strip_suffix(b"\n")?;
                match line::decode(line)? {
                    Entry::Put(record) => Some(record),
                    Entry::Done(_) => None,
                }
            });
            if record.is_none() {
                tracing::error!(turn = %kept.turn, "a record of the outbox cannot be read any more");
            }
            record
        });
        read.collect()
    }

    /// How many records somebody can deliver.
    pub fn depth(&self) -> usize {
        self.records.len() - self.strays().count()
    }

    /// From now on these workers are served. Records of others stay, for the day they are configured again, but nobody waits
    /// for them. Of how many workers there are such records, and how many.
    pub fn serve(&mut self, workers: BTreeSet<WorkerId>) -> (usize, usize) {
        self.served = Some(workers);
        let of: BTreeSet<_> = self.strays().map(|kept| &kept.worker).collect();
        (of.len(), self.strays().count())
    }

    fn is_stray(&self, kept: &Kept) -> bool {
        let served = self.served.as_ref();
        served.is_some_and(|served| !served.contains(&kept.worker))
    }

    fn strays(&self) -> impl Iterator<Item = &Kept> {
        self.records.iter().filter(|kept| self.is_stray(kept))
    }

    /// What nobody delivers gives way to what somebody does, the oldest first.
    fn make_room(&mut self, length: u64) {
        while self.live_bytes() + length > self.max_pending {
            let stray = self.records.iter().position(|kept| self.is_stray(kept));
            let Some(at) = stray else { return };
            let gone = self.records.remove(at);
            tracing::warn!(turn = %gone.turn, worker = %gone.worker, "the outbox is full: a finish of a worker that is not configured any more is dropped");
            self.stale = true;
        }
    }

    fn line_of(&self, kept: &Kept) -> std::io::Result<Vec<u8>> {
        match (&kept.place, &self.file) {
            (Place::Memory(text), _) => Ok(text.clone().into_bytes()),
            (Place::File(offset), Some(file)) => {
                let mut line = vec![0; kept.length as usize];
                file.read_exact_at(&mut line, *offset)?;
                Ok(line)
            }
            (Place::File(_), None) => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn live_bytes(&self) -> u64 {
        self.records.iter().map(|kept| kept.length).sum()
    }

    fn is_worth_a_rewrite(&self) -> bool {
        let live = self.live_bytes();
        self.length > 2 * live + SLACK
    }

    /// Appends and says from where.
    fn append(&mut self, text: &str, sync: bool) -> Result<u64, OutboxError> {
        if sync && !self.folder_is_synced {
            sync_folder(&self.path)?;
            self.folder_is_synced = true;
        }
        let Some(file) = &mut self.file else {
            let error = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(failed("write", &self.path, &error));
        };
        let mut written = file.write_all(text.as_bytes());
        if written.is_ok() && sync {
            written = file.sync_data();
        }
        if let Err(error) = written {
            // Half a line would spoil the next one; if it cannot be cut off, the next start keeps it aside.
            let _ = file.set_len(self.length);
            return Err(failed("write", &self.path, &error));
        }
        let offset = self.length;
        self.length += text.len() as u64;
        Ok(offset)
    }

    fn renew(&mut self) -> Result<(), OutboxError> {
        if self.stale {
            return self.rewrite();
        }
        Ok(())
    }

    /// Writes the living records to a new file and puts it in the old one's place. A crash at any point leaves either
    /// the old file or the whole new one.
    fn rewrite(&mut self) -> Result<(), OutboxError> {
        let temporary = self.path.with_extension("new");
        if temporary.is_dir() {
            set_aside(&temporary).map_err(|error| failed("set aside", &temporary, &error))?;
        }
        let written = self.write_to(&temporary);
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
            // It may have been renamed already, and then nothing can be appended to the file that is open.
            self.stale = true;
        }
        let (file, places, length) =
            written.map_err(|error| failed("rewrite", &self.path, &error))?;
        for (kept, offset) in self.records.iter_mut().zip(places) {
            kept.place = Place::File(offset);
        }
        self.file = Some(file);
        self.length = length;
        self.stale = false;
        sync_folder(&self.path)?;
        self.folder_is_synced = true;
        Ok(())
    }

    fn write_to(&self, temporary: &Path) -> std::io::Result<(File, Vec<u64>, u64)> {
        let mut file = private()
            .create(true)
            .truncate(true)
            .write(true)
            .open(temporary)?;
        let (mut places, mut length) = (Vec::new(), 0);
        for kept in &self.records {
            let line = self.line_of(kept)?;
            file.write_all(&line)?;
            places.push(length);
            length += line.len() as u64;
        }
        file.sync_all()?;
        fs::rename(temporary, &self.path)?;
        Ok((open_append(&self.path)?, places, length))
    }
}

/// Options of a file that only its owner can read.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn open_append(path: &Path) -> std::io::Result<File> {
    private().create(true).append(true).read(true).open(path)
}

/// Makes a created or renamed file outlive a power loss.
fn sync_folder(path: &Path) -> Result<(), OutboxError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| failed("sync the folder of", path, &error))
}

fn failed(verb: &str, path: &Path, error: &std::io::Error) -> OutboxError {
    OutboxError(format!("cannot {verb} outbox {}: {error}", path.display()))
}
