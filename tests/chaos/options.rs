//! The arguments: our own, and those that cargo hands to every test.

/// The name under which `cargo test` knows the short run.
const NAME: &str = "half_a_minute_of_faults";

const SEED: u64 = 20_261_120;

const USAGE: &str = "\
chaos [--seed N] [--minutes M] [--workers N] [--sessions N] [--no-phases] [--schedule]

  --seed N      decides about every fault and every message [20261120]
  --minutes M   how long faults go on [0.5; with the phases below from 5 on]
  --workers N   [3]      --sessions N   for each worker [2]
  --no-phases   without the outage of a minute and the stop with twenty sessions at the end
  --schedule    print what would happen, do nothing
";

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub seed: u64,
    pub minutes: f64,
    pub workers: usize,
    pub sessions: usize,
    pub phases: bool,
}

pub enum Asked {
    Run(Options),
    Print(String),
}

impl Options {
    pub fn asked(args: impl Iterator<Item = String>) -> Result<Asked, String> {
        let mut options = Self {
            seed: SEED,
            minutes: 0.5,
            workers: 2,
            sessions: 1,
            phases: true,
        };
        let mut schedule_only = false;
        let mut short = true;
        let mut args = args.peekable();
        while let Some(arg) = args.next() {
            let mut value = || {
                let text = args.next().unwrap_or_default();
                text.parse::<f64>()
                    .map_err(|_| format!("{arg} needs a number\n{USAGE}"))
            };
            match arg.as_str() {
                "--seed" => options.seed = value()? as u64,
                "--minutes" => {
                    options.minutes = value()?;
                    if short {
                        (options.workers, options.sessions, short) = (3, 2, false);
                    }
                }
                "--workers" => options.workers = value()? as usize,
                "--sessions" => options.sessions = value()? as usize,
                "--no-phases" => options.phases = false,
                "--schedule" => schedule_only = true,
                "--help" | "-h" => return Ok(Asked::Print(USAGE.to_owned())),
                // What the harness of other tests understands.
                "--list" => return Ok(Asked::Print(format!("{NAME}: test\n"))),
                "--ignored" => return Ok(Asked::Print(String::new())),
                "--skip" if args.next().is_some_and(|name| NAME.contains(&name)) => {
                    return Ok(Asked::Print(String::new()));
                }
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => {
                    let _ = args.next();
                }
                flag if flag.starts_with('-') => {}
                filter if NAME.contains(filter) => {}
                _ => return Ok(Asked::Print(String::new())),
            }
        }
        options.phases &= options.minutes >= 5.0;
        if schedule_only {
            let plan = crate::schedule::draw(&options);
            return Ok(Asked::Print(
                plan.iter().map(|one| format!("{one}\n")).collect(),
            ));
        }
        Ok(Asked::Run(options))
    }
}
