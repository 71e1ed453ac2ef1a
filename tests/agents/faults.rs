//! An assistant that goes wrong, one fault a test, with the fake OpenCode: each ends in a state that says so, in time, with
//! bounded memory and without a process or a temporary folder left.

use std::time::{Duration, Instant};

use orchestrator_actors::ports::agent::{AgentError, AgentEvent, Agents, ExitReport, TurnEnd};
use rustix::process::Signal;

use crate::fake::FakeWorld;
use crate::harness::{self, Answer, PATIENCE, Session, eventually, kill_9, parent_of};

fn report_of(answer: &Answer) -> ExitReport {
    match answer.events.last() {
        Some(AgentEvent::Exited { report }) => report.clone(),
        other => panic!("{other:?}"),
    }
}

/// Resident memory of this test process. Other tests run beside: only far more than they need is a finding.
fn memory() -> u64 {
    orchestrator::adapters::process::rss_bytes(std::process::id())
}

const MEGABYTE: u64 = 1024 * 1024;

/// Looks at this process's memory until it is dropped; the most it saw is the answer.
struct Peak {
    over: std::sync::Arc<std::sync::atomic::AtomicBool>,
    looking: std::thread::JoinHandle<u64>,
    before: u64,
}

impl Peak {
    fn watch() -> Self {
        let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ended = over.clone();
        let looking = std::thread::spawn(move || {
            let mut most = 0;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                most = most.max(memory());
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        Self {
            over,
            looking,
            before: memory(),
        }
    }

    fn grown(self) -> u64 {
        self.over.store(true, std::sync::atomic::Ordering::Relaxed);
        self.looking.join().unwrap().saturating_sub(self.before)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opencode_that_exits_0_in_mid_answer_is_an_end_that_is_told() {
    let world = FakeWorld::new();
    let mut session = world.open("s1").await;
    session.deliver("t1", "deltas=20 exit=0").await.unwrap();
    let mut answer = Answer::default();
    session.until_exit(&mut answer, "t1").await;
    let report = report_of(&answer);
    assert_eq!(
        (report.code, report.signal, report.why),
        (Some(0), None, None)
    );
    assert_eq!(answer.end, None);
    // What it had said before is not lost.
    assert!(answer.text().ends_with("18 19 "), "{}", answer.text());
    drop(session);
    let mut again = world.open("s1").await;
    assert!(again.ask("t2", "deltas=1").await.is_complete());
    again.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opencode_that_is_stopped_in_mid_answer_is_held_for_hung_and_ended() {
    let world = FakeWorld::with("well", |config| {
        config.deadlines.probe = Duration::from_secs(2);
        config.deadlines.probe_answer = Duration::from_millis(500);
    });
    let mut session = world.open("s1").await;
    session.deliver("t1", "deltas=3 hang").await.unwrap();
    let mut answer = Answer::default();
    session.until_text(&mut answer, "t1", "2 ").await;
    harness::send(session.agent.pid(), Signal::STOP);
    let stopped = Instant::now();
    session.until_exit(&mut answer, "t1").await;
    let took = stopped.elapsed();
    let report = report_of(&answer);
    let why = report.why.expect("a reason");
    assert!(why.contains("did not answer for"), "{why}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    drop(session);
    let mut again = world.open("s1").await;
    assert!(again.ask("t2", "deltas=1").await.is_complete());
    again.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_opencode_that_is_only_slow_is_not_held_for_hung() {
    let world = FakeWorld::with("well", |config| {
        // Shorter than its heartbeat: it is asked all the time, and it answers.
        config.deadlines.probe = Duration::from_millis(20);
    });
    let mut session = world.open("s1").await;
    session.deliver("t1", "deltas=3 hang").await.unwrap();
    let silent = tokio::time::timeout(Duration::from_secs(3), async {
        while let Some(event) = session.events.recv().await {
            assert!(!matches!(event, AgentEvent::Exited { .. }), "{event:?}");
        }
    });
    assert!(silent.await.is_err(), "it ended");
    session.agent.stop().await;
    world.end().await;
}

/// An event can be too large for its stream, or come while the stream is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_which_no_event_tells_is_found_all_the_same() {
    let world = FakeWorld::new();
    let mut session = world.open("s1").await;
    session.deliver("t1", "deltas=3 asks hang").await.unwrap();
    let found = tokio::time::timeout(Duration::from_mins(1), async {
        while let Some(event) = session.events.recv().await {
            if let AgentEvent::Asked { request, asked, .. } = event {
                return (request.0, asked.patterns);
            }
        }
        panic!("it ended");
    });
    let (request, patterns) = found.await.expect("asked");
    assert_eq!(
        (request.as_str(), patterns),
        ("per_1", vec!["ls".to_owned()])
    );
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opencode_that_is_stopped_while_it_boots_is_a_failed_boot_in_time() {
    let world = FakeWorld::with("stops itself", |config| {
        config.deadlines.ready = Duration::from_secs(2);
    });
    let begun = Instant::now();
    let error = world.try_open("s1").await.err().expect("no boot");
    assert!(
        matches!(&error, AgentError::Boot(text) if text.contains("does not answer")),
        "{error:?}"
    );
    assert!(error.is_transient());
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_says_where_says_it_garbled_or_answers_html_garbage_or_nothing_is_a_failed_boot()
 {
    for (at_start, expected) in [
        ("never says where", "did not say in time"),
        ("says it garbled", "but not where"),
        ("answers HTML", "not OpenCode's"),
        ("answers garbage without end", "longer than"),
        ("answers nothing", "does not answer"),
    ] {
        let world = FakeWorld::with(at_start, |config| {
            if at_start == "never says where" {
                config.deadlines.listening = Duration::from_secs(2);
            }
            if at_start == "answers nothing" {
                config.deadlines.ready = Duration::from_secs(2);
            }
        });
        let peak = Peak::watch();
        let error = world.try_open("s1").await.err().expect(at_start);
        assert!(
            matches!(&error, AgentError::Boot(text) if text.contains(expected)),
            "{at_start}: {error:?}"
        );
        let grown = peak.grown() / MEGABYTE;
        assert!(grown < 250, "{at_start}: {grown} MB");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_warden_does_not_keep_a_session_for_ever() {
    let world = FakeWorld::new();
    let session = world.open("s1").await;
    let warden = parent_of(session.agent.pid());
    harness::send(warden, Signal::STOP);
    let stopping = Instant::now();
    session.agent.stop().await;
    let took = stopping.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(world.left().is_empty(), "{:?}", world.left());
    drop(session);

    // The same when the handle is just dropped, and again the session is free.
    let session = world.open("s1").await;
    harness::send(parent_of(session.agent.pid()), Signal::STOP);
    let Session {
        agent, mut events, ..
    } = session;
    drop(agent);
    let ended = tokio::time::timeout(PATIENCE, async { while events.recv().await.is_some() {} });
    ended.await.expect("its end is told");
    world.open("s1").await.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_killed_warden_is_told_as_that() {
    let world = FakeWorld::new();
    let mut session = world.open("s1").await;
    session.deliver("t1", "deltas=3 hang").await.unwrap();
    let mut answer = Answer::default();
    session.until_text(&mut answer, "t1", "2 ").await;
    kill_9(parent_of(session.agent.pid()));
    session.until_exit(&mut answer, "t1").await;
    let why = report_of(&answer).why.expect("a reason");
    assert!(why.contains("watches over it was killed"), "{why}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_100_mb_is_skipped_and_the_turn_is_whole() {
    let world = FakeWorld::new();
    let mut session = world.open("s1").await;
    let peak = Peak::watch();
    let answer = session.ask("t1", "deltas=2 bytes=100000000 deltas=2").await;
    assert!(answer.is_complete(), "{:?}", answer.end);
    assert_eq!(answer.text(), "0 1 0 1 ");
    let grown = peak.grown() / MEGABYTE;
    assert!(grown < 150, "{grown} MB");
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_character_in_two_pieces_and_a_stream_cut_in_mid_event_lose_nothing() {
    let world = FakeWorld::new();
    let mut session = world.open("s1").await;
    let answer = session.ask("t1", "deltas=1 split deltas=1").await;
    assert_eq!(answer.text(), "0 ä0 ");
    let answer = session.ask("t2", "deltas=2 cut").await;
    assert!(answer.is_complete(), "{answer:?}");
    assert_eq!(answer.text(), "0 1 lost with the stream");
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_falls_silent_is_made_again_and_the_turn_is_whole() {
    let world = FakeWorld::with("well", |config| {
        config.deadlines.silence = Duration::from_secs(2);
    });
    let mut session = world.open("s1").await;
    let answer = session.ask("t1", "deltas=2 silent").await;
    assert!(answer.is_complete(), "{answer:?}");
    assert_eq!(answer.text(), "0 1 said to nobody");
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_50_000_deltas_is_whole_and_memory_stays_bounded() {
    let world = FakeWorld::new();
    let mut session = world.open("s1").await;
    let peak = Peak::watch();
    session.deliver("t1", "deltas=50000").await.unwrap();
    // Nobody reads for a while.
    tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>())
        .await
        .unwrap_err();
    let answer = session.finish("t1").await;
    assert!(answer.is_complete(), "{:?}", answer.end);
    let wanted: String = (0..50_000).map(|number| format!("{number} ")).collect();
    assert!(answer.text() == wanted, "{} bytes", answer.text().len());
    let grown = peak.grown() / MEGABYTE;
    assert!(grown < 100, "{grown} MB");
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_100_mb_in_mid_answer_holds_up_neither_the_turn_nor_us() {
    let world = FakeWorld::new();
    let mut session = world.open("s1").await;
    let peak = Peak::watch();
    let answer = session.ask("t1", "deltas=2 print=100 deltas=2").await;
    assert!(
        matches!(answer.end, Some(TurnEnd::Complete { .. })),
        "{:?}",
        answer.end
    );
    let grown = peak.grown() / MEGABYTE;
    assert!(grown < 100, "{grown} MB");
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_directory_deleted_under_a_running_assistant_is_told_and_waited_for() {
    let world = FakeWorld::new();
    let mut session = world.open("s1").await;
    assert!(session.ask("t1", "deltas=1").await.is_complete());
    std::fs::remove_dir_all(world.work()).unwrap_or_default();
    let refused = session.deliver("t2", "deltas=1").await.unwrap_err();
    assert!(
        matches!(&refused, AgentError::Failed(text) if text.contains("is gone: make it again")),
        "{refused:?}"
    );
    // Its own directory is the deleted one: its session replaces it, and the successor waits.
    session.agent.stop().await;
    drop(session);
    let spec = world.spec("s1");
    let waiting = spec.waiting.clone();
    let opening = tokio::spawn(world.agents.open(spec));
    eventually("it waits for its directory", || {
        waiting
            .get()
            .is_some_and(|what| what.contains("does not exist"))
    })
    .await;
    std::fs::create_dir(world.work()).unwrap();
    let mut session = Session::of(opening.await.unwrap().unwrap()).await.unwrap();
    assert_eq!(waiting.get(), None);
    assert!(session.ask("t2", "deltas=1").await.is_complete());
    session.agent.stop().await;
    eventually("it is stopped", || world.left().is_empty()).await;
    world.end().await;
}

/// Stops it, and gives what it had printed and how long that took.
async fn stopped(mut session: Session, turn: &str) -> (ExitReport, Duration) {
    let stopping = Instant::now();
    session.agent.stop().await;
    let took = stopping.elapsed();
    let mut answer = Answer::default();
    session.until_exit(&mut answer, turn).await;
    (report_of(&answer), took)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_asks_a_working_opencode_first_and_waits_no_longer_than_it_may() {
    let world = FakeWorld::new();
    let asked = |report: &ExitReport| {
        let mut lines = report.last_lines.iter();
        lines.any(|line| line == "asked to end its turns")
    };
    for (prompt, is_asked, least) in [
        ("hang", true, Duration::ZERO),
        ("deaf hang", true, Duration::from_secs(2)),
        ("deltas=1", false, Duration::ZERO),
    ] {
        let mut session = world.open("s1").await;
        if is_asked {
            session.deliver("t1", prompt).await.unwrap();
        } else {
            assert!(session.ask("t1", prompt).await.is_complete());
        }
        let (report, took) = stopped(session, "t1").await;
        assert_eq!(asked(&report), is_asked, "{prompt}: {report:?}");
        // TERM was enough: nobody had to kill it.
        assert_eq!(report.signal, Some(15), "{prompt}: {report:?}");
        assert!(took >= least, "{prompt}: {took:?}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_child_is_told_at_once_and_its_session_is_free() {
    const ROUNDS: usize = 11;
    let world = FakeWorld::new();
    let mut told = Vec::new();
    for _ in 0..ROUNDS {
        let mut session = world.open("s1").await;
        session.deliver("t1", "deltas=3 hang").await.unwrap();
        let mut answer = Answer::default();
        session.until_text(&mut answer, "t1", "2 ").await;
        let killed = Instant::now();
        kill_9(session.agent.pid());
        session.until_exit(&mut answer, "t1").await;
        told.push(killed.elapsed());
        // Not even for a moment somebody else's.
        world.open("s1").await.agent.stop().await;
    }
    told.sort();
    println!("child killed → told, its session free: {told:?}");
    assert!(told[ROUNDS / 2] < Duration::from_millis(90), "{told:?}");
    world.end().await;
}
