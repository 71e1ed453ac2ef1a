//! A command on a terminal of its own, as a person has it.

use std::process::Command;

use rexpect::ReadUntil;
use rexpect::process::wait::WaitStatus;
use rexpect::session::{PtySession, spawn_command};

const LIMIT_MS: u64 = 90_000;

pub struct Terminal(PtySession);

impl Terminal {
    pub fn open(command: Command) -> Self {
        Self(spawn_command(command, Some(LIMIT_MS)).expect("a terminal"))
    }

    #[track_caller]
    pub fn shows(&mut self, text: &str) -> String {
        match self.0.exp_string(text) {
            Ok(before) => before,
            Err(error) => panic!("never shown: {text}\n{error}"),
        }
    }

    pub fn types(&mut self, line: &str) {
        self.0.send_line(line).expect("it listens");
    }

    /// Answers what is asked: as often as it takes to be later than a person can read.
    #[track_caller]
    pub fn answers(&mut self, line: &str, then: &str) {
        let early = "typed before this was asked";
        loop {
            self.types(line);
            let needles = [early, then].map(|text| ReadUntil::String(text.to_owned()));
            match self.0.exp_any(needles.into()) {
                Ok((_, found)) if found == early => {}
                Ok(_) => return,
                Err(error) => panic!("never shown: {then}\n{error}"),
            }
        }
    }

    /// Ctrl and this letter.
    pub fn control(&mut self, letter: char) {
        self.0.send_control(letter).expect("it listens");
    }

    #[track_caller]
    pub fn ends_with(mut self, code: i32) -> String {
        let rest = self.0.exp_eof().unwrap_or_default();
        let status = self.0.process().wait().expect("a status");
        assert!(
            matches!(status, WaitStatus::Exited(_, ended) if ended == code),
            "{status:?}\n{rest}"
        );
        rest
    }
}
