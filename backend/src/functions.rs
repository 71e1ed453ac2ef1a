//! The product's functions, as the engine runs them: `convex/` without its types, compiled in, so that neither a
//! build nor a start needs Node. `npm run strip` writes the files; a test over there compares them with their
//! sources, and one here this list with the files.

/// `(module name, source)` of every module of `convex/`: the name is its path without `.js`. One of them is `schema`.
pub fn product() -> Vec<(&'static str, &'static str)> {
    macro_rules! modules {
        ($($name:literal),* $(,)?) => {
            vec![$(($name, include_str!(concat!("../functions/", $name, ".js")))),*]
        };
    }
    modules![
        "agentConfigs",
        "attachments",
        "choices",
        "chunks",
        "commands",
        "devices",
        "lib/attaching",
        "lib/choosing",
        "lib/claiming",
        "lib/commanding",
        "lib/connection",
        "lib/continuing",
        "lib/enrolling",
        "lib/errors",
        "lib/finishing",
        "lib/fold",
        "lib/jobs",
        "lib/limits",
        "lib/machineTokens",
        "lib/owners",
        "lib/pairing",
        "lib/permitting",
        "lib/presence",
        "lib/prompts",
        "lib/pushing",
        "lib/reading",
        "lib/roleTasks",
        "lib/secrets",
        "lib/sending",
        "lib/server",
        "lib/settings",
        "lib/stream",
        "lib/taskHash",
        "lib/taskJobs",
        "lib/taskQueues",
        "lib/tasking",
        "lib/tokens",
        "lib/turns",
        "lib/values",
        "machines",
        "messages",
        "notices",
        "permissions",
        "presence",
        "push",
        "schema",
        "sessions",
        "tasks",
        "viewers",
        "work",
        "workers",
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn names_under(folder: &Path, prefix: &str, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                names_under(&entry.path(), &format!("{prefix}{name}/"), names);
            } else if let Some(stem) = name.strip_suffix(".js") {
                names.insert(format!("{prefix}{stem}"));
            }
        }
    }

    #[test]
    fn every_generated_file_is_a_module() {
        let mut files = BTreeSet::new();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions");
        names_under(&folder, "", &mut files);
        let listed: BTreeSet<String> = product()
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        assert_eq!(
            listed, files,
            "backend/src/functions.rs must list the files of backend/functions"
        );
    }

    #[test]
    fn nothing_but_the_deployment_api_is_imported() {
        for (name, source) in product() {
            for line in source.lines() {
                let Some((_, from)) = line.split_once(" from \"") else {
                    continue;
                };
                let target = from.trim_end_matches("\";");
                let known = target.starts_with('.')
                    || target == "convex/server"
                    || target == "convex/values";
                assert!(known, "{name} imports {target}");
            }
        }
    }
}
