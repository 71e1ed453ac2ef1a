//! The log file: one that is written and a few older ones, each bounded, so that a fault that repeats for ever neither
//! fills the disk nor hides what came last. What is found at the start is gone on with, so restarts do not add up.
//!
//! A disk that takes nothing costs the lines of that time and nothing else: each next line tries again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes of one file.
pub const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Older files beside the one that is written.
pub const OLDER: usize = 4;

pub struct Rolling {
    path: PathBuf,
    limit: u64,
    file: Option<File>,
    length: u64,
}

impl Rolling {
    /// `<folder>/<name>.log`, and `<name>.log.1` (the youngest) and so on.
    pub fn open(folder: &Path, name: &str, limit: u64) -> io::Result<Self> {
        let mut log = Self {
            path: folder.join(format!("{name}.log")),
            limit,
            file: None,
            length: 0,
        };
        log.reopen()?;
        Ok(log)
    }

    fn reopen(&mut self) -> io::Result<&mut File> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)?;
        self.length = file.metadata()?.len();
        Ok(self.file.insert(file))
    }

    fn roll(&mut self) -> io::Result<()> {
        self.file = None;
        for number in (1..OLDER).rev() {
            // One that is not there yet is no trouble.
            let _ = fs::rename(older(&self.path, number), older(&self.path, number + 1));
        }
        fs::rename(&self.path, older(&self.path, 1))
    }
}

/// Where a log's older file is; 1 is the youngest.
pub fn older(path: &Path, number: usize) -> PathBuf {
    path.with_extension(format!("log.{number}"))
}

impl Write for Rolling {
    /// A line at a time, as the subscriber writes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = line.len() as u64;
        if self.length > 0
            && self.length.saturating_add(length) > self.limit
            && self.roll().is_err()
        {
            // It cannot be moved: better the newest lines in a file that begins anew than one without a bound.
            let begun = OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(&self.path);
            drop(begun?);
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.reopen()?,
        };
        let written = file.write_all(line);
        self.length += length;
        if written.is_err() {
            // Perhaps half of it is there: its real length is asked for again.
            self.file = None;
        }
        written.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::super::SUPERVISOR;
    use super::*;

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap_or_default()
    }

    #[test]
    fn a_log_that_floods_keeps_its_newest_lines_within_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Rolling::open(folder.path(), SUPERVISOR, 1_000).unwrap();
        for n in 0..100_000 {
            log.write_all(format!("line {n:06}\n").as_bytes()).unwrap();
        }
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert_eq!(files.len(), 1 + OLDER);
        let bytes: u64 = files
            .iter()
            .map(|file| file.metadata().unwrap().len())
            .sum();
        assert!(bytes <= 1_000 * (1 + OLDER as u64), "{bytes}");
        let newest = read(folder.path(), "orchestrator.log");
        assert!(newest.ends_with("line 099999\n"));
        let before: u64 = read(folder.path(), "orchestrator.log.1")
            .lines()
            .last()
            .map_or(0, |line| line[5..].parse().unwrap());
        assert_eq!(
            newest.lines().next(),
            Some(format!("line {:06}", before + 1).as_str())
        );
    }

    #[test]
    fn a_process_that_keeps_restarting_does_not_begin_a_new_allowance_each_time() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..1_000 {
            let mut log = Rolling::open(folder.path(), SUPERVISOR, 1_000).unwrap();
            log.write_all(format!("start {n:04}\n").as_bytes()).unwrap();
        }
        let files = fs::read_dir(folder.path()).unwrap().flatten();
        let bytes: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
        assert!(bytes <= 1_000 * (1 + OLDER as u64), "{bytes}");
    }

    #[test]
    fn a_log_folder_that_is_gone_for_a_while_costs_the_lines_of_that_while() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        fs::create_dir(&logs).unwrap();
        let mut log = Rolling::open(&logs, SUPERVISOR, 20).unwrap();
        log.write_all(b"before, long enough\n").unwrap();
        fs::rename(&logs, folder.path().join("away")).unwrap();
        assert!(log.write_all(b"lost\n").is_err());
        fs::rename(folder.path().join("away"), &logs).unwrap();
        log.write_all(b"after\n").unwrap();
        assert!(read(&logs, "orchestrator.log").ends_with("after\n"));
    }
}
