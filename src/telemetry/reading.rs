//! Reading a rolled log while somebody may be writing and rolling it: files are told apart by what they are, not by their names,
//! so a roll in the middle neither repeats a line nor leaves one out. It needs no supervisor.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::rolling::{OLDER, older};

/// A line without an end is no line of ours; so much of it is kept.
const LONGEST: usize = 1024 * 1024;

/// One file of a log, opened.
struct Piece {
    inode: u64,
    lines: BufReader<File>,
}

impl Piece {
    /// Nothing when it is not there.
    fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self {
                inode: file.metadata()?.ino(),
                lines: BufReader::new(file),
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What is written after what was read.
pub struct Follower {
    path: PathBuf,
    piece: Option<Piece>,
    /// The begin of a line whose end is not written yet.
    begun: Vec<u8>,
}

/// The newest `most` lines (all without it) of which `take` makes something, oldest first, and the way on from there.
pub fn past<T>(
    folder: &Path,
    name: &str,
    most: Option<usize>,
    mut take: impl FnMut(&str) -> Option<T>,
) -> io::Result<(Vec<T>, Follower)> {
    let path = folder.join(format!("{name}.log"));
    let mut follower = Follower {
        path: path.clone(),
        piece: None,
        begun: Vec::new(),
    };
    let mut pieces: Vec<Piece> = Vec::new();
    let mut paths = vec![path.clone()];
    paths.extend((1..=OLDER).map(|number| older(&path, number)));
    for path in paths {
        // Opened from the newest on: what is rolled meanwhile comes again under its next name.
        if let Some(piece) = Piece::open(&path)?
            && pieces.iter().all(|known| known.inode != piece.inode)
        {
            pieces.push(piece);
        }
    }
    let mut newest_first: Vec<VecDeque<T>> = Vec::new();
    let mut left = most;
    for (at, mut piece) in pieces.into_iter().enumerate() {
        let mut kept = VecDeque::new();
        let mut begun = Vec::new();
        read(&mut piece.lines, &mut begun, &mut |line| {
            kept.extend(take(line));
            if left.is_some_and(|left| kept.len() > left) {
                kept.pop_front();
            }
        })?;
        if at == 0 {
            follower.piece = Some(piece);
            follower.begun = begun;
        }
        left = left.map(|left| left - kept.len());
        newest_first.push(kept);
        if left == Some(0) {
            break;
        }
    }
    let lines = newest_first.into_iter().rev().flatten().collect();
    Ok((lines, follower))
}

impl Follower {
    /// Everything that has been written since the last time.
    pub fn more(&mut self, mut each: impl FnMut(&str)) -> io::Result<()> {
        loop {
            let piece = match &mut self.piece {
                Some(piece) => piece,
                None => match Piece::open(&self.path)? {
                    Some(piece) => self.piece.insert(piece),
                    None => return Ok(()),
                },
            };
            // Looked at before it is read to its end: what is written into it after a roll is nothing.
            let now = inode(&self.path)?;
            let inode = piece.inode;
            let position = piece.lines.stream_position()?;
            if piece.lines.get_ref().metadata()?.len() < position {
                piece.lines.seek(io::SeekFrom::Start(0))?;
                self.begun.clear();
            }
            read(&mut piece.lines, &mut self.begun, &mut each)?;
            if now == Some(inode) || now.is_none() {
                return Ok(());
            }
            self.piece = self.after(inode)?;
            self.begun.clear();
        }
    }

    /// The file that was begun when this one was rolled; when it has been rolled away itself, the oldest there is.
    fn after(&self, inode: u64) -> io::Result<Option<Piece>> {
        let mut newer = Piece::open(&self.path)?;
        for number in 1..=OLDER {
            match Piece::open(&older(&self.path, number))? {
                Some(piece) if piece.inode == inode => return Ok(newer),
                Some(piece) => newer = Some(piece),
                None => {}
            }
        }
        Ok(newer)
    }
}

fn inode(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole lines; what has no end yet stays in `begun`.
fn read(
    lines: &mut impl BufRead,
    begun: &mut Vec<u8>,
    each: &mut impl FnMut(&str),
) -> io::Result<()> {
    loop {
        let bytes = lines.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1);
        let room = LONGEST.saturating_sub(begun.len());
        let text = &bytes[..end.unwrap_or(bytes.len())];
        begun.extend_from_slice(&text[..text.len().min(room)]);
        lines.consume(taken);
        if end.is_some() {
            each(&String::from_utf8_lossy(begun));
            begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::rolling::Rolling;
    use super::*;

    fn number(line: &str) -> Option<u32> {
        line.strip_prefix("line ")?.parse().ok()
    }

    fn write(log: &mut Rolling, numbers: std::ops::Range<u32>) {
        for n in numbers {
            log.write_all(format!("line {n}\n").as_bytes()).unwrap();
        }
    }

    #[test]
    fn the_newest_lines_are_found_over_all_files_and_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Rolling::open(folder.path(), "x", 100).unwrap();
        write(&mut log, 0..40);
        let (last, _) = past(folder.path(), "x", Some(15), number).unwrap();
        assert_eq!(last, (25..40).collect::<Vec<_>>());
        let (even, _) = past(folder.path(), "x", Some(15), |line| {
            number(line).filter(|n| n % 2 == 0)
        })
        .unwrap();
        assert_eq!(even, (10..40).step_by(2).collect::<Vec<_>>());
        let (all, _) = past(folder.path(), "x", None, number).unwrap();
        assert_eq!(all, (all[0]..40).collect::<Vec<_>>());
        let (none, _) = past(folder.path(), "y", None, number).unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn whoever_follows_misses_nothing_and_hears_nothing_twice_over_rolls_and_half_lines() {
        let folder = tempfile::tempdir().unwrap();
        let (_, mut follower) = past(folder.path(), "x", None, number).unwrap();
        let mut heard = Vec::new();
        let mut log = Rolling::open(folder.path(), "x", 100).unwrap();
        let mut written = 0;
        for count in [1, 0, 3, 20, 2, 25, 1] {
            write(&mut log, written..written + count);
            written += count;
            follower.more(|line| heard.extend(number(line))).unwrap();
        }
        assert_eq!(heard, (0..written).collect::<Vec<_>>());
        log.write_all(b"line 9").unwrap();
        follower.more(|_| panic!("it has no end yet")).unwrap();
        log.write_all(b"99\n").unwrap();
        follower.more(|line| heard.extend(number(line))).unwrap();
        assert_eq!(heard.last(), Some(&999));
    }

    #[test]
    fn a_file_that_was_emptied_is_read_from_its_begin() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        fs::write(&path, "line 1\nline 2\n").unwrap();
        let (_, mut follower) = past(folder.path(), "x", None, number).unwrap();
        fs::write(&path, "line 3\n").unwrap();
        let mut heard = Vec::new();
        follower.more(|line| heard.extend(number(line))).unwrap();
        assert_eq!(heard, [3]);
    }
}
