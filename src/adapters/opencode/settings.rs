//! What OpenCode is told: its environment, its configuration, its place on disk. In normal use it keeps the user's own
//! configuration and credentials and gets a store of ours, one for each worker. The hermetic settings (`--demo`, tests)
//! give it a home of its own, the scripted model and nothing of the network (facts/opencode.md, 1.1 to 1.3).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use serde_json::{Value, json};

use super::PINNED_VERSION;

/// OpenCode without the user's home, a provider or the network.
#[derive(Clone, Debug)]
pub struct HermeticSettings {
    /// Its HOME; XDG folders are below it.
    pub home: PathBuf,
    /// The scripted model's `…/v1`.
    pub model_base_url: String,
    /// Further keys of OpenCode's configuration, over ours; tests use it for permissions and broken values.
    pub overrides: Value,
}

impl HermeticSettings {
    pub fn new(home: impl Into<PathBuf>, model_base_url: impl Into<String>) -> Self {
        Self {
            home: home.into(),
            model_base_url: model_base_url.into(),
            overrides: json!({}),
        }
    }

    /// Makes the home. The seeded lock file keeps OpenCode from installing its plugin package from the network.
    pub fn prepare(&self) -> io::Result<()> {
        let config = self.home.join(".config/opencode");
        fs::create_dir_all(config.join("node_modules"))?;
        let lock =
            json!({"packages": {"": {"dependencies": {"@opencode-ai/plugin": PINNED_VERSION}}}});
        fs::write(config.join("package-lock.json"), lock.to_string())
    }

    /// Sets the environment. What was there of a proxy or of the user's OpenCode settings goes: the model is on loopback.
    pub fn apply(&self, env: &mut BTreeMap<String, String>) {
        env.retain(|name, _| {
            let lower = name.to_ascii_lowercase();
            !lower.ends_with("_proxy")
                && !lower.starts_with("opencode_")
                && !name.ends_with("_API_KEY")
                && !name.starts_with("XDG_")
        });
        let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
        let path = |below: &str| self.home.join(below).display().to_string();
        set("HOME", self.home.display().to_string());
        set("XDG_CONFIG_HOME", path(".config"));
        set("XDG_DATA_HOME", path(".local/share"));
        set("XDG_STATE_HOME", path(".local/state"));
        set("XDG_CACHE_HOME", path(".cache"));
        for name in [
            "OPENCODE_DISABLE_MODELS_FETCH",
            "OPENCODE_DISABLE_SHARE",
            "OPENCODE_DISABLE_LSP_DOWNLOAD",
            "OPENCODE_DISABLE_DEFAULT_PLUGINS",
            "OPENCODE_PURE",
            "OPENCODE_DISABLE_CLAUDE_CODE",
            "OPENCODE_DISABLE_EXTERNAL_SKILLS",
            "OPENCODE_DISABLE_PROJECT_CONFIG",
            "OPENCODE_DISABLE_EMBEDDED_WEB_UI",
        ] {
            set(name, "1".to_owned());
        }
        set("OPENCODE_CONFIG_CONTENT", self.config().to_string());
    }

    fn config(&self) -> Value {
        let mut config = json!({
            "share": "disabled", "autoupdate": false, "snapshot": false, "lsp": false, "formatter": false,
            "plugin": [], "mcp": {},
            "model": "fake/scripted", "small_model": "fake/scripted", "enabled_providers": ["fake"],
            "provider": {"fake": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "Scripted",
                "options": {
                    "baseURL": self.model_base_url, "apiKey": "sk-scripted",
                    "chunkTimeout": 60_000, "headerTimeout": 60_000,
                },
                "models": {"scripted": {
                    "name": "Scripted", "reasoning": true, "tool_call": true, "attachment": true,
                    "modalities": {"input": ["text", "image", "pdf"], "output": ["text"]},
                    "limit": {"context": 200_000, "output": 32_000}, "cost": {"input": 0, "output": 0},
                }},
            }},
            "permission": {"*": "allow", "webfetch": "deny"},
        });
        if let (Some(config), Some(overrides)) =
            (config.as_object_mut(), self.overrides.as_object())
        {
            for (name, value) in overrides {
                config.insert(name.clone(), value.clone());
            }
        }
        config
    }
}

/// Two sessions that find their store lost must not name it twice.
static NAMING: Mutex<()> = Mutex::new(());

/// A worker's place in the data folder: OpenCode's database and the store's id.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    pub fn of_worker(data: &Path, worker: &str) -> Self {
        Self {
            folder: data
                .join("workers")
                .join(crate::adapters::process::marker::file_key(worker)),
        }
    }

    pub fn database(&self) -> PathBuf {
        self.folder.join("opencode.db")
    }

    pub fn create_folder(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)
    }

    /// Names this store. Another database is another store: when one that was in use is gone, its id goes, too.
    pub fn id(&self) -> io::Result<String> {
        let _one_at_a_time = NAMING.lock().unwrap_or_else(PoisonError::into_inner);
        self.create_folder()?;
        let (id_file, used_file) = (self.folder.join("store-id"), self.used_file());
        if used_file.exists() && !self.database().exists() {
            remove_if_there(&id_file)?;
            remove_if_there(&used_file)?;
        }
        if let Ok(id) = fs::read_to_string(&id_file)
            && !id.trim().is_empty()
        {
            return Ok(id.trim().to_owned());
        }
        let id = uuid::Uuid::new_v4().to_string();
        // Written aside and renamed: a crash must not leave an empty id.
        let aside = self.folder.join(format!("store-id.{}", std::process::id()));
        fs::write(&aside, &id)?;
        fs::rename(&aside, &id_file)?;
        Ok(id)
    }

    fn used_file(&self) -> PathBuf {
        self.folder.join("store-used")
    }

    /// OpenCode answers, so it has made its database. Where it has not, nothing can be missed later.
    pub fn mark_used(&self) -> io::Result<()> {
        if self.database().exists() {
            fs::write(self.used_file(), "")?;
        }
        Ok(())
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_keeps_its_id_as_long_as_its_database_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of_worker(folder.path(), "w");
        let id = store.id().unwrap();
        assert_eq!(store.id().unwrap(), id);
        fs::write(store.database(), "x").unwrap();
        store.mark_used().unwrap();
        assert_eq!(store.id().unwrap(), id);
        // One that was never made cannot be missed.
        let fresh = Store::of_worker(folder.path(), "fresh");
        let first = fresh.id().unwrap();
        fresh.mark_used().unwrap();
        assert_eq!(fresh.id().unwrap(), first);
        fs::remove_file(store.database()).unwrap();
        let other = store.id().unwrap();
        assert_ne!(other, id);
        assert_eq!(store.id().unwrap(), other);
    }

    #[test]
    fn hermetic_settings_leave_nothing_of_the_user_in_place() {
        let mut env = BTreeMap::from(
            [
                "PATH",
                "HOME",
                "HTTPS_PROXY",
                "OPENCODE_CONFIG",
                "ACME_API_KEY",
                "XDG_CACHE_HOME",
            ]
            .map(|name| (name.to_owned(), "user".to_owned())),
        );
        let mut settings = HermeticSettings::new("/demo", "http://127.0.0.1:1/v1");
        settings.overrides = json!({"permission": {"bash": "ask"}});
        settings.apply(&mut env);
        let users: Vec<&str> = env
            .iter()
            .filter(|(_, value)| *value == "user")
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(users, ["PATH"]);
        let config: Value = serde_json::from_str(&env["OPENCODE_CONFIG_CONTENT"]).unwrap();
        assert_eq!(config["permission"], json!({"bash": "ask"}));
        assert_eq!(
            config["provider"]["fake"]["options"]["baseURL"],
            "http://127.0.0.1:1/v1"
        );
    }
}
