//! The texts of tasks, from the command line and from files: what a task may be is checked here before the deployment is
//! asked for anything, with the place of what is wrong.

use std::io::Read;
use std::path::Path;

use crate::cli::failure::Failure;
use crate::ui::format::short;

/// What the deployment takes of one task.
pub const TASK_BYTES: usize = 262_144;
/// What is read of a file: as much as a whole queue can hold would be absurd.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// How the tasks of a file are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One a line; empty lines are nothing.
    Lines,
    /// Blocks of lines, with empty lines between them.
    Blocks,
}

/// The tasks of a file; `-` is stdin.
pub fn from_file(path: &Path, layout: Layout) -> Result<Vec<String>, Failure> {
    let is_stdin = path == Path::new("-");
    let shown = if is_stdin {
        "stdin".to_owned()
    } else {
        path.display().to_string()
    };
    let unreadable =
        |error: std::io::Error| Failure::usage(format!("cannot read {shown}: {error}"));
    let mut bytes = Vec::new();
    let read = if is_stdin {
        std::io::stdin()
            .lock()
            .take(FILE_BYTES + 1)
            .read_to_end(&mut bytes)
    } else {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES + 1).read_to_end(&mut bytes)
    };
    read.map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(Failure::usage(format!(
            "{shown} is larger than 64 MiB: no list of tasks is"
        )));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{shown} is not UTF-8")))?;
    let tasks = split(&text, layout);
    if tasks.is_empty() {
        return Err(Failure::usage(format!("there is no task in {shown}")));
    }
    Ok(tasks)
}

fn split(text: &str, layout: Layout) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_empty = |line: &&str| line.trim().is_empty();
    match layout {
        Layout::Lines => text
            .lines()
            .filter(|line| !is_empty(line))
            .map(|line| line.trim().to_owned())
            .collect(),
        Layout::Blocks => {
            let lines: Vec<&str> = text.lines().collect();
            lines
                .split(is_empty)
                .filter(|block| !block.is_empty())
                .map(|block| block.join("\n").trim_end().to_owned())
                .collect()
        }
    }
}

/// Whether each of them can be a task.
pub fn check(texts: &[String]) -> Result<(), Failure> {
    for (at, text) in texts.iter().enumerate() {
        let which = || match texts.len() {
            1 => "the task".to_owned(),
            _ => format!("task {} (\"{}\")", at + 1, short(text, 40)),
        };
        if text.trim().is_empty() {
            return Err(Failure::usage(format!(
                "{} is empty: say what is to be done",
                which()
            )));
        }
        if text.len() > TASK_BYTES {
            return Err(Failure::usage(format!(
                "{} has {} kB: a task can have {} kB at most",
                which(),
                text.len() / 1024,
                TASK_BYTES / 1024
            ))
            .hint("put the material into a file of the repository and name it in the task"));
        }
        if text.contains('\0') {
            return Err(Failure::usage(format!("{} has a zero byte in it", which())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_task_a_line_or_a_block() {
        let text =
            "\u{feff}implement login\r\n\r\n  add validation \nwrite tests\n\n\n# not a comment\n";
        assert_eq!(
            split(text, Layout::Lines),
            [
                "implement login",
                "add validation",
                "write tests",
                "# not a comment"
            ]
        );
        assert_eq!(
            split(text, Layout::Blocks),
            [
                "implement login",
                "  add validation \nwrite tests",
                "# not a comment"
            ]
        );
        assert!(split(" \n\n\t\n", Layout::Lines).is_empty());
        assert!(split("", Layout::Blocks).is_empty());
    }

    #[test]
    fn what_cannot_be_a_task_is_said_with_its_place() {
        let failed = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            check(&texts).unwrap_err().message
        };
        assert_eq!(
            failed(&[" \n"]),
            "the task is empty: say what is to be done"
        );
        assert_eq!(
            failed(&["a", "b\0c"]),
            "task 2 (\"b\u{fffd}c\") has a zero byte in it"
        );
        assert!(failed(&[&"x".repeat(TASK_BYTES + 1)]).contains("256 kB at most"));
        assert!(
            check(&[
                "x".repeat(TASK_BYTES),
                "$(rm -rf ~) `id` 👩‍💻\u{202e}".to_owned()
            ])
            .is_ok()
        );
    }
}
