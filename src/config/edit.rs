//! Changes `workers.json` for the user without losing a comment: edits go through the concrete syntax tree.

use std::path::Path;

use jsonc_parser::cst::{CstInputValue, CstRootNode};

use super::load::jsonc;
use super::paths::write_private;

/// Adds one worker, making the file when there is none. The token goes to the file alone (0600).
pub fn append_worker(
    path: &Path,
    token: &str,
    directory: &Path,
    url: &str,
    name: Option<&str>,
) -> Result<(), String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "{\n  \"workers\": []\n}\n".to_owned()
        }
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let root = CstRootNode::parse(&text, &jsonc())
        .map_err(|error| format!("{} is not valid JSON: {error}", path.display()))?;
    let list = root
        .object_value_or_create()
        .and_then(|object| object.array_value_or_create("workers"))
        .ok_or_else(|| format!("{} has no list `workers`", path.display()))?;
    let mut fields = vec![
        ("token".to_owned(), CstInputValue::String(token.to_owned())),
        (
            "working_directory".to_owned(),
            CstInputValue::String(directory.display().to_string()),
        ),
        (
            "convex_url".to_owned(),
            CstInputValue::String(url.to_owned()),
        ),
    ];
    if let Some(name) = name {
        fields.push(("name".to_owned(), CstInputValue::String(name.to_owned())));
    }
    list.ensure_multiline();
    list.append(CstInputValue::Object(fields));
    write_private(path, root.to_string().as_bytes()).map_err(|error| error.to_string())
}
