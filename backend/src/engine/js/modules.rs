//! Where modules come from: our own ones, compiled in, and the deployed ones, by their names. Nothing is read from a
//! disk, and a function cannot import what carries the host's operations.

use std::collections::HashMap;
use std::rc::Rc;

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Error, Module, Result};

use crate::engine::config::Functions;

const OURS: &[(&str, &str)] = &[
    ("convex/bytes", include_str!("../../../js/bytes.js")),
    ("convex/host", include_str!("../../../js/host.js")),
    ("convex/load", include_str!("../../../js/load.js")),
    ("convex/prelude", include_str!("../../../js/prelude.js")),
    ("convex/values", include_str!("../../../js/values.js")),
    ("convex/server", include_str!("../../../js/server.js")),
    (
        "convex/server/database",
        include_str!("../../../js/server/database.js"),
    ),
    (
        "convex/server/functions",
        include_str!("../../../js/server/functions.js"),
    ),
    (
        "convex/server/references",
        include_str!("../../../js/server/references.js"),
    ),
    (
        "convex/server/schema",
        include_str!("../../../js/server/schema.js"),
    ),
    (
        "convex/server/unsupported",
        include_str!("../../../js/server/unsupported.js"),
    ),
];

/// What a function may import of ours.
const PUBLIC: &[&str] = &["convex/server", "convex/values"];

/// The deployed modules by name, without `.js`.
#[derive(Clone)]
pub struct Sources(Rc<HashMap<String, String>>);

impl Sources {
    pub fn new(functions: &Functions) -> Self {
        let modules = functions.modules.iter();
        Self(Rc::new(
            modules
                .map(|(name, source)| (bare(name).to_string(), source.clone()))
                .collect(),
        ))
    }

    /// Sorted: modules are always loaded in the same order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.keys().cloned().collect();
        names.sort();
        names
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

fn bare(name: &str) -> &str {
    name.strip_suffix(".js").unwrap_or(name)
}

/// The name under which QuickJS knows a deployed module; stack traces show it.
pub fn file_name(name: &str) -> String {
    format!("{name}.js")
}

impl Resolver for Sources {
    fn resolve<'js>(
        &mut self,
        _ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        let from_ours = base.is_empty() || base.starts_with("convex/");
        if PUBLIC.contains(&name) || from_ours && OURS.iter().any(|(known, _)| *known == name) {
            return Ok(name.to_string());
        }
        let path = if name.starts_with('.') {
            join(base, name)
        } else if base.is_empty() {
            Some(name.to_string())
        } else {
            None
        };
        match path {
            Some(path) if self.has(bare(&path)) => Ok(file_name(bare(&path))),
            _ => Err(Error::new_resolving(base, name)),
        }
    }
}

impl Loader for Sources {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        let ours = OURS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, source)| *source);
        let source = ours.or_else(|| self.0.get(bare(name)).map(String::as_str));
        Module::declare(
            ctx.clone(),
            name,
            source.ok_or_else(|| Error::new_loading(name))?,
        )
    }
}

/// `./b` and `../b` seen from `dir/a`; `None` when it leads out of the deployment.
fn join(base: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = base.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_names_are_joined() {
        assert_eq!(join("messages.js", "./schema").as_deref(), Some("schema"));
        assert_eq!(
            join("lib/a.js", "../schema.js").as_deref(),
            Some("schema.js")
        );
        assert_eq!(join("lib/a.js", "./b/c").as_deref(), Some("lib/b/c"));
        assert_eq!(join("a.js", "../b"), None);
    }
}
