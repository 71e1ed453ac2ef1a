//! Property lists for launchd. Made here and parsed by tests; never tried on macOS, because none of our machines is one. launchd
//! knows neither readiness nor a watchdog: there the service is started again only when its process has ended.

use std::path::Path;

use super::{Before, ServiceError, Wanted, plain, plain_path};
use crate::config::Paths;

pub const LABEL: &str = "opencode-orchestrator";
const TEMPLATE: &str = include_str!("../../config-templates/orchestrator.plist");

pub fn list(wanted: &Wanted, paths: &Paths) -> Result<String, ServiceError> {
    let binary = plain_path("the path of orchestrator", &wanted.binary)?;
    let mut arguments = vec![format!("    <string>{}</string>", escaped(binary))];
    for word in wanted.run.iter().chain(&wanted.globals) {
        let word = plain("an argument of the service", word)?;
        arguments.push(format!("    <string>{}</string>", escaped(word)));
    }
    let mut variables = Vec::new();
    for (name, value) in &wanted.captured.variables {
        let value = plain(name, value)?;
        variables.push(format!("    <key>{}</key>", escaped(name)));
        variables.push(format!("    <string>{}</string>", escaped(value)));
    }
    let log = paths.logs().join("service.log");
    let log = escaped(plain_path("the state folder", &log)?);
    let home = escaped(plain_path("the home folder", &paths.home)?);
    let mut text = String::new();
    for line in TEMPLATE.lines() {
        match line.trim() {
            "@ARGUMENTS@" => text.push_str(&arguments.join("\n")),
            "@ENVIRONMENT@" => text.push_str(&variables.join("\n")),
            "<string>@LOG@</string>" => text.push_str(&format!("  <string>{log}</string>")),
            "<string>@HOME@</string>" => text.push_str(&format!("  <string>{home}</string>")),
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    Ok(text)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// What a list of ours sets a variable to.
pub fn variable(list: &str, name: &str) -> Option<String> {
    let key = format!("<key>{name}</key>");
    let mut lines = list.lines().map(str::trim).skip_while(|line| *line != key);
    let value = lines.nth(1)?;
    let value = value.strip_prefix("<string>")?.strip_suffix("</string>")?;
    Some(
        value
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    )
}

pub fn start_steps(file: &Path, before: Before) -> Vec<Vec<String>> {
    let load = ["bootstrap".to_owned(), domain(), file.display().to_string()];
    let unload = ["bootout".to_owned(), format!("{}/{LABEL}", domain())];
    match before {
        Before::Nothing => vec![load.to_vec()],
        Before::Service => vec![unload.to_vec(), load.to_vec()],
        // It is loaded with the next session.
        Before::Another => Vec::new(),
    }
}

pub fn stop_steps() -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    let unload = ["bootout".to_owned(), format!("{}/{LABEL}", domain())];
    (vec![unload.to_vec()], Vec::new())
}

pub fn is_active() -> Vec<String> {
    vec!["print".to_owned(), format!("{}/{LABEL}", domain())]
}

fn domain() -> String {
    format!("gui/{}", rustix::process::getuid().as_raw())
}
