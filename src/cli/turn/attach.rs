//! Images and files that go along with a message: read and judged before anything is sent, then uploaded piece by piece,
//! then named in the message, which takes them whole or is not sent.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orchestrator_actors::domain::plain_sight::breaks_a_line;
use serde_json::json;

use super::submit::new_id;
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::ui::format::bytes;

/// The deployment's own bounds, checked here first so that nobody waits for an upload that is refused.
pub const MAX_FILES_BYTES: u64 = 10_000_000;
const MAX_FILES: usize = 8;
/// One piece, a bound of the deployment, too. Three divides it.
const PIECE: usize = 384 * 1024;

/// A file as it was when it was chosen.
#[derive(Debug)]
pub struct File {
    name: String,
    mime: &'static str,
    content: Vec<u8>,
}

/// Reads all of them. Nothing is sent when one of them cannot go along.
pub fn load(paths: &[PathBuf]) -> Result<Vec<File>, Failure> {
    if paths.len() > MAX_FILES {
        return Err(Failure::usage(format!(
            "a message can have {MAX_FILES} files at most, these are {}",
            paths.len()
        )));
    }
    let mut left = MAX_FILES_BYTES;
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let file = read(path, left)?;
        left -= file.content.len() as u64;
        files.push(file);
    }
    Ok(files)
}

fn read(path: &Path, left: u64) -> Result<File, Failure> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Failure::usage(format!("there is no file {shown}")),
        _ => Failure::usage(format!("cannot read {shown}: {error}")),
    };
    // Looked at before it is opened: a pipe would wait for its writer.
    let found = fs::metadata(path).map_err(unreadable)?;
    if found.is_dir() {
        return Err(Failure::usage(format!("{shown} is a directory")).hint(
            "name its files, or let the assistant look at it: it can read its working directory",
        ));
    }
    if !found.is_file() {
        return Err(Failure::usage(format!("{shown} is not a file")));
    }
    if found.len() > left {
        return Err(too_large(path, found.len()));
    }
    let mut content = Vec::new();
    // It may grow meanwhile.
    fs::File::open(path)
        .map_err(unreadable)?
        .take(left + 1)
        .read_to_end(&mut content)
        .map_err(unreadable)?;
    if content.len() as u64 > left {
        return Err(too_large(path, content.len() as u64));
    }
    if content.is_empty() {
        return Err(Failure::usage(format!("{shown} is empty")));
    }
    let mime = kind_of(&content).ok_or_else(|| {
        Failure::usage(format!(
            "{shown} is neither an image (PNG, JPEG, GIF, WebP) nor a PDF nor a text"
        ))
        .hint("put it into the worker's directory and name it in the message")
    })?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok(File {
        name: in_one_line(&name.to_string_lossy()),
        mime,
        content,
    })
}

fn too_large(path: &Path, size: u64) -> Failure {
    Failure::usage(format!(
        "{} is too large to go along: it has {}, and all files of a message together can have {}",
        path.display(),
        bytes(size),
        bytes(MAX_FILES_BYTES)
    ))
    .hint("put it into the worker's directory and name it in the message")
}

/// By what is in it: a name can say anything.
fn kind_of(content: &[u8]) -> Option<&'static str> {
    let begins = |with: &[u8]| content.starts_with(with);
    if begins(b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    if begins(b"\xff\xd8\xff") {
        return Some("image/jpeg");
    }
    if begins(b"GIF87a") || begins(b"GIF89a") {
        return Some("image/gif");
    }
    if begins(b"RIFF") && content.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    if begins(b"%PDF-") {
        return Some("application/pdf");
    }
    let is_text = !content.contains(&0) && std::str::from_utf8(content).is_ok();
    is_text.then_some("text/plain")
}

/// As the deployment takes a name: 200 characters, none of which ends a line or turns its direction.
fn in_one_line(name: &str) -> String {
    let mut units = 0;
    name.chars()
        .map(|c| if breaks_a_line(c) { '_' } else { c })
        .take_while(|c| {
            units += c.len_utf16();
            units <= 200
        })
        .collect()
}

/// Uploads them and gives their ids.
pub async fn upload(connection: &Connection, files: &[File]) -> Result<Vec<String>, Failure> {
    let mut ids = Vec::with_capacity(files.len());
    for file in files {
        let id = new_id();
        let described =
            json!({"id": id, "name": file.name, "mime": file.mime, "bytes": file.content.len()});
        let client = &connection.client;
        client.mutation("attachments:begin", described).await?;
        for (index, piece) in file.content.chunks(PIECE).enumerate() {
            let args = json!({"id": id, "index": index, "data": STANDARD.encode(piece)});
            client.mutation("attachments:put", args).await?;
        }
        ids.push(id);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_is_in_it_whatever_its_name_says() {
        assert_eq!(kind_of(b"\x89PNG\r\n\x1a\nrest"), Some("image/png"));
        assert_eq!(kind_of(b"RIFF\x01\x02\x03\x04WEBPVP8 "), Some("image/webp"));
        assert_eq!(kind_of(b"%PDF-1.7\n"), Some("application/pdf"));
        assert_eq!(kind_of("fn main() {} // ä".as_bytes()), Some("text/plain"));
        assert_eq!(kind_of(b"PK\x03\x04\x00\x00"), None);
        assert_eq!(kind_of(b"latin \xe4"), None);
    }

    #[test]
    fn a_name_cannot_end_a_line() {
        assert_eq!(in_one_line("a\nb\u{202e}c"), "a_b_c");
        assert_eq!(in_one_line(&"ä".repeat(300)).chars().count(), 200);
    }

    #[test]
    fn what_cannot_go_along_is_said_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("empty"), "").unwrap();
        fs::write(at("archive.zip"), b"PK\x03\x04\x00").unwrap();
        fs::write(at("half"), "x".repeat(6_000_000)).unwrap();
        let huge = fs::File::create(at("huge.png")).unwrap();
        huge.set_len(50_000_000).unwrap();
        for (paths, said) in [
            (vec![at("missing")], "there is no file"),
            (vec![at("empty")], "is empty"),
            (vec![folder.path().to_owned()], "is a directory"),
            (vec![at("archive.zip")], "neither an image"),
            (vec![at("huge.png")], "too large to go along"),
            (vec![at("half"), at("half")], "too large to go along"),
            (vec![at("half"); 9], "8 files at most"),
        ] {
            let failure = load(&paths).unwrap_err();
            assert!(failure.message.contains(said), "{}", failure.message);
            assert_eq!(failure.exit, crate::cli::exit::Exit::Usage);
        }
        assert_eq!(load(&[at("half")]).unwrap().len(), 1);
    }
}
