//! Keeps `convex/` inside what the embedded deployment supports: the engine refuses the rest when it is used, which may
//! be late; here it is refused before it is merged. Comments and texts do not count.

use std::path::{Path, PathBuf};

/// Calls, by how they look in a source, and what to do instead.
const CALLS: [(&str, &str); 21] = [
    (".paginate(", "use an index range and `take`"),
    ("paginationOptsValidator", "use an index range and `take`"),
    (".withSearchIndex(", "there is no text search"),
    (".searchIndex(", "there is no text search"),
    (".vectorIndex(", "there is no vector search"),
    ("vectorSearch", "there is no vector search"),
    ("cronJobs", "let a scheduled function schedule itself again"),
    ("actionGeneric", "there are no actions"),
    ("internalActionGeneric", "there are no actions"),
    ("httpActionGeneric", "there are no actions"),
    ("httpRouter", "there are no HTTP actions"),
    ("runAction", "there are no actions"),
    ("ctx.storage", "there is no file storage"),
    ("ctx.db.system", "there are no system tables"),
    ("createFunctionHandle", "schedule by a reference"),
    ("\"use node\"", "functions do not run in Node"),
    ("fetch(", "functions reach no network"),
    ("setTimeout(", "use `ctx.scheduler`"),
    ("setInterval(", "use `ctx.scheduler`"),
    (
        "process.",
        "only the deployment's own variables are there: list it in VARIABLES and give it to the embedded one",
    ),
    ("require(", "import it"),
];

/// Types of validators that index keys and our own client do not take.
const TYPES: [&str; 4] = ["v.int64(", "v.bigint(", "v.bytes(", "BigInt("];

/// What may be set of a deployment; the embedded one gives these along, and no others.
const VARIABLES: [&str; 2] = [
    "process.env.QUEUED_LIMIT_MS",
    "process.env.ABANDONED_LIMIT_MS",
];

/// What functions may import besides each other.
const IMPORTS: [&str; 2] = ["convex/server", "convex/values"];

/// What a source does that it must not, with the line.
fn faults(source: &str) -> Vec<String> {
    let mut faults = filtered_queries(source);
    for (number, line) in source.lines().enumerate() {
        let code = without_variables(without_comment(line));
        let code = code.as_str();
        let mut fault = |what: String| faults.push(format!("{}: {what}", number + 1));
        for (call, instead) in CALLS {
            if contains_word(code, call) {
                fault(format!("`{call}` is not supported: {instead}"));
            }
        }
        for kind in TYPES {
            if code.contains(kind) {
                fault(format!(
                    "`{kind}` is not supported: use numbers and strings"
                ));
            }
        }
        if let Some(target) = imported(code)
            && !target.starts_with('.')
            && !IMPORTS.contains(&target)
        {
            fault(format!(
                "`{target}` cannot be imported: only {IMPORTS:?} and files of this folder"
            ));
        }
    }
    faults
}

/// Where a query is filtered by the database: `.filter(` in the chain that `.query(` begins, however its argument is called
/// and over however many lines. Behind the end of the chain it is an array's own.
fn filtered_queries(source: &str) -> Vec<String> {
    let code: String = source
        .lines()
        .map(|line| format!("{}\n", without_comment(line)))
        .collect();
    let starts = code.match_indices(".query(").map(|(at, _)| at);
    starts
        .filter_map(|start| Some((start, filter_of_chain(&code[start..])?)))
        .map(|(start, at)| {
            let line = code[..start + at].matches('\n').count() + 1;
            format!("{line}: `.filter(` of a query is not supported: read by an index range, or filter the documents in code")
        })
        .collect()
}

fn filter_of_chain(chain: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in chain.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' | ';' | ',' if depth == 0 => return None,
            ')' | ']' | '}' => depth -= 1,
            '.' if depth == 0 && chain[at..].starts_with(".filter(") => return Some(at),
            _ => {}
        }
    }
    None
}

/// `prefetch(` is not `fetch(`.
fn contains_word(code: &str, call: &str) -> bool {
    let starts_word = call.starts_with(|c: char| c.is_ascii_alphabetic());
    code.match_indices(call).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !(starts_word && before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.'))
    })
}

fn without_variables(code: &str) -> String {
    let known = |code: String, variable: &&str| code.replace(variable, "");
    VARIABLES.iter().fold(code.to_owned(), known)
}

fn without_comment(line: &str) -> &str {
    let line = line.trim_start();
    if line.starts_with('*') || line.starts_with("/*") {
        return "";
    }
    // A `//` inside of a text is taken for a comment: nothing that matters comes after one.
    line.split_once("//").map_or(line, |(code, _)| code)
}

fn imported(code: &str) -> Option<&str> {
    let from = code
        .rsplit_once(" from \"")
        .or_else(|| code.split_once("import(\""))?;
    from.1.split('"').next()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" {
                sources(&path, found);
            }
        } else if name.split_once('.').is_some_and(|(_, rest)| rest == "ts") {
            found.push(path);
        }
    }
}

#[test]
fn the_functions_use_what_the_embedded_deployment_supports() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("convex"),
        &mut files,
    );
    assert!(files.len() > 20, "these are not the functions: {files:?}");
    let mut all = Vec::new();
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        all.extend(
            faults(&source)
                .into_iter()
                .map(|fault| format!("{}:{fault}", file.display())),
        );
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn what_is_not_supported_is_found() {
    for (line, says) in [
        ("import { createHash } from \"node:crypto\";", "node:crypto"),
        (
            "ctx.db.query(\"a\").filter((q) => q.eq(q.field(\"a\"), 1))",
            "1: `.filter(",
        ),
        (
            "ctx.db\n  .query(\"a\")\n  .withIndex(\"by_a\", (q) => q.eq(\"a\", 1))\n  .filter((row) => row.eq(1, 1))",
            "4: `.filter(",
        ),
        ("await ctx.db.query(\"a\").paginate(opts)", "paginate"),
        ("export default cronJobs();", "cronJobs"),
        ("await fetch(url)", "fetch("),
        (
            "import { actionGeneric } from \"convex/server\";",
            "actionGeneric",
        ),
        ("count: v.int64(),", "v.int64("),
        ("ctx.storage.getUrl(id)", "ctx.storage"),
        ("const home = process.env.HOME;", "process."),
    ] {
        let found = faults(line);
        assert!(
            found.len() == 1 && found[0].contains(says),
            "{line}: {found:?}"
        );
    }
    for line in [
        "rows.filter((row) => row.open)",
        "(await ctx.db.query(\"a\").collect()).filter((row) => row.open)",
        "const a = await ctx.db.query(\"a\").take(3);\nconst b = a.filter((row) => row.open);",
        "// there is no fetch( here",
        " * paginate( neither",
        "await prefetch(id)",
        "const limit = process.env.QUEUED_LIMIT_MS;",
        "import { mutation } from \"./lib/server\";",
        "import { v } from \"convex/values\";",
    ] {
        assert_eq!(faults(line), Vec::<String>::new(), "{line}");
    }
}
