//! Embeds the page: copies what `just web` has put into `web/dist` and writes a table of it for `src/daemon/page.rs` to
//! include. A copy, because the page may be built again while this crate is compiled. A checkout without it builds, too;
//! its table is empty.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    // The folder above: one that is missing would make every build look again.
    println!("cargo::rerun-if-changed=web");
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).unwrap_or_default());
    let dist = variable("CARGO_MANIFEST_DIR").join("web/dist");
    let copy = variable("OUT_DIR").join("page");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    let mut names = Vec::new();
    if dist.join("index.html").is_file() {
        copy_into(&dist, &copy, "", &mut names)?;
    }
    names.sort();
    let mut table = String::from("&[\n");
    for name in names {
        let path = copy.join(&name);
        let path = path.to_string_lossy();
        let _ = writeln!(table, "    ({name:?}, include_bytes!({path:?}) as &[u8]),");
    }
    table.push_str("]\n");
    fs::write(variable("OUT_DIR").join("page.rs"), table)
}

fn copy_into(from: &Path, to: &Path, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_into(&entry.path(), &target, &format!("{name}/"), names)?;
        } else {
            fs::copy(entry.path(), target)?;
            names.push(name);
        }
    }
    Ok(())
}
