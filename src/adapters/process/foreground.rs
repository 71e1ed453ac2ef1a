//! A program of the user's choice in the user's terminal, such as an editor: it gets stdin, stdout, stderr and the
//! environment as they are, and is waited for. No warden: it is the user's, as if started from the shell.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// Runs `line` with `argument` behind it, as a shell would (`code --wait`, `"my editor"`). Its exit code; none when a
/// signal ended it.
pub async fn run_in_terminal(line: &str, argument: &Path) -> io::Result<Option<i32>> {
    let mut command = tokio::process::Command::new("sh");
    // The line is the shell's to split, the argument is not.
    command
        .arg("-c")
        .arg(format!("{line} \"$@\""))
        .args([OsStr::new("sh"), argument.as_os_str()]);
    Ok(command.status().await?.code())
}

/// Runs a program with these arguments and, beside the environment as it is, these variables. Ctrl+C is its to understand: it has
/// the terminal.
pub async fn run_program(
    program: &Path,
    arguments: &[String],
    variables: &[(&str, &str)],
) -> io::Result<Option<i32>> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).envs(variables.iter().copied());
    let mut child = command.spawn()?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?.code()),
            _ = tokio::signal::ctrl_c() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_line_is_split_and_the_argument_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a file; rm x");
        let code = run_in_terminal("printf %s done >", &path).await.unwrap();
        assert_eq!(code, Some(0));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "done");
        assert_eq!(run_in_terminal("exit 3;", &path).await.unwrap(), Some(3));
    }
}
