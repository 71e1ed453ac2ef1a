//! The page that the embedded deployment serves at its address: the one that was built into this binary (`build.rs`
//! embeds `web/dist`), or what a folder holds, for whoever works on the page. The folder is read once, at the start.

use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;
use orchestrator_backend::Site;

use super::error::RunError;
use crate::config::env;

/// Empty when there was no page when this was built.
static EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// A page is small; a folder that is not was named by mistake.
const MOST_FILES: usize = 1_000;

pub(super) fn page() -> Result<Site, RunError> {
    let Some(folder) = env::get(env::PAGE) else {
        let files = EMBEDDED.iter();
        return Ok(Site::new(files.map(|(name, content)| {
            ((*name).to_owned(), Bytes::from_static(content))
        })));
    };
    read(Path::new(&folder)).map_err(|reason| {
        RunError::Setup(format!("{}={folder}: cannot serve it: {reason}", env::PAGE))
    })
}

fn read(folder: &Path) -> io::Result<Site> {
    if !folder.join("index.html").is_file() {
        return Err(io::Error::other("there is no index.html in it"));
    }
    let mut files = Vec::new();
    collect(folder, "", &mut files)?;
    Ok(Site::new(files))
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, Bytes)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else if kind.is_file() {
            files.push((name, fs::read(entry.path())?.into()));
        }
        if files.len() > MOST_FILES {
            return Err(io::Error::other("there are too many files for a page"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_page_when_it_has_an_index() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("assets")).unwrap();
        fs::write(folder.path().join("assets/a.js"), "1").unwrap();
        let refused = read(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("no index.html"), "{refused}");
        fs::write(folder.path().join("index.html"), "<!doctype html>").unwrap();
        assert!(!read(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn what_is_embedded_is_whole_or_nothing() {
        let names: Vec<&str> = EMBEDDED.iter().map(|(name, _)| *name).collect();
        assert!(
            names.is_empty() || names.contains(&"index.html"),
            "{names:?}"
        );
    }
}
