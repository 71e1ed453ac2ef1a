//! What a machine has too little of: places for assistants, memory, descriptors. Who finds none waits, is served later, and
//! nothing leaks on the way.

use std::time::{Duration, Instant};

use orchestrator_actors::ports::agent::{AgentError, AgentEvent, Agents};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fake::{self, FakeWorld};
use crate::harness::{PATIENCE, Session, eventually};
use crate::other_process::{self, OtherProcess};

async fn until_asked_to_go(session: &mut Session) -> String {
    loop {
        match session.next().await.expect("the child lives") {
            AgentEvent::ReleaseWanted { reason } => return reason,
            AgentEvent::Exited { report } => panic!("{report:?}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_more_than_there_are_places_waits_for_the_quietest_to_go() {
    let world = FakeWorld::with("well", |config| config.most_children = 2);
    let mut quiet = world.open("quiet").await;
    let mut busy = world.open("busy").await;
    busy.deliver("t1", "hang").await.unwrap();
    let mut third = world.agents.open(world.spec("third"));
    let none = tokio::time::timeout(Duration::from_secs(1), &mut third);
    assert!(none.await.is_err(), "there is no place");
    let reason = until_asked_to_go(&mut quiet).await;
    assert!(reason.contains("2 assistants may live at once"), "{reason}");
    assert!(
        !std::iter::from_fn(|| busy.events.try_recv().ok())
            .any(|event| matches!(event, AgentEvent::ReleaseWanted { .. })),
        "it works"
    );
    quiet.agent.stop().await;
    let third = tokio::time::timeout(PATIENCE, third)
        .await
        .expect("a place");
    let third = Session::of(third.unwrap()).await.unwrap();
    third.agent.stop().await;
    busy.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_free_again_after_a_failed_boot_a_dropped_one_and_a_kill() {
    let world = FakeWorld::with("well", |config| config.most_children = 1);
    let program = std::fs::read(&world.config.binary).unwrap();
    std::fs::write(&world.config.binary, "#!/bin/sh\nexit 3\n").unwrap();
    assert!(world.agents.open(world.spec("failed")).await.is_err());
    std::fs::write(&world.config.binary, program).unwrap();
    drop(
        tokio::time::timeout(
            Duration::from_millis(20),
            world.agents.open(world.spec("dropped")),
        )
        .await,
    );
    let mut session = world.open("killed").await;
    crate::harness::kill_9(session.agent.pid());
    while session.next().await.is_some() {}
    world.open("last").await.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assistant_that_has_grown_too_big_asks_to_go_between_turns_only() {
    let world = FakeWorld::with("well", |config| config.most_memory = 200 * 1024 * 1024);
    let mut session = world.open("s1").await;
    let answer = session.ask("t1", "grow=300 deltas=3").await;
    assert!(answer.is_complete());
    assert!(
        !answer
            .events
            .iter()
            .any(|event| matches!(event, AgentEvent::ReleaseWanted { .. })),
        "{:?}",
        answer.events
    );
    let reason = until_asked_to_go(&mut session).await;
    assert!(
        reason.contains("MB of memory, and 200 MB are allowed"),
        "{reason}"
    );
    session.agent.stop().await;
    world.end().await;
}

#[test]
fn a_start_without_a_free_descriptor_waits_and_succeeds_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = OtherProcess::run("limits::starts_without_descriptors", folder.path());
    assert_eq!(other.says("descriptors: "), "waited and came up");
    assert!(other.end().success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "another test runs it as a process of its own, whose descriptors it takes"]
async fn starts_without_descriptors() {
    let Some(folder) = other_process::folder() else {
        return;
    };
    std::fs::create_dir_all(folder.join("work")).unwrap();
    let mut config = fake::config(&folder, "well");
    config.deadlines.shortage = PATIENCE;
    let agents = orchestrator::adapters::opencode::OpenCodeAgents::new(config.clone()).unwrap();
    let spec = || crate::harness::spec(&folder.canonicalize().unwrap().join("work"), "s1");
    // What is needed for the first time only is there afterwards.
    let first = agents.open(spec()).await.unwrap();
    first.agent.stop().await;
    drop(first);

    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(200),
            ..limit
        },
    )
    .unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    let mut opening = agents.open(spec());
    let waited = tokio::time::timeout(Duration::from_secs(3), &mut opening).await;
    assert!(waited.is_err(), "{:?}", waited.map(Result::err));
    drop(taken);
    let session = Session::of(opening.await.unwrap()).await.unwrap();
    session.agent.stop().await;

    // A shortage that does not end is an error that says so, and the next start works.
    config.deadlines.shortage = Duration::from_millis(200);
    let agents = orchestrator::adapters::opencode::OpenCodeAgents::new(config).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    let error = agents.open(spec()).await.err().expect("no descriptors");
    assert!(
        matches!(&error, AgentError::Boot(text) if text.contains("too little for another assistant")),
        "{error:?}"
    );
    assert!(error.is_transient());
    drop(taken);
    agents.open(spec()).await.unwrap().agent.stop().await;
    println!("descriptors: waited and came up");
}

#[test]
fn a_hundred_starts_and_stops_leak_no_descriptor() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = OtherProcess::run("limits::starts_and_stops_a_hundred_times", folder.path());
    let told = other.says("open descriptors: ");
    let (before, after) = told.split_once(" before, ").unwrap();
    let (before, after): (usize, usize) = (
        before.parse().unwrap(),
        after.trim_end_matches(" after").parse().unwrap(),
    );
    assert!(after <= before, "{told}");
    assert!(other.end().success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "another test runs it as a process of its own, to count its descriptors"]
async fn starts_and_stops_a_hundred_times() {
    let Some(folder) = other_process::folder() else {
        return;
    };
    std::fs::create_dir_all(folder.join("work")).unwrap();
    let mut config = fake::config(&folder, "well");
    config.boot_slots = 4;
    let agents = orchestrator::adapters::opencode::OpenCodeAgents::new(config).unwrap();
    let work = folder.canonicalize().unwrap().join("work");
    let once = async |session: &str, number: usize| {
        let opened = agents
            .open(crate::harness::spec(&work, session))
            .await
            .unwrap();
        let mut session = Session::of(opened).await.unwrap();
        assert!(
            session
                .ask(&format!("t{number}"), "deltas=3")
                .await
                .is_complete()
        );
        match number % 3 {
            0 => session.agent.stop().await,
            1 => crate::harness::kill_9(session.agent.pid()),
            _ => {}
        }
        let Session {
            agent, mut events, ..
        } = session;
        drop(agent);
        while events.recv().await.is_some() {}
    };
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let four = async |number: usize| {
        tokio::join!(
            once("a", number),
            once("b", number + 1),
            once("c", number + 2),
            once("d", number + 3)
        );
    };
    four(0).await;
    let settled = Instant::now();
    eventually("connections are closed", || {
        settled.elapsed() > Duration::from_millis(500)
    })
    .await;
    let before = open();
    for round in 1..=25 {
        four(round * 4).await;
    }
    eventually("every descriptor is closed", || open() <= before).await;
    println!("open descriptors: {before} before, {} after", open());
    assert_eq!(crate::harness::processes_with("sleep 600").len(), 0);
}

#[test]
fn a_warden_that_may_write_no_file_still_starts_its_child() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = OtherProcess::run("limits::starts_without_files", folder.path());
    assert_eq!(other.says("the child: "), "Some(0)");
    assert!(other.end().success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "another test runs it as a process of its own, whose files may have no length"]
async fn starts_without_files() {
    use orchestrator::adapters::process::lease::{LeaseSpec, session_lock};
    use orchestrator::adapters::process::{Ward, WardSpec};
    use tokio::signal::unix::{SignalKind, signal};

    let Some(folder) = other_process::folder() else {
        return;
    };
    let mut spec = WardSpec::new(crate::harness::orchestrator(), "/bin/sh", &folder);
    spec.args = vec!["-c".to_owned(), "exit 0".to_owned()];
    spec.lease = LeaseSpec {
        session: Some(session_lock(&folder.join("locks"), "s")),
        directory: None,
    };
    // As the supervisor has it: a handler, which no child inherits.
    let _file_size = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).unwrap();
    let maximum = getrlimit(Resource::Fsize).maximum;
    let nothing = Rlimit {
        current: Some(0),
        maximum,
    };
    setrlimit(Resource::Fsize, nothing).unwrap();
    let ended = Ward::spawn(spec).await.unwrap().exited().await;
    println!("the child: {:?}", ended.code);
}
