//! How somebody is told who looks at neither page nor terminal: the desktop's notifications, and a program of the user's own.
//! Both are short commands under a warden. Their arguments never change with what is told, because every user of the machine can
//! read those: the desktop gets names and ids only, the program reads JSON on its stdin.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::process::{WardSpec, command, environment};

/// A program that takes longer is ended.
const LIMIT: Duration = Duration::from_secs(10);
/// What it prints is kept for an error message, no further.
const CAPTURE_BYTES: usize = 16 << 10;

/// Where and who we are is all that such a program needs; keys of providers are none of its business.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TERM",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS",
];

/// What there is to tell. Its fields are a contract with the user's program.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notice {
    pub schema: u32,
    pub event: Event,
    pub worker: String,
    pub worker_id: String,
    pub session: String,
    /// The session's.
    pub title: String,
    /// Of what waits: `permission` or `question`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Of an answer: how it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A session waits for its owner.
    Waiting,
    /// An answer that took long is there.
    Ended,
    /// One has failed, or was cut off.
    Failed,
}

impl Notice {
    /// Names and ids only.
    fn shown(&self) -> (String, String) {
        let what = match self.event {
            Event::Waiting => "waits for you",
            Event::Ended => "has answered",
            Event::Failed => "has failed",
        };
        (
            format!("{} {what}", self.worker),
            format!("session {}", self.session),
        )
    }
}

/// What is started for it.
pub struct Notifier {
    pub warden: PathBuf,
    /// Where such programs are started.
    pub folder: PathBuf,
}

impl Notifier {
    /// By the desktop.
    pub async fn desktop(&self, notice: &Notice) -> Result<(), String> {
        let (summary, body) = notice.shown();
        let spec = if cfg!(target_os = "macos") {
            let mut spec = self.spec(Path::new("osascript"), vec!["-".to_owned()]);
            spec.stdin = Some(format!(
                "display notification {} with title {}",
                apple(&body),
                apple(&summary)
            ));
            spec
        } else {
            let args = ["--app-name=orchestrator", "--", &summary, &body];
            self.spec(
                Path::new("notify-send"),
                args.iter().map(|&word| word.to_owned()).collect(),
            )
        };
        run(spec).await
    }

    /// By a program: the first word, with the others as its arguments.
    pub async fn program(&self, words: &[String], notice: &Notice) -> Result<(), String> {
        let Some((program, arguments)) = words.split_first() else {
            return Ok(());
        };
        let mut spec = self.spec(Path::new(program), arguments.to_vec());
        let text = serde_json::to_string(notice).map_err(|error| error.to_string())?;
        spec.stdin = Some(text + "\n");
        run(spec).await
    }

    fn spec(&self, program: &Path, args: Vec<String>) -> WardSpec {
        let mut spec = WardSpec::new(&self.warden, program, &self.folder);
        spec.args = args;
        spec.env = surroundings(environment::ours());
        spec.capture_bytes = CAPTURE_BYTES;
        spec
    }
}

fn surroundings(ours: Vec<(String, String)>) -> BTreeMap<String, String> {
    let is_known = |name: &str| {
        ENVIRONMENT.contains(&name) || name.starts_with("LC_") || name.starts_with("XDG_")
    };
    ours.into_iter()
        .filter(|(name, _)| is_known(name))
        .collect()
}

async fn run(spec: WardSpec) -> Result<(), String> {
    let program = spec.program.display().to_string();
    let finished = command::run(spec, LIMIT)
        .await
        .map_err(|error| format!("{program}: {error}"))?;
    if finished.success() {
        return Ok(());
    }
    if finished.timed_out {
        return Err(format!(
            "{program} took longer than {LIMIT:?} and was ended"
        ));
    }
    Err(format!(
        "{program} failed ({}): {}",
        finished.code.map_or_else(
            || "by a signal".to_owned(),
            |code| format!("exit code {code}")
        ),
        finished.last_words()
    ))
}

/// A text as AppleScript writes it.
fn apple(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_can_read_is_names_and_ids() {
        let notice = Notice {
            schema: 1,
            event: Event::Waiting,
            worker: "shop".to_owned(),
            worker_id: "w1".to_owned(),
            session: "s1".to_owned(),
            title: "the secret plan".to_owned(),
            kind: Some("permission".to_owned()),
            state: None,
            took_ms: None,
        };
        let (summary, body) = notice.shown();
        assert_eq!(
            (summary.as_str(), body.as_str()),
            ("shop waits for you", "session s1")
        );
        let json = serde_json::to_value(&notice).unwrap();
        assert_eq!(json["event"], "waiting");
        assert_eq!(json["title"], "the secret plan");
        assert!(json.get("took_ms").is_none());
    }

    #[test]
    fn a_program_gets_no_keys_and_no_tokens() {
        let given = [
            "PATH",
            "LC_ALL",
            "XDG_RUNTIME_DIR",
            "ANTHROPIC_API_KEY",
            "WORKER_TOKEN",
        ];
        let ours = given.map(|name| (name.to_owned(), "x".to_owned()));
        let kept = surroundings(ours.to_vec());
        let names: Vec<&str> = kept.keys().map(String::as_str).collect();
        assert_eq!(names, ["LC_ALL", "PATH", "XDG_RUNTIME_DIR"]);
    }

    #[test]
    fn apple_script_has_no_end_of_text_in_a_text() {
        assert_eq!(apple(r#"a" & do "b\"#), r#""a\" & do \"b\\""#);
    }
}
