//! The page, built from the present sources with the packages of the lock file, and the browser that looks at it. Built
//! once for a state of the sources, below the target folder; the checkout's own `web/dist` is not touched.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::cache::{made_once, root};
use crate::command::find;
use crate::node::{Package, copy_tree};

/// The folder with the built page, as `ORCHESTRATOR_PAGE` takes it.
pub fn built_page() -> PathBuf {
    let mut hash = Sha256::new();
    for manifest in ["package-lock.json", "package.json"] {
        hash.update(fs::read(root().join(manifest)).expect("a manifest"));
    }
    add_sources(&root().join("web"), &mut hash);
    let name = format!("{:x}", hash.finalize());
    made_once("page", &name[..16], |folder| {
        let package = Package::get();
        package.script("web").exits(0);
        for entry in fs::read_dir(package.path("web/dist")).expect("a built page") {
            let entry = entry.expect("an entry");
            copy_tree(&entry.path(), &folder.join(entry.file_name()));
        }
    })
}

fn add_sources(folder: &Path, hash: &mut Sha256) {
    let entries = fs::read_dir(folder).expect("the page's sources");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    for path in paths.iter().filter(|path| !path.ends_with("dist")) {
        if path.is_dir() {
            add_sources(path, hash);
        } else {
            hash.update(path.to_string_lossy().as_bytes());
            hash.update(fs::read(path).expect("a source"));
        }
    }
}

/// Chromium, as Debian's package names it, or Chrome. Panics with what to install.
pub fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH");
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut found = names.iter().map(|name| {
        find(
            name,
            path.as_deref(),
            "Chromium (Debian: `apt install chromium`)",
        )
    });
    let first = found.next().expect("a name");
    first
        .or_else(|problem| found.find_map(Result::ok).ok_or(problem))
        .unwrap_or_else(|problem| panic!("{problem}"))
}
