//! What the model answers when nobody wrote a script: to a plain prompt a short text that refers to it, to something
//! that looks like a task one small file through the assistant's own `write` tool. It never invents more than that.

use super::request::ChatRequest;
use super::script::Op;
use crate::adapters::opencode::task::UNATTENDED;

/// The pieces come about as fast as a real model's.
const PIECE_PAUSE_MS: u64 = 25;

/// The operations that answer a prompt without a script.
pub fn to(request: &ChatRequest) -> Vec<Op> {
    let prompt = request.prompt();
    if looks_like_a_task(&prompt, request) && request.offers("write") {
        return match request.step() {
            0 => write_a_file(&prompt, request),
            _ => after_the_file(request),
        };
    }
    let earlier = match request.earlier_prompts() {
        0 => "It is the first message of this conversation.".to_owned(),
        1 => "I remember one earlier message of this conversation.".to_owned(),
        n => format!("I remember {n} earlier messages of this conversation."),
    };
    let seen = match request.seen().as_slice() {
        [] => String::new(),
        things => format!("With it came {}. ", things.join(", ")),
    };
    in_pieces(&format!(
        "You wrote: “{}”. {seen}I am the scripted model of the demo; everything else here is real. {earlier} \
         Ask me to create a file and I will.",
        shortened(&prompt)
    ))
}

/// The name of a conversation: how it began.
pub fn title(request: &ChatRequest) -> Vec<Op> {
    let start: String = request.prompt().trim().chars().take(50).collect();
    vec![Op::Text {
        text: start.lines().next().unwrap_or("Untitled").to_owned(),
    }]
}

const VERBS: &[&str] = &[
    "create",
    "write",
    "implement",
    "add",
    "make",
    "build",
    "generate",
];

/// Where it is certain that a task is meant, anything is one: what OpenCode is given as a task says so, and Goose, the
/// only one that offers `tree`, is only ever given tasks.
fn looks_like_a_task(prompt: &str, request: &ChatRequest) -> bool {
    const THINGS: &[&str] = &[
        "file", "script", "program", "function", "module", "page", "test", "readme", "class",
    ];
    let is_given_as_one = prompt.contains(UNATTENDED) || request.offers("tree");
    if is_given_as_one {
        return true;
    }
    let prompt = prompt.to_lowercase();
    let has = |list: &[&str]| {
        prompt
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| list.contains(&word))
    };
    has(VERBS) && (has(THINGS) || named_file(&prompt).is_some())
}

/// A word with an extension, as in "create notes.md". Folders are cut off: the demo writes into the working directory only.
fn named_file(prompt: &str) -> Option<String> {
    prompt
        .split(|c: char| {
            c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | '(' | ')' | '/' | '\\')
        })
        .map(|word| word.trim_end_matches(['.', ':', ';', '!', '?']))
        .find(|word| {
            word.rsplit_once('.').is_some_and(|(stem, extension)| {
                !stem.is_empty()
                    && !stem.starts_with('.')
                    && (1..=5).contains(&extension.len())
                    && extension.chars().all(char::is_alphanumeric)
                    && !extension.chars().all(char::is_numeric)
            })
        })
        .map(str::to_owned)
}

fn write_a_file(prompt: &str, request: &ChatRequest) -> Vec<Op> {
    // "read a.txt and create b.txt" is about the second one.
    let words: Vec<&str> = prompt.split_whitespace().collect();
    let is_verb = |word: &&str| VERBS.contains(&word.to_lowercase().as_str());
    let order = words.iter().position(is_verb).unwrap_or(0);
    let name = named_file(&words[order..].join(" "))
        .or_else(|| named_file(prompt))
        .unwrap_or_else(|| "demo.txt".to_owned());
    let path = if request.takes("write", "path") {
        "path"
    } else {
        "filePath"
    };
    let mut ops = vec![Op::Reason {
        reason: "A small file will do. ".to_owned(),
    }];
    ops.extend(in_pieces(&format!("I will write `{name}`. ")));
    ops.push(Op::Tool {
        tool: "write".to_owned(),
        args: serde_json::json!({
            path: name,
            "content": format!("Written by the scripted model of the demo.\nThe task was: {}\n", shortened(prompt)),
        }),
        chunks: 4,
        gap: PIECE_PAUSE_MS,
    });
    ops
}

fn after_the_file(request: &ChatRequest) -> Vec<Op> {
    let result = request.last_tool_result().unwrap_or_default();
    in_pieces(&format!("Done. The tool said: {}", shortened(&result)))
}

fn shortened(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    if line.chars().count() <= 200 {
        return line.to_owned();
    }
    let start: String = line.chars().take(200).collect();
    format!("{start}…")
}

/// Three words a piece.
fn in_pieces(text: &str) -> Vec<Op> {
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    words
        .chunks(3)
        .flat_map(|piece| {
            [
                Op::Text {
                    text: piece.concat(),
                },
                Op::Sleep {
                    sleep: PIECE_PAUSE_MS,
                },
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(prompt: &str) -> ChatRequest {
        serde_json::from_value(json!({
            "messages": [{"role": "user", "content": prompt}],
            "tools": [{"type": "function", "function": {"name": "write"}}],
        }))
        .unwrap()
    }

    fn file_of(prompt: &str) -> Option<String> {
        to(&request(prompt)).into_iter().find_map(|op| match op {
            Op::Tool { args, .. } => args["filePath"].as_str().map(str::to_owned),
            _ => None,
        })
    }

    #[test]
    fn a_plain_prompt_is_answered_in_several_pieces_that_refer_to_it() {
        let ops = to(&request("hello there"));
        let text: String = ops
            .iter()
            .filter_map(|op| match op {
                Op::Text { text } => Some(text.as_str()),
                _ => None,
            })
            .collect();
        assert!(text.contains("“hello there”"), "{text}");
        assert!(ops.len() > 4);
        assert_eq!(file_of("what is a file?"), None);
    }

    #[test]
    fn an_order_that_opencode_is_given_as_a_task_is_one() {
        assert_eq!(file_of("implement login"), None);
        let task = |text: &str| file_of(&format!("\n{text}\n\n{UNATTENDED}\n"));
        assert_eq!(task("implement login").unwrap(), "demo.txt");
        assert_eq!(task("say hello").unwrap(), "demo.txt");
        assert_eq!(file_of("say hello"), None);
    }

    #[test]
    fn gooses_tools_are_called_by_its_names_for_them() {
        let mut request = request("implement login");
        assert!(!to(&request).iter().any(|op| matches!(op, Op::Tool { .. })));
        request.tools = vec![
            json!({"function": {"name": "tree"}}),
            json!({"function": {"name": "write", "parameters": {"properties": {"path": {"type": "string"}}}}}),
        ];
        let args = to(&request).into_iter().find_map(|op| match op {
            Op::Tool { args, .. } => Some(args),
            _ => None,
        });
        assert_eq!(args.unwrap()["path"], "demo.txt");
    }

    #[test]
    fn a_task_gets_a_file_in_the_working_directory() {
        assert_eq!(file_of("Write a file with a greeting").unwrap(), "demo.txt");
        assert_eq!(file_of("please create docs/notes.md.").unwrap(), "notes.md");
        assert_eq!(
            file_of("read hello.txt and create a response.txt file").unwrap(),
            "response.txt"
        );
        assert_eq!(
            file_of("create ../../etc/passwd.txt").unwrap(),
            "passwd.txt"
        );
    }
}
