//! From what people type to a worker or a session: an id, a name, the start of a session's id, its title; nothing at all means the
//! worker of this directory, or the only one. A name that is not known is answered with the nearest one.

use std::path::Path;

use serde_json::json;

use super::connection::Connection;
use super::failure::Failure;
use super::rows::{SessionRow, WorkerRow, read};

/// Who is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Worker {
        id: String,
        name: String,
    },
    Session {
        id: String,
        worker_id: String,
        worker: String,
    },
}

impl Target {
    pub fn worker_id(&self) -> &str {
        match self {
            Self::Worker { id, .. } => id,
            Self::Session { worker_id, .. } => worker_id,
        }
    }
}

pub async fn workers(connection: &Connection) -> Result<Vec<WorkerRow>, Failure> {
    let (value, called) = tokio::join!(
        connection.client.query("workers:list", json!({})),
        connection.called(),
    );
    let mut rows: Vec<WorkerRow> = read("workers:list", value?)?;
    for row in &mut rows {
        row.called = called
            .iter()
            .find(|(id, _)| *id == row.worker_id)
            .map(|(_, name)| name.clone());
    }
    Ok(rows)
}

pub async fn sessions(connection: &Connection, ended: bool) -> Result<Vec<SessionRow>, Failure> {
    let args = json!({"includeEnded": ended});
    let value = connection.client.query("sessions:list", args).await?;
    read("sessions:list", value)
}

/// Finds who `name` is.
pub async fn target(connection: &Connection, name: Option<&str>) -> Result<Target, Failure> {
    let workers = workers(connection).await?;
    let Some(name) = name else {
        let here = std::env::current_dir().unwrap_or_default();
        let chosen = default_worker(&workers, &here)?;
        return Ok(Target::Worker {
            id: chosen.worker_id.clone(),
            name: chosen.label().to_owned(),
        });
    };
    if let Some(found) = worker_named(&workers, name)? {
        return Ok(Target::Worker {
            id: found.worker_id.clone(),
            name: found.label().to_owned(),
        });
    }
    session_among(connection, name, &workers).await
}

/// Finds a session, also one that is called as a worker is.
pub async fn session(connection: &Connection, name: &str) -> Result<Target, Failure> {
    let workers = workers(connection).await?;
    let found = session_among(connection, name, &workers).await;
    match (found, worker_named(&workers, name)) {
        (Err(_), Ok(Some(worker))) => Ok(Target::Worker {
            id: worker.worker_id.clone(),
            name: worker.label().to_owned(),
        }),
        (found, _) => found,
    }
}

async fn session_among(
    connection: &Connection,
    name: &str,
    workers: &[WorkerRow],
) -> Result<Target, Failure> {
    let mut rows = sessions(connection, true).await?;
    let known = |row: &SessionRow| row.session_id == name;
    // The list has the newest ones only; a whole id is known whatever its age.
    if name.starts_with("session_") && !rows.iter().any(known) {
        let args = json!({"sessionId": name});
        let row = connection.client.query("sessions:get", args).await;
        rows.extend(row.ok().and_then(|row| serde_json::from_value(row).ok()));
    }
    session_named(&rows, name, workers)
}

/// Finds a worker and nothing else.
pub async fn worker(connection: &Connection, name: &str) -> Result<WorkerRow, Failure> {
    let workers = workers(connection).await?;
    match worker_named(&workers, name)? {
        Some(found) => Ok(found.clone()),
        None => Err(unknown("worker", name, worker_names(&workers))),
    }
}

/// The same by its name or its whole id: what takes a right away or gives one must have been meant.
pub async fn worker_exactly(connection: &Connection, name: &str) -> Result<WorkerRow, Failure> {
    let workers = workers(connection).await?;
    exactly(&workers, name).cloned()
}

fn exactly<'w>(workers: &'w [WorkerRow], name: &str) -> Result<&'w WorkerRow, Failure> {
    match worker_named(workers, name)? {
        Some(found) if [&*found.worker_id, &*found.name, found.label()].contains(&name) => {
            Ok(found)
        }
        Some(found) => {
            let whole = listed(&[found]);
            Err(
                Failure::usage(format!("no worker has the name or id `{name}`")).hint(format!(
                    "a start of an id is not enough here; did you mean {whole}?"
                )),
            )
        }
        None => Err(unknown("worker", name, worker_names(workers))),
    }
}

/// Finds a worker and nothing else; without a name the one of this directory, or the only one.
pub async fn worker_or_default(
    connection: &Connection,
    name: Option<&str>,
) -> Result<WorkerRow, Failure> {
    let Some(name) = name else {
        let workers = workers(connection).await?;
        let here = std::env::current_dir().unwrap_or_default();
        return default_worker(&workers, &here).cloned();
    };
    worker(connection, name).await
}

/// The worker whose directory holds this one.
pub async fn worker_in(connection: &Connection, directory: &Path) -> Result<WorkerRow, Failure> {
    let workers = workers(connection).await?;
    let real = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    nearest(&workers, &real).cloned().ok_or_else(|| {
        let listed: Vec<&WorkerRow> = workers.iter().collect();
        Failure::usage(format!("no worker works in {}", directory.display()))
            .hint(format!("the workers are: {}", self::listed(&listed)))
    })
}

fn worker_named<'w>(
    workers: &'w [WorkerRow],
    name: &str,
) -> Result<Option<&'w WorkerRow>, Failure> {
    if let Some(found) = workers.iter().find(|worker| worker.worker_id == name) {
        return Ok(Some(found));
    }
    // What the supervisor here calls them is what people see; two directories of one name have names of their own there.
    let served: Vec<&WorkerRow> = workers
        .iter()
        .filter(|worker| worker.called.as_deref() == Some(name))
        .collect();
    let named: Vec<&WorkerRow> = workers
        .iter()
        .filter(|worker| worker.name == name)
        .collect();
    let start = name.trim_end_matches('…');
    let begun: Vec<&WorkerRow> = workers
        .iter()
        .filter(|worker| start.len() >= 4 && worker.worker_id.starts_with(start))
        .collect();
    match [served, named, begun]
        .into_iter()
        .find(|found| !found.is_empty())
    {
        None => Ok(None),
        Some(found) if found.len() == 1 => Ok(found.first().copied()),
        Some(many) => {
            let message = format!("`{name}` means {} workers", many.len());
            let hint = format!("say which one by its id: {}", listed(&many));
            Err(Failure::usage(message).hint(hint))
        }
    }
}

/// `shop (a1b2c3), blog (d4e5f6)`.
fn listed(workers: &[&WorkerRow]) -> String {
    let names: Vec<String> = workers
        .iter()
        .map(|worker| format!("{} ({})", worker.label(), worker.worker_id))
        .collect();
    names.join(", ")
}

fn session_named(
    sessions: &[SessionRow],
    name: &str,
    workers: &[WorkerRow],
) -> Result<Target, Failure> {
    let all = |by: &dyn Fn(&SessionRow) -> bool| -> Vec<&SessionRow> {
        sessions.iter().filter(|row| by(row)).collect()
    };
    let start = name.trim_end_matches('…');
    let begins = |row: &SessionRow| {
        let id = &row.session_id;
        let bare = id.strip_prefix("session_").unwrap_or(id);
        start.len() >= 4 && (id.starts_with(start) || bare.starts_with(start))
    };
    let title = start.to_lowercase();
    let is_titled = |row: &SessionRow| row.title.to_lowercase() == title;
    let title_begins =
        |row: &SessionRow| title.len() >= 4 && row.title.to_lowercase().starts_with(&title);
    let ways = [
        all(&|row| row.session_id == name),
        all(&begins),
        all(&is_titled),
        all(&title_begins),
    ];
    let found = ways.into_iter().find(|found| !found.is_empty());
    match found.unwrap_or_default().as_slice() {
        [one] => Ok(Target::Session {
            id: one.session_id.clone(),
            worker_id: one.worker_id.clone(),
            worker: worker_name(workers, &one.worker_id),
        }),
        [] => {
            let mut names = worker_names(workers);
            names.extend(sessions.iter().map(|row| row.session_id.clone()));
            names.extend(sessions.iter().map(|row| row.title.clone()));
            Err(unknown("worker or session", name, names))
        }
        many => Err(
            Failure::usage(format!("`{name}` means {} sessions", many.len()))
                .hint("say which one by its id: orchestrator session list"),
        ),
    }
}

/// What a worker is called, for display.
pub fn worker_name(workers: &[WorkerRow], id: &str) -> String {
    workers
        .iter()
        .find(|worker| worker.worker_id == id)
        .map_or_else(|| id.to_owned(), |worker| worker.label().to_owned())
}

fn worker_names(workers: &[WorkerRow]) -> Vec<String> {
    let ids = workers.iter().map(|worker| worker.worker_id.clone());
    ids.chain(workers.iter().map(|worker| worker.label().to_owned()))
        .chain(workers.iter().map(|worker| worker.name.clone()))
        .collect()
}

fn default_worker<'w>(workers: &'w [WorkerRow], here: &Path) -> Result<&'w WorkerRow, Failure> {
    let real = std::fs::canonicalize(here).unwrap_or_else(|_| here.to_owned());
    let usable: Vec<&WorkerRow> = workers.iter().filter(|worker| is_usable(worker)).collect();
    match (nearest(workers, &real), usable.as_slice()) {
        (Some(worker), _) => Ok(worker),
        (None, [only]) => Ok(*only),
        (None, []) => Err(Failure::usage("the deployment has no worker")
            .hint("add one: orchestrator worker add DIR")),
        (None, many) => Err(Failure::usage(format!(
            "there are {} workers, and none of them works in this directory",
            many.len()
        ))
        .hint(format!("name one: {}", listed(many)))),
    }
}

fn is_usable(worker: &WorkerRow) -> bool {
    worker.state != "revoked"
}

/// The deepest directory that holds this one: a subfolder of a project means the project. Of several workers there,
/// the one that was served last.
fn nearest<'w>(workers: &'w [WorkerRow], real: &Path) -> Option<&'w WorkerRow> {
    let usable = workers.iter().filter(|worker| is_usable(worker));
    usable
        .filter(|worker| real.starts_with(&worker.directory))
        .max_by(|a, b| {
            let depth = a.directory.len().cmp(&b.directory.len());
            let served = |worker: &WorkerRow| worker.connected_at.unwrap_or_default();
            depth.then(served(a).total_cmp(&served(b)))
        })
}

/// "unknown …", with the name that was probably meant.
pub fn unknown(what: &str, name: &str, known: Vec<String>) -> Failure {
    let failure = Failure::usage(format!("unknown {what} `{name}`"));
    let nearest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, candidate)) => failure.hint(format!("did you mean `{candidate}`?")),
        None if what == "command" => failure.hint("orchestrator help lists the commands"),
        None => failure.hint("look at orchestrator worker list and orchestrator session list"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    fn worker(id: &str, name: &str, directory: &str) -> WorkerRow {
        WorkerRow {
            worker_id: id.to_owned(),
            machine_id: "m".to_owned(),
            name: name.to_owned(),
            directory: directory.to_owned(),
            state: "approved".to_owned(),
            connected_at: None,
            called: None,
        }
    }

    fn session(id: &str) -> SessionRow {
        SessionRow {
            session_id: id.to_owned(),
            worker_id: "w1".to_owned(),
            title: "t".to_owned(),
            model: None,
            status: "idle".to_owned(),
            reason: None,
            waiting: None,
            created_at: 0.0,
            last_activity_at: 0.0,
        }
    }

    #[test]
    fn a_typo_is_answered_with_the_nearest_name() {
        let workers = [worker("w1", "shop", "/a"), worker("w2", "blog", "/b")];
        let failure = session_named(&[], "shp", &workers).unwrap_err();
        assert_eq!(failure.message, "unknown worker or session `shp`");
        assert_eq!(failure.hint.as_deref(), Some("did you mean `shop`?"));
    }

    #[test]
    fn a_session_is_known_by_a_unique_start_of_its_id() {
        let workers = [worker("w1", "shop", "/a")];
        let sessions = [session("session_abcd1"), session("session_abzz2")];
        let found = session_named(&sessions, "abcd", &workers).unwrap();
        assert_eq!(
            found,
            Target::Session {
                id: "session_abcd1".to_owned(),
                worker_id: "w1".to_owned(),
                worker: "shop".to_owned()
            }
        );
        assert!(session_named(&sessions, "session_ab", &workers).is_err());
    }

    #[test]
    fn a_session_is_known_by_its_title() {
        let mut sessions = [session("session_abcd1"), session("session_abcd2")];
        sessions[0].title = "Fix the cart".to_owned();
        sessions[1].title = "Fix the card".to_owned();
        let id = |name: &str| match session_named(&sessions, name, &[]) {
            Ok(Target::Session { id, .. }) => Some(id),
            _ => None,
        };
        for name in ["Fix the cart", "fix the cart", "fix the cart…"] {
            assert_eq!(id(name).as_deref(), Some("session_abcd1"), "{name}");
        }
        assert_eq!(id("fix the"), None);
        let failure = session_named(&sessions, "Fix the crat", &[]).unwrap_err();
        assert_eq!(
            failure.hint.as_deref(),
            Some("did you mean `Fix the cart`?")
        );
    }

    #[test]
    fn without_a_name_the_directory_decides_and_then_the_only_one() {
        let two = [worker("w1", "shop", "/a"), worker("w2", "in", "/a/inner")];
        let chosen =
            |workers: &[WorkerRow], here: &str| match default_worker(workers, Path::new(here)) {
                Ok(worker) => Some(worker.worker_id.clone()),
                Err(_) => None,
            };
        assert_eq!(chosen(&two, "/a/inner/deep").as_deref(), Some("w2"));
        assert_eq!(chosen(&two, "/a/other").as_deref(), Some("w1"));
        assert_eq!(chosen(&two, "/elsewhere"), None);
        assert_eq!(chosen(&two[..1], "/elsewhere").as_deref(), Some("w1"));
        assert_eq!(chosen(&[], "/a"), None);
    }

    #[test]
    fn the_supervisors_name_is_known_and_goes_first() {
        let mut two = [
            worker("id-one", "shop", "/a"),
            worker("id-two", "shop", "/b"),
        ];
        two[1].called = Some("shop-2".to_owned());
        let id = |name: &str| {
            let found = worker_named(&two, name).ok().flatten();
            found.map(|worker| worker.worker_id.as_str())
        };
        assert_eq!(id("shop-2"), Some("id-two"));
        assert_eq!(id("id-t"), Some("id-two"));
        assert_eq!(id("shop"), None);
        assert_eq!(id("id-"), None);
        two[0].called = Some("shop".to_owned());
        let found = worker_named(&two, "shop").unwrap().unwrap();
        assert_eq!(found.worker_id, "id-one");
    }

    #[test]
    fn what_takes_a_worker_away_needs_more_than_a_start_of_its_id() {
        let two = [worker("abcdef1", "shop", "/a"), worker("w2", "blog", "/b")];
        assert_eq!(exactly(&two, "abcdef1").unwrap().name, "shop");
        assert_eq!(exactly(&two, "blog").unwrap().worker_id, "w2");
        let failure = exactly(&two, "abcd").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.hint.unwrap().contains("shop (abcdef1)"));
        assert!(worker_named(&two, "abcd").unwrap().is_some());
    }

    #[test]
    fn those_to_choose_from_can_be_served_and_are_told_apart() {
        let mut three = [
            worker("w1", "shop", "/a"),
            worker("w2", "shop", "/b"),
            worker("w3", "old", "/c"),
        ];
        three[2].state = "revoked".to_owned();
        let failure = default_worker(&three, Path::new("/elsewhere")).unwrap_err();
        assert_eq!(
            failure.hint.as_deref(),
            Some("name one: shop (w1), shop (w2)")
        );
    }

    #[test]
    fn two_workers_of_one_name_need_the_id() {
        let two = [worker("w1", "shop", "/a"), worker("w2", "shop", "/b")];
        assert!(worker_named(&two, "shop").is_err());
        assert_eq!(worker_named(&two, "w2").unwrap().unwrap().directory, "/b");
    }
}
