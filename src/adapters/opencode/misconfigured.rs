//! Mistakes in a user's OpenCode configuration, as OpenCode tells them: on its last lines when a global file is broken (it
//! ends before it listens), over HTTP when a project's is. Both repeat what stands in the file, and keys may stand there:
//! what is passed on names the file and the place, never a value.

use super::api::ApiError;

/// Begins what OpenCode repeats of a file that is not JSONC.
const ECHO: &str = "--- JSONC Input ---";
const MISTAKES: &str = "--- Errors ---";
const END: &str = "--- End ---";

/// How many mistakes are shown.
const SHOWN: usize = 5;

/// What an assistant's owner has to do about it, if these last lines tell of a broken configuration.
pub fn in_last_lines(lines: &[String]) -> Option<String> {
    let lines: Vec<String> = lines.iter().map(|line| without_colours(line)).collect();
    let starts = [
        ("Config file at ", " is not valid JSON"),
        ("Configuration is invalid at ", ""),
    ];
    let (at, file) = lines.iter().enumerate().find_map(|(at, line)| {
        starts.iter().find_map(|(start, end)| {
            let (_, rest) = line.split_once(start)?;
            let file = if end.is_empty() {
                rest
            } else {
                rest.split_once(end)?.0
            };
            Some((at, file.trim().trim_end_matches(':').to_owned()))
        })
    })?;
    Some(advice(&file, &mistakes(&lines[at + 1..])))
}

/// The same for an answer to a request.
pub fn in_answer(error: &ApiError) -> Option<String> {
    let ApiError::Refused {
        name,
        message,
        path,
        ..
    } = error
    else {
        return None;
    };
    if !name.starts_with("Config") {
        return None;
    }
    let lines: Vec<String> = message.lines().map(str::to_owned).collect();
    let file = path.as_deref().unwrap_or("unknown place");
    Some(advice(file, &mistakes(&lines)))
}

/// The lines before OpenCode repeats a file.
pub fn before_echo(lines: &[String]) -> &[String] {
    let echo = lines.iter().position(|line| line.contains(ECHO));
    &lines[..echo.unwrap_or(lines.len())]
}

fn advice(file: &str, mistakes: &[String]) -> String {
    let what = if mistakes.is_empty() {
        String::new()
    } else {
        format!(" ({})", mistakes.join("; "))
    };
    format!(
        "OpenCode's configuration is broken: {file}{what}. Correct it (`opencode debug config` shows it) and send the message again"
    )
}

/// What is wrong, without the values that OpenCode puts into it.
fn mistakes(lines: &[String]) -> Vec<String> {
    let listed = lines.iter().position(|line| line.contains(MISTAKES));
    let found: Vec<String> = match listed {
        Some(at) => lines[at + 1..]
            .iter()
            .take_while(|line| !line.contains(END))
            .map(|line| line.trim().to_owned())
            .collect(),
        None => before_echo(lines)
            .iter()
            .filter_map(|line| line.trim().strip_prefix('↳').map(without_value))
            .collect(),
    };
    found
        .into_iter()
        .filter(|mistake| !mistake.is_empty())
        .take(SHOWN)
        .collect()
}

/// `Expected string | undefined, got 7 model` → `Expected string | undefined at model`.
fn without_value(mistake: &str) -> String {
    let Some((expected, got)) = mistake.trim().split_once(", got ") else {
        return mistake.trim().chars().take(200).collect();
    };
    let place = got.rsplit(' ').next().unwrap_or_default();
    let is_place = place
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if is_place && got.contains(' ') {
        format!("{expected} at {place}")
    } else {
        expected.to_owned()
    }
}

/// Without the escape sequences that colour a terminal.
fn without_colours(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        text.push_str(before);
        rest = after
            .strip_prefix('[')
            .and_then(|sequence| sequence.split_once(|c: char| c.is_ascii_alphabetic()))
            .map_or(after, |(_, after)| after);
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_global_file_that_is_no_json_is_named_and_not_repeated() {
        let told = in_last_lines(&lines(
            "Warning: OPENCODE_SERVER_PASSWORD is not set; server is unsecured.\n\
             \u{1b}[91m\u{1b}[1mError: \u{1b}[0mConfig file at /h/.config/opencode/opencode.json is not valid JSON(C): \n\
             --- JSONC Input ---\n{ \"apiKey\": \"sk-secret\",\n\n--- Errors ---\nValueExpected at line 2, column 1\n--- End ---",
        ))
        .unwrap();
        assert!(
            told.contains("/h/.config/opencode/opencode.json (ValueExpected at line 2, column 1)"),
            "{told}"
        );
        assert!(!told.contains("sk-secret"), "{told}");
    }

    #[test]
    fn a_global_file_with_a_wrong_value_names_the_place_and_not_the_value() {
        let told = in_last_lines(&lines(
            "\u{1b}[91m\u{1b}[1mError: \u{1b}[0mConfiguration is invalid at /h/opencode.json\n\
             ↳ Expected string | undefined, got 7 model\n↳ Expected object, got \"sk-secret\" provider",
        ))
        .unwrap();
        assert!(
            told.contains(
                "/h/opencode.json (Expected string | undefined at model; Expected object at provider)"
            ),
            "{told}"
        );
        assert!(!told.contains("sk-secret"), "{told}");
    }

    #[test]
    fn a_projects_file_is_named_and_not_repeated_either() {
        let error = ApiError::Refused {
            status: 400,
            name: "ConfigJsonError".to_owned(),
            path: Some("/w/opencode.json".to_owned()),
            message: "\n--- JSONC Input ---\n{ \"model\": \"sk-secret\", \n\n--- Errors ---\nPropertyNameExpected at line 2, column 1\n--- End ---".to_owned(),
        };
        let told = in_answer(&error).unwrap();
        assert!(
            told.contains("/w/opencode.json (PropertyNameExpected at line 2, column 1)"),
            "{told}"
        );
        assert!(!told.contains("sk-secret"), "{told}");
    }

    #[test]
    fn other_ends_are_not_taken_for_it() {
        assert_eq!(in_last_lines(&lines("Error: database is locked")), None);
        let other = ApiError::Refused {
            status: 500,
            name: "UnknownError".to_owned(),
            path: None,
            message: "Config".to_owned(),
        };
        assert_eq!(in_answer(&other), None);
    }
}
