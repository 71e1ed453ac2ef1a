//! Units of systemd's user manager. Everything that comes from outside goes through [`quoted`]: percent signs are specifiers,
//! dollar signs variables (in commands only), backslashes escapes.

use super::{Before, ServiceError, Wanted, environment_file, plain, plain_path};
use crate::config::Paths;

pub const UNIT: &str = "orchestrator.service";
const TEMPLATE: &str = include_str!("../../config-templates/orchestrator.service");

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Command,
    Variable,
}

pub fn unit(wanted: &Wanted, paths: &Paths) -> Result<String, ServiceError> {
    let command = |words: &[String]| -> Result<String, ServiceError> {
        let binary = plain_path("the path of orchestrator", &wanted.binary)?;
        let mut line = quoted(binary, Place::Command);
        for word in words.iter().chain(&wanted.globals) {
            let word = plain("an argument of the service", word)?;
            line.push(' ');
            line.push_str(&quoted(word, Place::Command));
        }
        Ok(line)
    };
    let mut variables = Vec::new();
    for (name, value) in &wanted.captured.variables {
        let value = plain(name, value)?;
        let assignment = quoted(&format!("{name}={value}"), Place::Variable);
        variables.push(format!("Environment={assignment}"));
    }
    let home = plain_path("the home folder", &paths.home)?;
    let file = environment_file(paths);
    let file = plain_path("the configuration folder", &file)?;
    Ok(fill(
        TEMPLATE,
        &[
            ("@START@", command(&wanted.run)?),
            ("@RELOAD@", command(&["reload".to_owned()])?),
            ("@ENVIRONMENT@", variables.join("\n")),
            ("@ENVIRONMENT_FILE@", percent(file)),
            ("@HOME@", percent(home)),
        ],
    ))
}

/// Line by line, so that nothing that is filled in is looked at for further places.
fn fill(template: &str, places: &[(&str, String)]) -> String {
    let mut text = String::new();
    for line in template.lines() {
        let place = places.iter().find(|(name, _)| line.ends_with(name));
        match place {
            Some((name, value)) => {
                text.push_str(line.trim_end_matches(name));
                text.push_str(value);
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

fn percent(text: &str) -> String {
    text.replace('%', "%%")
}

fn quoted(text: &str, place: Place) -> String {
    let mut word = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => word.extend(['\\', c]),
            '%' => word.push_str("%%"),
            '$' if place == Place::Command => word.push_str("$$"),
            _ => word.push(c),
        }
    }
    word.push('"');
    word
}

/// What a unit of ours sets a variable to.
pub fn variable(unit: &str, name: &str) -> Option<String> {
    let assignments = unit.lines().filter_map(|line| {
        let word = line.strip_prefix("Environment=\"")?.strip_suffix('"')?;
        Some(unquoted(word))
    });
    let prefix = format!("{name}=");
    assignments
        .filter_map(|text| text.strip_prefix(&prefix).map(str::to_owned))
        .next_back()
}

fn unquoted(word: &str) -> String {
    let mut text = String::new();
    let mut rest = word.chars();
    while let Some(c) = rest.next() {
        match c {
            // One of a pair, as we write them.
            '\\' | '%' => text.extend(rest.next()),
            _ => text.push(c),
        }
    }
    text
}

pub fn start_steps(before: Before) -> Vec<Vec<String>> {
    let mut steps = vec![words("daemon-reload", &[])];
    match before {
        Before::Nothing => steps.push(words("enable", &["--now", UNIT])),
        Before::Service => {
            steps.push(words("enable", &[UNIT]));
            steps.push(words("restart", &[UNIT]));
        }
        Before::Another => steps.push(words("enable", &[UNIT])),
    }
    steps
}

pub fn stop_steps() -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    (
        vec![words("disable", &["--now", UNIT])],
        vec![words("daemon-reload", &[])],
    )
}

/// Without the program itself.
pub fn words(verb: &str, rest: &[&str]) -> Vec<String> {
    let all = ["--user", verb].into_iter().chain(rest.iter().copied());
    all.map(str::to_owned).collect()
}
