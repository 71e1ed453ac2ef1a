//! What people see: stdout for data, stderr for talk, colours only where somebody looks. The only place that prints.
//! A reader that hangs up (`orchestrator ps | head -1`) ends the program quietly.

pub mod format;
pub mod tree;

use std::io::{IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressStyle};

use self::format::{only_colours, printable_lines};

/// How much to say and in which colours; fixed at start.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    color: ColorChoice,
    quiet: bool,
}

impl Ui {
    pub fn new(color: ColorChoice, quiet: bool) -> Self {
        Self { color, quiet }
    }

    /// Data: one line on stdout.
    pub fn line(&self, text: impl AsRef<str>) {
        self.data(&format!("{}\n", text.as_ref()));
    }

    /// Data as it is, flushed at once, because somebody may be watching it grow.
    pub fn data(&self, text: &str) {
        let mut out = AutoStream::new(std::io::stdout(), self.color).lock();
        let written = out
            .write_all(only_colours(text).as_bytes())
            .and_then(|()| out.flush());
        match written {
            Ok(()) => {}
            // The reader is gone; there is nobody left to tell.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => {
                self.error(&format!("error: cannot write to stdout: {error}"));
                std::process::exit(1);
            }
        }
    }

    /// Data that somebody else wrote: its lines, and no escapes.
    pub fn foreign(&self, text: &str) {
        self.data(&printable_lines(text));
    }

    /// An empty screen for what is drawn again and again; for a terminal only.
    pub fn clear(&self) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(b"\x1b[H\x1b[2J").and_then(|()| out.flush());
    }

    /// Columns of the terminal behind stdout; none when nobody looks.
    pub fn width(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        (size.ws_col > 0).then_some(usize::from(size.ws_col))
    }

    /// One JSON object on stdout.
    pub fn json(&self, value: &impl serde::Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(text),
            Err(error) => self.error(&format!("error: cannot print as JSON: {error}")),
        }
    }

    /// Talk that `--quiet` leaves out.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.error(text.as_ref());
        }
    }

    /// Talk that must be seen.
    pub fn error(&self, text: &str) {
        let mut err = AutoStream::new(std::io::stderr(), self.color).lock();
        let _ = writeln!(err, "{}", only_colours(text));
    }

    /// Talk without a newline, for prompts and progress.
    pub fn ask(&self, text: &str) {
        let mut err = AutoStream::new(std::io::stderr(), self.color).lock();
        let text = only_colours(text);
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }

    /// Drops what stands in the terminal's input: it was typed for something else than what is asked next.
    pub fn forget_typed(&self) {
        // Fails where stdin is no terminal, and there is nothing to drop then.
        let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
    }

    /// The terminal's bell and title, when a person is behind stderr and the terminal knows more than text.
    pub fn attention(&self, title: &str) {
        let mut err = std::io::stderr().lock();
        if self.quiet
            || !err.is_terminal()
            || std::env::var_os("TERM").is_none_or(|term| term == "dumb")
        {
            return;
        }
        let title: String = title.chars().filter(|c| !c.is_control()).take(80).collect();
        let _ = write!(err, "\x07\x1b]0;{title}\x07").and_then(|()| err.flush());
    }

    /// A bar for so many bytes on stderr, when a person watches it.
    pub fn progress_bar(&self, bytes: u64) -> Option<ProgressBar> {
        if self.quiet || !std::io::stderr().is_terminal() {
            return None;
        }
        let style = ProgressStyle::with_template("{bar:24}  {bytes}  {elapsed}").ok()?;
        Some(ProgressBar::new(bytes).with_style(style))
    }

    /// Whether stdout is looked at by a person.
    pub fn stdout_is_tty(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    /// Whether colours may be used on stderr (for renderers that do not go through here).
    pub fn colors_on_stderr(&self) -> bool {
        match self.color {
            ColorChoice::Never => false,
            ColorChoice::Always | ColorChoice::AlwaysAnsi => true,
            ColorChoice::Auto => AutoStream::choice(&std::io::stderr()) != ColorChoice::Never,
        }
    }
}
