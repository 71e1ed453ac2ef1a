//! The story of one run.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::account;
use crate::figures::Figure;
use crate::gauges::Gauges;
use crate::inject::Injector;
use crate::leftovers;
use crate::load::Load;
use crate::options::Options;
use crate::phases;
use crate::probes::Probes;
use crate::respawn;
use crate::schedule;
use crate::stage::Stage;
use crate::table::Report;

/// The first boots are not disturbed: there is nothing to break yet.
const UP: Duration = Duration::from_mins(2);
/// After the last fault everything open is closed within this.
const QUIET: Duration = Duration::from_mins(8);

pub fn run(options: &Options) -> ExitCode {
    let plan = schedule::draw(options);
    let stage = Arc::new(Stage::set(options));
    let note = |text: &str| stage.verdict.note(text);
    note(&format!(
        "seed {}, {} faults in {} min; supervisor in {}, deployment in {}",
        options.seed,
        plan.len(),
        options.minutes,
        stage.home.path().display(),
        stage.server.path().display()
    ));

    stage.start_supervisor();
    let probes = Probes::default();
    let poll = Duration::from_millis(5);
    probes.watch(&stage, Figure::ColdStart, poll, Stage::is_ready);
    stage.within(UP, "all workers are ready", || stage.is_ready());
    let gauges = Gauges::start(&stage);
    let load = Load::start(&stage, options.seed, options.sessions);
    stage.within(UP, "a first answer", || load.closed() > 0);
    probes.join();

    note("faults begin");
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let mut injector = Injector::new(&stage, &load);
    let counts = injector.play(&plan, length);
    note("no more faults");
    // A child that is stopped between two turns makes the rest long, and shows nothing.
    stage.set_idle(Stage::calm_idle_ms());
    stage.within(QUIET, "the configuration as it was", || {
        matches!(stage.control.reload(), Some(Ok(_)))
    });

    if !load.rest(&stage, QUIET) {
        for one in load.open() {
            let what = format!(
                "{} is still open after {} s of quiet",
                one.name,
                QUIET.as_secs()
            );
            stage.verdict.wrong("lost", what);
        }
    }
    if options.phases {
        phases::outage(&stage, &load);
    }
    note("calm");
    let veteran = phases::calm(&stage);
    gauges.stop();
    phases::terminate(&stage);
    leftovers::look(&stage);
    let fresh = phases::fresh(&stage, &load);
    phases::compare(&stage, &veteran, &fresh);
    phases::terminate(&stage);
    leftovers::look(&stage);
    respawn::measure(&stage);
    let outcomes = account::settle(&stage, &load);
    leftovers::look_at_database(&stage);
    let twenty = options.phases.then(|| phases::twenty(options));

    let mut verdicts = vec![&stage.verdict];
    let mut figures = vec![&stage.figures];
    if let Some(twenty) = &twenty {
        verdicts.push(&twenty.verdict);
        figures.push(&twenty.figures);
    }
    let report = Report {
        options,
        counts: &counts,
        missed: injector.missed(),
        lives: (
            stage.supervisor.lock().unwrap().lives,
            stage.deployment.lock().unwrap().lives,
        ),
        outcomes: &outcomes,
        figures,
        seen: &gauges.seen(),
        veteran: &veteran,
        fresh: &fresh,
        verdicts: verdicts.clone(),
    };
    print!("{}", report.text());
    let wrongs: Vec<_> = verdicts.iter().flat_map(|verdict| verdict.all()).collect();
    drop(injector);
    drop(load);
    if wrongs.is_empty() {
        println!("\nall promises kept");
        return ExitCode::SUCCESS;
    }
    println!("\nbroken:");
    for wrong in &wrongs {
        println!("  {}: {}", wrong.kind, wrong.what);
    }
    println!("\nthe schedule:");
    for planned in &plan {
        println!("  {planned}");
    }
    println!(
        "\nagain:  just chaos --seed {} --minutes {} --workers {} --sessions {}\nkept:   {}\n        {}",
        options.seed,
        options.minutes,
        options.workers,
        options.sessions,
        stage.home.path().display(),
        stage.server.path().display(),
    );
    for stage in [Some(stage), twenty].into_iter().flatten() {
        if let Some(mut stage) = Arc::into_inner(stage) {
            stage.home.keep();
            stage.server.keep();
        }
    }
    ExitCode::FAILURE
}
