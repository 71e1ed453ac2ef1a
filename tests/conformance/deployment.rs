//! What the scenarios run against: the product's functions beside the test modules, served by the embedded deployment,
//! and the identities that the scenarios name.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use orchestrator::adapters::identity::{AUDIENCE, ISSUER, OwnerKey};
use orchestrator_backend::{AuthProvider, Deployment, DeploymentConfig, Instance, Site};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

/// Longer than any run.
const TOKEN_TTL: Duration = Duration::from_hours(1);

/// Those that `as` of a step may name, besides `nobody`, with their subjects.
pub const IDENTITIES: [(&str, &str); 2] = [("owner", "owner"), ("stranger", "somebody-else")];

/// What the clients reach.
pub struct Served {
    pub url: String,
    /// JWTs by the name of the identity.
    pub tokens: BTreeMap<String, String>,
    deployment: Deployment,
    _folder: TempDir,
}

/// Every module by name, without `.js`: the product's and those of the tests. The schema is the tests' own, which takes
/// the product's tables over.
pub fn modules() -> BTreeMap<String, String> {
    let product = orchestrator_backend::functions::product();
    let mut modules: BTreeMap<_, _> = product
        .into_iter()
        .map(|(name, source)| (name.to_owned(), source.to_owned()))
        .collect();
    let product_schema = modules.remove("schema").expect("the product's schema");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/stripped");
    for entry in std::fs::read_dir(folder).expect("the stripped test modules") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy();
        let source = std::fs::read_to_string(&path).expect("a module");
        let taken = modules.insert(name.into_owned(), source);
        assert!(
            taken.is_none(),
            "{} hides a module of the product",
            path.display()
        );
    }
    modules.insert("product".to_owned(), product_schema);
    modules
}

impl Served {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = OwnerKey::load_or_create(&folder.path().join("owner.key")).expect("a key");
        let token = |subject: &str| {
            let jwt = key.jwt(subject, TOKEN_TTL).expect("a token");
            jwt.expose_secret().to_owned()
        };
        let tokens = IDENTITIES
            .into_iter()
            .map(|(name, subject)| (name.to_owned(), token(subject)))
            .collect();
        let config = DeploymentConfig {
            bind: ([127, 0, 0, 1], 0).into(),
            data: folder.path().join("local.sqlite3"),
            functions: modules().into_iter().collect(),
            environment: Vec::new(),
            identity: vec![AuthProvider {
                issuer: ISSUER.to_owned(),
                audience: AUDIENCE.to_owned(),
                jwks: key.jwks(),
            }],
            allowed_origins: Vec::new(),
            instance: Instance::default(),
            site: Site::default(),
        };
        let deployment = Deployment::start(config).await.expect("a deployment");
        Self {
            url: deployment.url(),
            tokens,
            deployment,
            _folder: folder,
        }
    }

    pub async fn stop(self) {
        self.deployment.stop().await;
    }
}
