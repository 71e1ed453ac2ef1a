//! The JSON Schema of `workers.json`, for editors (`"$schema"`). A test holds its keys to those that the reader knows.

pub const TEXT: &str = include_str!("../../config-templates/workers.schema.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::tasks::{GIT_KEYS, GOOSE_KEYS, USER_KEYS};
    use super::super::workers::{DEFAULTS_KEYS, LOGS_KEYS, MACHINE_KEYS, TOP_KEYS, WORKER_KEYS};
    use super::*;

    fn keys(of: &Value) -> BTreeSet<&str> {
        of["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    }

    #[test]
    fn it_knows_the_keys_that_the_reader_knows() {
        let schema: Value = serde_json::from_str(TEXT).unwrap();
        let properties = &schema["properties"];
        let worker = &properties["workers"]["items"];
        for (known, described) in [
            (TOP_KEYS, &schema),
            (WORKER_KEYS, worker),
            (MACHINE_KEYS, &properties["machine"]),
            (LOGS_KEYS, &properties["logs"]),
            (DEFAULTS_KEYS, &properties["defaults"]),
            (GOOSE_KEYS, &schema["$defs"]["goose"]),
            (GIT_KEYS, &schema["$defs"]["git"]),
            (USER_KEYS, &schema["$defs"]["committer"]),
        ] {
            assert_eq!(keys(described), known.iter().copied().collect());
        }
        assert_eq!(
            worker["required"],
            serde_json::json!(["token", "working_directory", "convex_url"])
        );
    }
}
