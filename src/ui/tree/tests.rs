//! Trees as `ps` draws them.

use super::*;

#[test]
fn a_stuck_actor_and_a_crowded_mailbox_come_first_in_their_rows() {
    let mut report = crate::control::report::tests::sample();
    let worker = &mut report.workers[0];
    worker.health.stuck = Some(crate::control::report::StuckReport {
        doing: "Snapshot".to_owned(),
        since: String::new(),
        for_ms: 12_000,
    });
    worker.sessions[0].health.crowded = true;
    worker.sessions[0].health.mailbox = 1_234;
    assert_eq!(report.stuck(), ["worker/xyz789"]);
    let text = draw(&report, Some("/home/me"), Shown::default());
    assert!(text.contains("stuck in Snapshot for 12s, ~/shop"), "{text}");
    assert!(text.contains("1234 messages wait, pid 4711"), "{text}");
}

#[test]
fn the_last_words_of_an_assistant_do_not_reach_the_terminal_as_they_are() {
    let mut report = crate::control::report::tests::sample();
    report.workers[0].name = "shop\x1b]0;x\x07".to_owned();
    let session = &mut report.workers[0].sessions[0];
    session.phase = "restarting".to_owned();
    session.title = "a\u{9b}2Jb".to_owned();
    session.detail = "given\x1b[2J up\nat once".to_owned();
    session.last_error = Some("its last line: \x1b[31mred\x1b]52;c;eA==\x07".to_owned());
    for full in [false, true] {
        let shown = Shown {
            full,
            ..Shown::default()
        };
        let text = draw(&report, None, shown);
        assert!(!text.contains(['\u{9b}', '\x07']), "{text:?}");
        assert!(!text.contains("\x1b]") && !text.contains("\x1b[2J"));
        assert!(!text.contains("\x1b[31mred"), "{text:?}");
        assert!(text.contains("its last line: "), "{text:?}");
    }
}

#[test]
fn an_assistant_for_a_role_is_a_row_of_its_worker() {
    let mut report = crate::control::report::tests::sample();
    let role = RoleReport {
        name: "den/builder".to_owned(),
        key: "role/xyz789/den/builder".to_owned(),
        tool: "claude".to_owned(),
        phase: "restarting".to_owned(),
        since: String::new(),
        age_ms: 2_000,
        agent_pid: None,
        agent_rss_bytes: None,
        restarts: 1,
        last_error: Some("claude ended with exit code 7".to_owned()),
        health: Health::default(),
    };
    report.workers[0].roles.push(role);
    let text = draw(&report, Some("/home/me"), Shown::default());
    let row = text.lines().last().unwrap_or_default();
    assert!(row.contains("role den/builder"), "{text}");
    assert!(
        row.ends_with("claude, restarts 1, claude ended with exit code 7"),
        "{text}"
    );
}

#[test]
fn a_task_is_a_row_of_its_worker_with_how_far_it_has_come_and_what_it_waits_for() {
    let mut report = crate::control::report::tests::sample();
    let mut tasks = TasksReport {
        key: "task/xyz789".to_owned(),
        phase: "active".to_owned(),
        age_ms: 4_000,
        ..TasksReport::default()
    };
    tasks.task = Some(crate::control::report::TaskInHand {
        id: "t1".to_owned(),
        title: "implement login".to_owned(),
        attempt: 2,
        step: "running".to_owned(),
        age_ms: 65_000,
        branch: Some("1282544961935709".to_owned()),
        turns: 3,
        ..crate::control::report::TaskInHand::default()
    });
    let row = |tasks: &TasksReport| {
        let mut report = report.clone();
        report.workers[0].tasks = Some(tasks.clone());
        let text = draw(&report, Some("/home/me"), Shown::default());
        let plain = anstream::adapter::strip_str(&text).to_string();
        plain.lines().last().unwrap_or_default().to_owned()
    };
    let active = row(&tasks);
    assert!(active.contains("task \"implement login\""), "{active}");
    assert!(
        active.ends_with("running for 4s, attempt 2, 3 turns, branch 1282544961935709, restarts 0"),
        "{active}"
    );
    tasks.task = None;
    tasks.phase = "blocked".to_owned();
    tasks.detail = "there are uncommitted changes (a.txt)".to_owned();
    let blocked = row(&tasks);
    assert!(
        blocked.contains("tasks")
            && blocked.ends_with("there are uncommitted changes (a.txt), restarts 0"),
        "{blocked}"
    );
    report.workers[0].tasks = Some(TasksReport {
        health: Health {
            stuck: Some(crate::control::report::StuckReport {
                doing: "Drain".to_owned(),
                since: String::new(),
                for_ms: 9_000,
            }),
            ..Health::default()
        },
        ..tasks
    });
    assert_eq!(report.stuck(), ["task/xyz789"]);
}

#[test]
fn depth_width_and_full_length_are_what_is_asked_for() {
    let mut report = crate::control::report::tests::sample();
    report.workers[0].sessions[0].title = "a title that is longer than a row shows".to_owned();
    let plain = |shown: Shown| {
        let text = draw(&report, None, shown);
        anstream::adapter::strip_str(&text).to_string()
    };
    let lines = |depth: usize| {
        let shown = Shown {
            depth: Some(depth),
            ..Shown::default()
        };
        plain(shown).lines().count()
    };
    assert_eq!((lines(0), lines(1), lines(2), lines(9)), (1, 3, 4, 4));
    let full = Shown {
        full: true,
        ..Shown::default()
    };
    assert!(plain(full).contains("longer than a row shows\""));
    assert!(plain(full).contains("(5f0cd1c2-aaaa)"));
    assert!(!plain(Shown::default()).contains("longer than a row shows\""));
    let narrow = Shown {
        width: Some(90),
        ..Shown::default()
    };
    let widest = |text: String| text.lines().map(|line| line.chars().count()).max();
    assert!(widest(plain(narrow)) <= Some(90));
    assert!(widest(plain(Shown::default())) > Some(90));
}

#[test]
fn the_tree_is_what_the_readme_shows() {
    let text = draw(
        &crate::control::report::tests::sample(),
        Some("/home/me"),
        Shown::default(),
    );
    let plain = anstream::adapter::strip_str(&text).to_string();
    insta::assert_snapshot!(plain);
}
