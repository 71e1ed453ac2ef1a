//! The assistants that are looked for: the names that the deployment knows them under, the programs that stand for
//! them, and the folders that their installers use.

/// How a program of that name is known to be the assistant and not something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The name is enough.
    Name,
    /// A general word: the path must name the product.
    Path(&'static str),
    /// Another product has the name, too: what it says of its version must be a version and nothing else.
    BareVersion,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    pub file: &'static str,
    pub proof: Proof,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub name: &'static str,
    pub programs: &'static [Program],
    /// Below HOME, besides the folders where any of them may be.
    pub folders: &'static [&'static str],
}

const fn named(file: &'static str) -> Program {
    Program {
        file,
        proof: Proof::Name,
    }
}

pub(super) const KNOWN: &[Known] = &[
    Known {
        name: "opencode",
        programs: &[named("opencode")],
        folders: &[".opencode/bin"],
    },
    Known {
        name: "claude",
        programs: &[named("claude")],
        folders: &[".claude/local"],
    },
    Known {
        // `cursor` itself is the editor's launcher, not an assistant.
        name: "cursor",
        programs: &[
            named("cursor-agent"),
            Program {
                file: "agent",
                proof: Proof::Path("cursor"),
            },
        ],
        folders: &[],
    },
    Known {
        // A tool for database migrations is called goose as well.
        name: "goose",
        programs: &[Program {
            file: "goose",
            proof: Proof::BareVersion,
        }],
        folders: &[],
    },
    Known {
        name: "codex",
        programs: &[named("codex")],
        folders: &[],
    },
    Known {
        name: "gemini",
        programs: &[named("gemini")],
        folders: &[],
    },
    Known {
        name: "copilot",
        programs: &[named("copilot")],
        folders: &[],
    },
];

/// Below HOME: where installers and version managers put programs.
pub(super) const HOME_FOLDERS: &[&str] = &[
    ".local/bin",
    ".bun/bin",
    ".volta/bin",
    ".asdf/shims",
    ".local/share/mise/shims",
    "Library/pnpm",
    ".local/share/pnpm",
    ".npm-global/bin",
];

pub(super) const SYSTEM_FOLDERS: &[&str] = &["/opt/homebrew/bin", "/usr/local/bin"];

/// Below HOME: one folder a version of Node, the newest first.
pub(super) const NODE_VERSIONS: &str = ".nvm/versions/node";
