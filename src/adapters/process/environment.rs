//! Which of our environment variables a child may see. A child starts with an empty environment and gets what
//! this list names, what the user's `env_passthrough` adds, and what its adapter sets. Assistants hand their whole
//! environment to every tool they run, so **our own tokens are never in it**, whatever the configuration says.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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
    // how to reach the network, besides `PROXIES`
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

/// How to reach the network: for assistants, and for git.
pub const PROXIES: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
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
            let mut known = ALLOWED.iter().chain(PROXIES);
            let listed = known.any(|pattern| matches(pattern, name))
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

/// Shorter values would blank out ordinary words.
const SHORTEST_SECRET: usize = 8;
/// Of what certainly is a password.
const SHORTEST_PASSWORD: usize = 4;

/// The values in `env` that must not appear in a log or a report: of variables that are named like a secret, of members of
/// such a name in a configuration that a variable holds, and what identifies somebody in a URL (a proxy's, for example).
/// The longest ones first, so that none is hidden in part only.
pub fn secrets(env: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in env {
        let name = name.to_uppercase();
        if is_secret_name(&name) && !is_path(&name, value) {
            found.extend(in_lines(value));
        }
        if name.ends_with("_CONTENT") {
            match serde_json::from_str(value) {
                Ok(json) => in_json(&json, false, &mut found),
                // JSON with comments, or none at all.
                Err(_) => found.extend(in_members(value)),
            }
        }
        found.extend(in_url(value, name.ends_with("_PROXY")));
    }
    found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    found.dedup();
    found
}

fn is_secret_name(upper: &str) -> bool {
    const NAMES: &[&str] = &["KEY", "TOKEN", "SECRET", "PASSWORD", "AUTH", "CREDENTIAL"];
    NAMES.iter().any(|part| upper.contains(part))
}

/// Where a secret lies is none: `SSH_AUTH_SOCK`, a file with credentials. A key may begin with `/`, too.
fn is_path(upper: &str, value: &str) -> bool {
    const ENDS: &[&str] = &["_SOCK", "_FILE", "_PATH", "_DIR"];
    let is_named_so = ENDS.iter().any(|end| upper.ends_with(end));
    value.starts_with('/') && (is_named_so || std::path::Path::new(value).exists())
}

/// What prints it prints it line by line.
fn in_lines(value: &str) -> impl Iterator<Item = String> {
    let lines = value.lines().map(str::trim);
    lines
        .filter(|line| line.len() >= SHORTEST_SECRET)
        .map(str::to_owned)
}

/// The texts of members that are named like a secret, whatever they are in.
fn in_json(json: &serde_json::Value, is_secret: bool, found: &mut Vec<String>) {
    match json {
        serde_json::Value::String(text) => {
            if is_secret {
                found.extend(in_lines(text));
            }
            found.extend(in_url(text, false));
        }
        serde_json::Value::Array(items) => {
            for item in items {
                in_json(item, is_secret, found);
            }
        }
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                // `keybinds` is not one: a member that holds others says nothing of their names.
                let is_secret = is_secret_name(&name.to_uppercase()) && !value.is_object();
                in_json(value, is_secret, found);
            }
        }
        _ => {}
    }
}

/// The same in a text that is no JSON: of each `"name": "value"`.
fn in_members(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split('"').collect();
    let members = parts.windows(3).filter(|three| three[1].trim() == ":");
    let secret = members.filter(|three| is_secret_name(&three[0].to_uppercase()));
    secret.flat_map(|three| in_lines(three[2])).collect()
}

/// `user:password` of a URL, the password alone, and both as they are sent.
fn in_url(value: &str, without_scheme: bool) -> Vec<String> {
    let rest = match value.split_once("://") {
        Some((_, rest)) => rest,
        None if without_scheme => value,
        None => return Vec::new(),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user_info, _)) = authority.rsplit_once('@') else {
        return Vec::new();
    };
    let mut forms = vec![user_info.to_owned()];
    forms.extend(decoded(user_info).filter(|decoded| decoded != user_info));
    let mut found = Vec::new();
    for form in forms {
        let password = form.split_once(':').map_or("", |(_, password)| password);
        if password.len() >= SHORTEST_PASSWORD {
            found.push(password.to_owned());
        }
        if form.contains(':') || form.len() >= SHORTEST_SECRET {
            found.push(STANDARD.encode(&form));
            found.push(form);
        }
    }
    found
}

/// Percent signs undone; `None` for what is no text then.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

/// `text` with every secret replaced.
pub fn redacted(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| {
        if text.contains(secret.as_str()) {
            text.replace(secret.as_str(), "[secret]")
        } else {
            text
        }
    })
}

/// The same for a text that was cut off: without the front of a secret that the cut went through.
pub fn redacted_cut(text: &str, secrets: &[String]) -> String {
    let mut text = redacted(text, secrets);
    let begun = |text: &str| {
        let fronts = secrets.iter().flat_map(|secret| {
            let ends = secret.char_indices().map(|(at, _)| at).skip(1);
            ends.filter(|end| text.ends_with(&secret[..*end]))
        });
        fronts.max()
    };
    if let Some(length) = begun(&text) {
        text.truncate(text.len() - length);
        text.push_str("[secret]");
    }
    text
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
    fn a_proxys_password_is_a_secret_in_every_form_it_is_printed_in() {
        let env = BTreeMap::from([
            (
                "HTTP_PROXY".to_owned(),
                "http://ann:pa%40ss@proxy:8080/x".to_owned(),
            ),
            (
                "https_proxy".to_owned(),
                "bob:hunter22@proxy:3128".to_owned(),
            ),
            ("NO_PROXY".to_owned(), "localhost,127.0.0.1".to_owned()),
            (
                "OPENAI_BASE_URL".to_owned(),
                "https://eve:letmein@models/v1".to_owned(),
            ),
        ]);
        let secrets = secrets(&env);
        for (said, shown) in [
            (
                "via http://ann:pa%40ss@proxy:8080",
                "via http://[secret]@proxy:8080",
            ),
            ("user ann, password pa@ss", "user ann, password [secret]"),
            ("Basic YW5uOnBhQHNz", "Basic [secret]"),
            ("407 for bob:hunter22", "407 for [secret]"),
            ("no hunter22 here", "no [secret] here"),
            (
                "https://eve:letmein@models/v1",
                "https://[secret]@models/v1",
            ),
            (
                "localhost,127.0.0.1 at proxy:3128",
                "localhost,127.0.0.1 at proxy:3128",
            ),
        ] {
            assert_eq!(redacted(said, &secrets), shown);
        }
    }

    #[test]
    fn a_secret_that_holds_another_leaves_nothing_and_a_key_of_many_lines_is_many_secrets() {
        let env = BTreeMap::from([
            ("A_TOKEN".to_owned(), "12345678".to_owned()),
            ("B_TOKEN".to_owned(), "12345678-and-more".to_owned()),
            (
                "C_API_KEY".to_owned(),
                "-----BEGIN\nMIIEvQIBADAN\n-----".to_owned(),
            ),
        ]);
        let secrets = secrets(&env);
        assert_eq!(redacted("x 12345678-and-more", &secrets), "x [secret]");
        assert_eq!(redacted("MIIEvQIBADAN", &secrets), "[secret]");
    }

    #[test]
    fn a_key_is_a_secret_however_it_begins_and_its_variable_is_written_and_where_one_lies_is_none()
    {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().to_str().unwrap().to_owned();
        let content = r#"{"provider": {"acme": {"options": {"apiKey": "sk-in-content", "baseURL": "http://model.test/v1"}}},
            "keybinds": {"leader": "ctrl+xyzabc"}}"#;
        let with_comments = r#"{ // mine
            "options": {"apiKey" : "sk-in-comments", "name": "Acme Models"} }"#;
        let env = [
            ("ACME_API_KEY", "/Zm9vYmFyYmF6/+k="),
            ("acme_token", "sk-lower-case"),
            ("SSH_AUTH_SOCK", "/tmp/not/there.sock"),
            ("GOOGLE_APPLICATION_CREDENTIALS", &there),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/not/there"),
            ("OPENCODE_CONFIG_CONTENT", content),
            ("OTHER_CONFIG_CONTENT", with_comments),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let secrets = secrets(&BTreeMap::from(env));
        for hidden in [
            "/Zm9vYmFyYmF6/+k=",
            "sk-lower-case",
            "sk-in-content",
            "sk-in-comments",
        ] {
            assert_eq!(redacted(hidden, &secrets), "[secret]");
        }
        for shown in [
            "/tmp/not/there.sock",
            &there,
            "/var/run/not/there",
            "http://model.test/v1",
            "ctrl+xyzabc",
            "Acme Models",
        ] {
            assert_eq!(redacted(shown, &secrets), shown);
        }
    }

    #[test]
    fn a_cut_through_a_secret_leaves_no_front_of_it() {
        let secrets = ["sk-12345678".to_owned()];
        assert_eq!(redacted_cut("key sk-1234", &secrets), "key [secret]");
        assert_eq!(redacted_cut("key sk-12345678", &secrets), "key [secret]");
        assert_eq!(redacted_cut("no key", &secrets), "no key");
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
