//! Blots secrets out of a configuration's text before it is shown, keeping every byte offset: an error can still point
//! at its place. It works on the text alone, so it also covers a file that cannot be parsed.

/// How many characters of a secret stay readable, as everywhere else.
const SHOWN: usize = 4;

/// The same text, as long as before, with token secrets replaced by `*`.
pub fn mask(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    blot_secrets(text, &mut bytes);
    blot_token_values(text, &mut bytes);
    // Whole characters are replaced by as many ASCII bytes, so this cannot fail.
    String::from_utf8(bytes).unwrap_or_default()
}

/// The same for a `.env`.
pub fn mask_env(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    blot_secrets(text, &mut bytes);
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        // Whatever else somebody keeps there is nobody's business either.
        let is_ours = ["URL", "ROOT_DIRECTORY", "IDLE_TIMEOUT"];
        if let Some((name, value)) = bare.split_once('=') {
            let known = is_ours.iter().any(|known| name.trim_end().ends_with(known));
            if !known && !value.contains("secret_") {
                blot(&mut bytes, start + name.len() + 1, start + bare.len());
            }
        }
        start += line.len();
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// What follows `secret_`, wherever it stands.
fn blot_secrets(text: &str, bytes: &mut [u8]) {
    for (at, found) in text.match_indices("secret_") {
        let start = at + found.len();
        let secret = text[start..]
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            .count();
        blot(bytes, start + SHOWN.min(secret / 2), start + secret);
    }
}

/// Values of `token` that are no tokens: somebody may have pasted the secret alone.
fn blot_token_values(text: &str, bytes: &mut [u8]) {
    for key in ["\"token\"", "'token'", "token"] {
        for (at, found) in text.match_indices(key) {
            let rest = &text[at + found.len()..];
            let Some(after) = rest.trim_start().strip_prefix(':') else {
                continue;
            };
            let after = after.trim_start();
            let Some(quote) = after.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
                continue;
            };
            let value = &after[1..];
            let start = text.len() - value.len();
            let end = value.find([quote, '\n']).unwrap_or(value.len());
            if !value[..end].contains("secret_") {
                blot(bytes, start, start + end);
            }
        }
    }
}

fn blot(bytes: &mut [u8], from: usize, to: usize) {
    for byte in &mut bytes[from..to] {
        *byte = b'*';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_and_every_offset_stays() {
        let text = r#"{"token": "machine_a:worker_b:secret_def456ghi", "x": 1}"#;
        let masked = mask(text);
        assert_eq!(
            masked,
            r#"{"token": "machine_a:worker_b:secret_def4*****", "x": 1}"#
        );
        assert_eq!(masked.len(), text.len());
    }

    #[test]
    fn of_a_dotenv_only_what_is_no_secret_stays() {
        let text = "CONVEX_URL=https://a\nOTHER=hüte\nWORKER_TOKEN=hunter2\nMACHINE_TOKEN=machine_a:secret_abcdefgh\n";
        assert_eq!(
            mask_env(text),
            "CONVEX_URL=https://a\nOTHER=*****\nWORKER_TOKEN=*******\nMACHINE_TOKEN=machine_a:secret_abcd****\n"
        );
        assert_eq!(mask_env(text).len(), text.len());
    }

    #[test]
    fn a_value_that_is_no_token_is_blotted_whole() {
        assert_eq!(mask(r#"{"token" : "hunter2"}"#), r#"{"token" : "*******"}"#);
        assert_eq!(mask("{token: 'häm\n"), "{token: '****\n");
        assert_eq!(
            mask(r#"{"token": "secret_ab"}"#),
            r#"{"token": "secret_a*"}"#
        );
    }
}
