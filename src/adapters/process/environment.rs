//! Which of our environment variables a child may see. A child starts with an empty environment and gets what
//! this list names, what the user's `env_passthrough` adds, and what its adapter sets. Assistants hand their whole
//! environment to every tool they run, so **our own tokens are never in it**, whatever the configuration says.

use std::collections::BTreeMap;

/// `*` at an end stands for anything.
const ALLOWED: &[&str] = &[
    // who and where
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TERM",
    "COLORTERM",
    "TZ",
    "XDG_*",
    "EDITOR",
    "VISUAL",
    "PAGER",
    // how to reach the network
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_*",
    "NODE_EXTRA_CA_CERTS",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    // credentials of model providers, which are the user's own
    "*_API_KEY",
    "ANTHROPIC_*",
    "OPENAI_*",
    "GOOGLE_*",
    "GEMINI_*",
    "AZURE_*",
    "AWS_*",
    "VERTEX_*",
    "MISTRAL_*",
    "OPENROUTER_*",
    "OLLAMA_*",
    "CLOUDFLARE_*",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITLAB_TOKEN",
    "HF_TOKEN",
    // tools
    "SSH_AUTH_SOCK",
    // not GIT_*: GIT_DIR and its like would turn every repository into the one we were started in
    "GIT_AUTHOR_*",
    "GIT_COMMITTER_*",
    "GIT_SSH*",
    "GIT_CONFIG_GLOBAL",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "GOPATH",
    "GOROOT",
    "JAVA_HOME",
    "NVM_DIR",
    "NODE_PATH",
    "PYENV_ROOT",
    "VIRTUAL_ENV",
    "BUN_INSTALL",
    "NIX_*",
    "LOCALE_ARCHIVE",
    "OPENCODE_*",
];

/// What no list can let through.
const NEVER: &[&str] = &[
    "WORKER_TOKEN",
    "MACHINE_TOKEN",
    "ORCHESTRATOR_*",
    "CONVEX_*",
    // The adapter owns these: a server of its own password, store and port.
    "OPENCODE_SERVER_PASSWORD",
    "OPENCODE_SERVER_USERNAME",
    "OPENCODE_DB",
    "OPENCODE_PID",
    "OPENCODE_CALLER",
    // Makes OpenCode die with the thread that started it.
    "BUN_FEATURE_FLAG_NO_ORPHANS",
];

/// The child's environment out of ours. `passthrough` are further patterns. Values that are not UTF-8 are left out.
pub fn allowed(
    ours: impl IntoIterator<Item = (String, String)>,
    passthrough: &[String],
) -> BTreeMap<String, String> {
    ours.into_iter()
        .filter(|(name, _)| {
            let listed = ALLOWED.iter().any(|pattern| matches(pattern, name))
                || passthrough.iter().any(|pattern| matches(pattern, name));
            listed && !NEVER.iter().any(|pattern| matches(pattern, name))
        })
        .collect()
}

/// This process's environment, without what is not UTF-8.
pub fn ours() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (None, Some(start)) => name.starts_with(start),
        (None, None) => pattern == name,
    }
}

/// The values in `env` that must not appear in a log or a report.
pub fn secrets(env: &BTreeMap<String, String>) -> Vec<String> {
    const NAMES: &[&str] = &["KEY", "TOKEN", "SECRET", "PASSWORD", "AUTH", "CREDENTIAL"];
    env.iter()
        .filter(|(name, value)| {
            // Short values would blank out ordinary words; SSH_AUTH_SOCK is a path.
            value.len() >= 8
                && !value.starts_with('/')
                && NAMES.iter().any(|part| name.contains(part))
        })
        .map(|(_, value)| value.clone())
        .collect()
}

/// `text` with every secret replaced.
pub fn redacted(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| {
        text.replace(secret.as_str(), "[secret]")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(names: &[&str]) -> Vec<(String, String)> {
        names
            .iter()
            .map(|name| ((*name).to_owned(), format!("value of {name}")))
            .collect()
    }

    #[test]
    fn provider_keys_pass_and_our_tokens_never_do() {
        let ours = environment(&[
            "PATH",
            "LC_ALL",
            "ACME_API_KEY",
            "OPENCODE_CONFIG",
            "RANDOM_THING",
            "WORKER_TOKEN",
            "MACHINE_TOKEN",
            "ORCHESTRATOR_OWNER_TOKEN",
            "CONVEX_URL",
            "OPENCODE_SERVER_PASSWORD",
        ]);
        let names = |passthrough: &[&str]| {
            let passthrough: Vec<String> = passthrough.iter().map(|s| (*s).to_owned()).collect();
            allowed(ours.clone(), &passthrough)
                .into_keys()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(&[]),
            ["ACME_API_KEY", "LC_ALL", "OPENCODE_CONFIG", "PATH"]
        );
        assert_eq!(
            names(&["*"]),
            [
                "ACME_API_KEY",
                "LC_ALL",
                "OPENCODE_CONFIG",
                "PATH",
                "RANDOM_THING"
            ]
        );
    }

    #[test]
    fn secrets_are_taken_out_of_text() {
        let env = BTreeMap::from([
            ("ACME_API_KEY".to_owned(), "sk-12345678".to_owned()),
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
        ]);
        let secrets = secrets(&env);
        assert_eq!(
            redacted("key sk-12345678 in /usr/bin:/bin", &secrets),
            "key [secret] in /usr/bin:/bin"
        );
    }
}
