//! How each assistant is started so that it works alone: constant arguments, the prompt through stdin. Nothing that came
//! over the network is ever an argument, a variable or a path of a program.
//!
//! What an assistant may do without asking is its own configuration's to say: none is given a flag that allows more.

/// One kind of assistant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invocation {
    pub tool: &'static str,
    pub args: &'static [&'static str],
    /// Variables besides the allowed ones: a supervised version is changed by its owner.
    pub env: &'static [(&'static str, &'static str)],
}

const INVOCATIONS: &[Invocation] = &[
    Invocation {
        tool: "opencode",
        args: &["run"],
        env: &[("OPENCODE_DISABLE_AUTOUPDATE", "1")],
    },
    Invocation {
        tool: "claude",
        args: &["-p", "--output-format", "stream-json", "--verbose"],
        env: &[("DISABLE_AUTOUPDATER", "1")],
    },
    Invocation {
        tool: "cursor",
        args: &["-p", "--output-format", "stream-json"],
        env: &[],
    },
    Invocation {
        tool: "goose",
        args: &["run", "-i", "-", "--no-session"],
        env: &[],
    },
    Invocation {
        tool: "codex",
        args: &["exec", "--json", "-"],
        env: &[],
    },
    // These two take a prompt from a stdin that is no terminal.
    Invocation {
        tool: "gemini",
        args: &[],
        env: &[],
    },
    Invocation {
        tool: "copilot",
        args: &[],
        env: &[],
    },
];

/// By the name that detection gives it.
pub fn of(tool: &str) -> Option<Invocation> {
    INVOCATIONS.iter().find(|known| known.tool == tool).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::tools::{Search, glance};

    #[test]
    fn every_assistant_that_can_be_found_can_be_started() {
        let nowhere = Search {
            path: None,
            home: "/nowhere".into(),
            named: std::collections::BTreeMap::new(),
            installed: std::collections::BTreeMap::new(),
            warden: "/no/warden".into(),
        };
        for tool in glance(&nowhere, &[]) {
            assert!(of(&tool.name).is_some(), "{}", tool.name);
        }
        assert_eq!(of("sh"), None);
        assert_eq!(of("opencode; id"), None);
    }
}
